//! Shims that are stopped: others notice nothing, and their containers can be got rid of.

use hull_tests::client::Client;
use hull_tests::daemon::{Daemon, wait_until};
use hull_tests::setup::with;
use rustix::process::{Pid, Signal, kill_process};

fn shim_of(daemon: &Daemon<'_>, id: &str) -> Pid {
    let shims = daemon.shims();
    let found = shims.iter().find(|(_, line)| line.contains(id));
    Pid::from_raw(found.expect("its shim").0).expect("a process")
}

/// Stops a process, and waits until it stands still.
fn stop(process: Pid) {
    kill_process(process, Signal::STOP).expect("it is there");
    wait_until("it stands still", || {
        let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).map_err(drop)?;
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        (state == Some('T')).then_some(()).ok_or(())
    });
}

#[test]
fn a_shim_that_stands_still_holds_up_nobody() {
    with(Client::Hull, |s| {
        let run = |name: &str| {
            let line = format!("run -d --network none --name {name} busybox sleep 1000");
            s.line(&line).ok().to_owned()
        };
        let (still, other) = (run("still"), run("other"));
        let _ = s.line("pause still").ok();
        let pid = s.inspect("still", "/State/Pid");
        let shim = shim_of(&s.daemon, &still);
        stop(shim);
        s.daemon.kill();
        s.daemon.restart();
        assert!(
            s.daemon.log().contains("does not answer"),
            "{}",
            s.daemon.log()
        );
        // It is as it was, for all that is known.
        let seen =
            ["Pid", "Running", "Paused"].map(|what| s.inspect("still", &format!("/State/{what}")));
        assert_eq!(seen, [pid, true.into(), true.into()]);
        assert_eq!(s.line("ps --format {{.Names}}").ok(), "other\nstill");
        assert_eq!(s.line("exec other echo goes on").ok(), "goes on");
        let _ = s.line("rm -f other").ok();
        // When it wakes up, what it says counts.
        kill_process(shim, Signal::CONT).unwrap();
        let _ = s.line("unpause still").ok();
        assert_eq!(s.line("exec still echo awake").ok(), "awake");
        assert_eq!(s.line("kill still").ok(), "still");
        assert_eq!(s.line("wait still").ok(), "137");
        let _ = (other, s.line("rm still").ok());
    });
}

#[test]
fn a_container_goes_though_its_shim_stands_still() {
    with(Client::Hull, |s| {
        let line = "run -d --network none --name still busybox sleep 1000";
        let id = s.line(line).ok().to_owned();
        let pid = s.inspect("still", "/State/Pid");
        stop(shim_of(&s.daemon, &id));
        assert_eq!(s.line("rm -f still").ok(), "still");
        wait_until("its process is gone", || {
            let stat = fs_err::metadata(format!("/proc/{pid}/stat"));
            stat.is_err().then_some(()).ok_or(())
        });
        assert_eq!(s.daemon.get("/containers/still/json").status, 404);
        // The same when the daemon has not heard of the shim yet.
        let id = s.line(line).ok().to_owned();
        stop(shim_of(&s.daemon, &id));
        s.daemon.kill();
        s.daemon.restart();
        assert_eq!(s.line("kill still").ok(), "still");
        assert_eq!(s.line("wait still").ok(), "137");
        assert_eq!(s.line("start still").ok(), "still");
        assert_eq!(s.line("exec still echo again").ok(), "again");
    });
}
