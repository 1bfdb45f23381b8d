//! `logs` and `attach`.
#![expect(
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test is a story, and fails by panicking"
)]

use hull_tests::client::Client;
use hull_tests::setup::{with, with_each_client};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;

#[test]
fn logs_keep_both_streams_in_order() {
    with_each_client(|s| {
        let _ = s.script(
            "run --name ll busybox",
            "for i in 1 2 3 4; do echo line $i; done; echo oops >&2",
        );
        let logs = s.line("logs ll");
        assert_eq!(
            (logs.ok(), logs.stderr.as_str()),
            ("line 1\nline 2\nline 3\nline 4", "oops\n")
        );
        let _ = s.line("run --name tail busybox seq 5").ok();
        assert_eq!(s.line("logs --tail 2 tail").ok(), "4\n5");
        assert_eq!(s.line("logs --tail 0 tail").ok(), "");
        let stamped = s.line("logs -t --tail 1 tail");
        assert!(
            stamped.ok().starts_with("20") && stamped.ok().ends_with("Z 5"),
            "{stamped:?}"
        );
        assert_eq!(s.line("logs --since 2100-01-01T00:00:00Z ll").ok(), "");
        assert_eq!(s.line("logs --until 2001-01-01T00:00:00Z ll").ok(), "");
        assert_eq!(s.line("logs --since 10m ll").ok().lines().count(), 4);
        assert!(
            s.line("logs nosuch")
                .fails(1)
                .contains("No such container: nosuch")
        );
    });
}

#[test]
fn following_ends_with_the_container() {
    with_each_client(|s| {
        let _ = s
            .script(
                "run -d --name ff busybox",
                "for i in 1 2 3; do echo $i; sleep 0.2; done",
            )
            .ok();
        assert_eq!(s.line("logs -f ff").ok(), "1\n2\n3");
    });
}

#[test]
fn drivers_and_their_options() {
    with_each_client(|s| {
        let script = "seq 3000; echo err >&2";
        for (name, options) in [
            (
                "local",
                "--log-driver local --log-opt max-size=10k --log-opt max-file=30",
            ),
            (
                "packed",
                "--log-opt max-size=10k --log-opt max-file=60 --log-opt compress=true",
            ),
            (
                "ring",
                "--log-opt mode=non-blocking --log-opt max-buffer-size=8m",
            ),
        ] {
            let mut words = vec!["run", "--name", name];
            words.extend(options.split(' '));
            words.extend(["busybox", "sh", "-c", script]);
            let _ = s.run(&words);
            let logs = s.line(&format!("logs {name}"));
            let lines: Vec<&str> = logs.ok().lines().collect();
            assert_eq!((lines.len(), lines[2999]), (3000, "3000"), "{name}");
            assert_eq!(logs.stderr, "err\n", "{name}");
            assert_eq!(
                s.line(&format!("logs -n 3 {name}")).ok().lines().last(),
                Some("3000"),
                "{name}"
            );
        }
        let details = "run --name dd --label a=x --label b=y --log-opt labels=a --log-opt tag={{.Name}} busybox echo hi";
        let _ = s.line(details).ok();
        assert_eq!(s.line("logs --details dd").ok(), "a=x,tag=dd hi");
        let refused = s.line("run --log-opt nonsense=1 busybox true");
        assert!(
            refused
                .fails(125)
                .contains("unknown log opt 'nonsense' for json-file log driver")
        );
        let _ = s
            .line("run --name nn --log-driver none busybox echo hi")
            .ok();
        let refused = s.line("logs nn");
        assert!(
            refused
                .fails(1)
                .contains("configured logging driver does not support reading")
        );
    });
}

#[test]
fn a_log_that_is_deleted_begins_anew_for_who_follows_as_well() {
    with_each_client(|s| {
        let script = "echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two";
        let _ = s.script("run -d --name gone busybox", script).ok();
        hull_tests::daemon::wait_until("the first line is written", || {
            let logs = s.line("logs gone");
            if logs.ok() == "one" {
                Ok(())
            } else {
                Err(logs)
            }
        });
        let log = s.inspect("gone", "/LogPath");
        std::fs::remove_file(log.as_str().unwrap()).unwrap();
        let mut follow = s.client.command(&s.daemon);
        follow.args(["logs", "-f", "gone"]);
        let following = std::thread::spawn(move || hull_tests::command::run(&mut follow, &[]));
        // It may end with the container, whose first process waits for this.
        let _ = s.line("exec gone touch /go");
        let followed = following.join().unwrap();
        assert_eq!(followed.ok(), "two");
        assert_eq!(s.line("logs gone").ok(), "two");
    });
}

#[test]
fn long_and_odd_output_survives() {
    with_each_client(|s| {
        let script = "head -c 40000 /dev/zero | tr '\\0' a; echo; printf 'no newline <&> \\303\\244 at the end'";
        let run = s.script("run --name oo busybox", script);
        assert_eq!(
            run.stdout.len(),
            40_001 + "no newline <&> ä at the end".len()
        );
        assert_eq!(s.line("logs oo").stdout, run.stdout);
    });
}

