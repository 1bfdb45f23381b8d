//! SIGKILL of the daemon and of shims, at every step.

use hull_tests::client::Client;
use hull_tests::daemon::wait_until;
use hull_tests::setup::with;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

#[test]
fn containers_outlive_the_daemon() {
    with(Client::Hull, |s| {
        let script = "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo $i; sleep 0.05; done; exit 11";
        let _ = s
            .run(&[
                "run", "-d", "--name", "lives", "busybox", "sh", "-c", script,
            ])
            .ok();
        let _ = s
            .run(&[
                "run",
                "-d",
                "--name",
                "ends",
                "busybox",
                "sh",
                "-c",
                "while [ ! -e /stop ]; do sleep 0.05; done; echo bye; exit 12",
            ])
            .ok();
        let _ = s
            .run(&["run", "-d", "--name", "held", "busybox", "sleep", "1000"])
            .ok();
        let _ = s.line("pause held").ok();
        let started = s.inspect("lives", "/State/StartedAt");
        let pid = s.inspect("lives", "/State/Pid");
        let ends = s.inspect("ends", "/State/Pid");
        s.daemon.kill();
        // One of them ends while nobody looks.
        fs_err::write(format!("/proc/{ends}/root/stop"), "").unwrap();
        wait_until("the container ends", || {
            if fs_err::metadata(format!("/proc/{ends}")).is_err() {
                Ok(())
            } else {
                Err(())
            }
        });
        s.daemon.restart();
        assert_eq!(s.inspect("lives", "/State/Running"), true);
        assert_eq!(
            (
                s.inspect("lives", "/State/StartedAt"),
                s.inspect("lives", "/State/Pid")
            ),
            (started, pid)
        );
        assert_eq!(s.inspect("held", "/State/Paused"), true);
        assert_eq!(
            (
                s.inspect("ends", "/State/Status"),
                s.inspect("ends", "/State/ExitCode")
            ),
            ("exited".into(), 12.into())
        );
        assert_eq!(s.line("logs ends").ok(), "bye");
        // The numbers go on without a gap, also those written while there was no daemon.
        let logs = s.line("logs lives");
        let numbers: Vec<usize> = logs
            .ok()
            .lines()
            .map(|line| line.parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
        assert_eq!(s.line("exec lives echo inside").ok(), "inside");
        let mut attach = s.client.command(&s.daemon);
        attach.args(["attach", "--no-stdin", "lives"]);
        let mut attached = attach.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(attached.stdout.take().unwrap());
        // Once a number has come it is attached, and not still on its way to a container that has ended.
        let mut number = String::new();
        let _ = output.read_line(&mut number).unwrap();
        let _ = s.line("exec lives touch /stop").ok();
        assert_eq!(s.line("wait lives").ok(), "11");
        let _ = output.read_to_string(&mut number).unwrap();
        assert_eq!(attached.wait().unwrap().code(), Some(11));
        let _ = s.line("unpause held").ok();
        assert_eq!(s.line("stop -t 0 held").ok(), "held");
    });
}

/// A lock of whoever starts the daemon, for example, which nobody would give back as long as there is a
/// container.
#[test]
fn what_the_daemon_was_started_with_goes_to_nobody_else() {
    with(Client::Hull, |s| {
        s.daemon.kill();
        let path = s.daemon.path("lock-of-its-starter");
        let file = fs_err::File::create(&path).unwrap();
        rustix::io::fcntl_setfd(file.file(), rustix::io::FdFlags::empty()).unwrap();
        s.daemon.restart();
        drop(file);
        let holds = |pid: i32| {
            let open = fs_err::read_dir(format!("/proc/{pid}/fd")).into_iter();
            let mut targets = open
                .flatten()
                .flatten()
                .map(|fd| fs_err::read_link(fd.path()));
            targets.any(|target| target.is_ok_and(|target| target == path))
        };
        assert!(s.daemon.processes_of("hull").into_iter().any(holds));
        let _ = s.line("network create inner").ok();
        let _ = s
            .line("run -d --name long --network inner -p 80 busybox sleep 1000")
            .ok();
        let pid = s.inspect("long", "/State/Pid").as_i64().unwrap();
        let mut others: Vec<i32> = s.daemon.shims().into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(others.len(), 1);
        others.extend(s.daemon.processes_of("hull-dns"));
        others.push(i32::try_from(pid).unwrap());
        assert_eq!(others.len(), 3);
        assert_eq!(others.into_iter().find(|pid| holds(*pid)), None);
        let _ = s.line("rm -f long").ok();
        let _ = s.line("network rm inner").ok();
    });
}

#[test]
fn a_killed_shim_is_noticed() {
    with(Client::Hull, |s| {
        let _ = s
            .run(&["run", "-d", "--name", "orphan", "busybox", "sleep", "1000"])
            .ok();
        let pid = s.inspect("orphan", "/State/Pid");
        for (shim, _) in s.daemon.shims() {
            kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
        }
        assert_eq!(s.line("wait orphan").ok(), "137");
        wait_until("the processes are ended", || {
            if fs_err::metadata(format!("/proc/{pid}")).is_err() {
                Ok(())
            } else {
                Err(())
            }
        });
        assert_eq!(s.inspect("orphan", "/State/Status"), "exited");
        let _ = s.line("start orphan").ok();
        assert_eq!(s.inspect("orphan", "/State/Running"), true);
        // The same while no daemon looks.
        s.daemon.kill();
        for (shim, _) in s.daemon.shims() {
            kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
        }
        s.daemon.restart();
        assert_eq!(s.inspect("orphan", "/State/Status"), "exited");
        assert_eq!(s.inspect("orphan", "/State/ExitCode"), 137);
    });
}

/// Kills the daemon at growing distances from the beginning of an operation: whatever it was doing,
/// the next one finds a state that can be worked with, and what was acknowledged holds.
#[test]
fn killing_it_in_the_middle_leaves_nothing_half_done() {
    with(Client::Hull, |s| {
        for step in 0..12_u32 {
            let name = format!("kk{step}");
            let operations: [Vec<&str>; 4] = [
                vec!["create", "--name", &name, "busybox", "sleep", "1000"],
                vec!["start", &name],
                vec!["stop", "-t", "0", &name],
                vec!["rm", "-f", &name],
            ];
            let victim = (step % 4) as usize;
            for words in &operations[..victim] {
                let _ = s.run(words).ok();
            }
            let mut command = s.client.command(&s.daemon);
            command.args(&operations[victim]);
            let running = std::thread::spawn(move || hull_tests::command::run(&mut command, &[]));
            let pause = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(step) * 3_000_000,
            };
            let _ = rustix::event::poll(&mut [], Some(&pause));
            s.daemon.kill();
            let acknowledged = running.join().unwrap().code == 0;
            s.daemon.restart();
            let there = s.daemon.get(&format!("/containers/{name}/json"));
            match victim {
                0 => assert!(!acknowledged || there.status == 200, "{there:?}"),
                1 => assert_eq!(there.status, 200),
                2 => assert!(
                    !acknowledged || there.json()["State"]["Running"] == false,
                    "{there:?}"
                ),
                _ => assert!(!acknowledged || there.status == 404, "{there:?}"),
            }
            if there.status == 200 {
                let _ = s.run(&["rm", "-f", &name]).ok();
            }
        }
        assert_eq!(
            s.run(&["run", "--rm", "busybox", "echo", "fine"]).ok(),
            "fine"
        );
    });
}

#[test]
fn a_second_daemon_on_the_same_directories_is_refused() {
    with(Client::Hull, |s| {
        let _ = s.line("run -d --name mine busybox sleep 1000").ok();
        let mut second = s.daemon.spawn();
        assert!(!second.wait().unwrap().success());
        assert!(
            s.daemon.log().contains(&s.daemon.pid().to_string())
                || s.daemon.log().contains("already"),
            "{}",
            s.daemon.log()
        );
        assert_eq!(s.line("exec mine echo still here").ok(), "still here");
    });
}

#[test]
fn the_daemon_ends_on_request_and_leaves_containers_running() {
    with(Client::Hull, |s| {
        let _ = s.line("run -d --name on busybox sleep 1000").ok();
        let pid = s.inspect("on", "/State/Pid");
        assert_eq!(s.daemon.stop(), 0);
        assert!(fs_err::metadata(format!("/proc/{pid}")).is_ok());
        assert!(!s.daemon.socket().exists(), "its socket goes with it");
        s.daemon.restart();
        assert_eq!(s.inspect("on", "/State/Pid"), pid);
    });
}