#[test]
fn attaching_shows_what_comes_and_the_exit_code() {
    with_each_client(|s| {
        let _ = s
            .script(
                "run -d --name aa busybox",
                "while [ ! -e /go ]; do sleep 0.05; done; echo gone; exit 9",
            )
            .ok();
        let mut attach = s.client.command(&s.daemon);
        attach.args(["attach", "--no-stdin", "aa"]);
        let attached = std::thread::spawn(move || hull_tests::command::run(&mut attach, &[]));
        hull_tests::daemon::wait_until("the client is attached", || {
            let now = std::time::SystemTime::now();
            let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let until = (now - 1).to_string();
            let words = [
                "events",
                "--since",
                "0",
                "--until",
                &until,
                "--filter",
                "event=attach",
            ];
            let events = s.run(&words);
            if events.ok().contains("attach") {
                Ok(())
            } else {
                Err(())
            }
        });
        // It may end with the container, whose first process waits for this.
        let _ = s.line("exec aa touch /go");
        let attached = attached.join().unwrap();
        assert_eq!(
            (attached.stdout.as_str(), attached.code),
            ("gone\n", 9),
            "{attached:?}"
        );
    });
}

#[test]
fn a_log_server_gets_the_output_and_logs_reads_the_copy() {
    with(Client::Hull, |s| {
        let listener = s.host.within(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = format!("syslog-address=tcp://{}", listener.local_addr().unwrap());
        let options = [
            "--log-driver",
            "syslog",
            "--log-opt",
            address.as_str(),
            "--log-opt",
            "syslog-format=rfc3164",
        ];
        let run = |more: &[&str], script: &str| {
            let words = [&["run"], more, &options, &["busybox", "sh", "-c", script]].concat();
            s.run(&words)
        };
        let accept = || BufReader::new(listener.accept().unwrap().0);
        let line = |server: &mut BufReader<_>| {
            let mut line = String::new();
            server.read_line(&mut line).unwrap();
            line
        };
        let named = ["--name", "sy", "--log-opt", "tag={{.Name}}/x"];
        let _ = run(&named, "echo hello; echo oops >&2").ok();
        let mut server = accept();
        let mut said = [line(&mut server), line(&mut server)];
        // Of two pipes, either may be read first.
        said.sort();
        let [error, output] = &said;
        assert!(
            error.starts_with("<27>") && error.ends_with(": oops\n"),
            "{said:?}"
        );
        assert!(
            output.starts_with("<30>") && output.contains(" sy/x["),
            "{said:?}"
        );
        let logs = s.line("logs sy");
        assert_eq!((logs.ok(), logs.stderr.as_str()), ("hello", "oops\n"));
        assert_eq!(s.inspect("sy", "/LogPath"), "");

        // Nothing is kept here when that is asked for.
        let _ = run(
            &["--name", "un", "--log-opt", "cache-disabled=true"],
            "true",
        )
        .ok();
        assert!(accept().fill_buf().unwrap().is_empty());
        let refused = s.line("logs un");
        assert!(
            refused
                .fails(1)
                .contains("configured logging driver does not support reading")
        );
        let refused = s.line(
            "run --log-driver syslog --log-opt syslog-address=tcp://127.0.0.1:1 busybox true",
        );
        let why = "failed to create task for container: failed to initialize logging driver: dial tcp 127.0.0.1:1: connect: connection refused";
        assert!(refused.fails(125).contains(why), "{refused:?}");
        let refused = s.line("run --log-driver gelf busybox true");
        assert!(
            refused
                .fails(125)
                .contains("gelf-address is a required parameter")
        );

        // The program that sends is killed: the next one goes on.
        let waits = "while [ ! -e /go ]; do sleep 0.05; done; echo again";
        let _ = run(&["-d", "--name", "kk"], waits).ok();
        let mut server = accept();
        let id = s.inspect("kk", "/Id");
        kill_logger_of(id.as_str().unwrap());
        assert!(server.fill_buf().unwrap().is_empty());
        let _ = s.line("exec kk touch /go");
        let mut server = accept();
        assert!(line(&mut server).ends_with(": again\n"));

        // A server that takes nothing makes the container wait, and nobody else.
        let _ = run(&["-d", "--name", "full"], "yes").ok();
        let mut server = accept();
        let _ = s.line("rm -f full").ok();
        // What waits is delivered still.
        assert!(std::io::copy(&mut server, &mut std::io::sink()).unwrap() > 0);
    });
}

/// Kills the program that sends a container's output.
fn kill_logger_of(id: &str) {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        let line = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("hull-logger") && line.contains(id)
    };
    let found: Vec<i32> = numbers.filter(is_it).collect();
    assert_eq!(found.len(), 1);
    let pid = rustix::process::Pid::from_raw(found[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
