//! Containers with the real shim and the real runtime, from an image made here. Needs root; without
//! the programs beside the test it says so and passes.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test is a story, and fails by panicking"
)]

mod host;

use futures_util::StreamExt;
use host::{Host, strings};
use hull_engine::container::{
    AttachOptions, Bind, Config, LogDriver, Mount, MountKind, Resources, RestartPolicy,
    WaitCondition,
};
use hull_engine::event::EventOptions;
use hull_engine::exec::{ExecConfig, ExecStart};
use hull_engine::logs::LogOptions;
use hull_engine::{Engine, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// Creates, attaches, starts, and gives exit code, standard output and standard error.
async fn run(engine: &Arc<Engine>, config: Config) -> Result<(i32, String, String)> {
    let condition = if config.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let created = engine.create(None, config).await?;
    let options = AttachOptions {
        stdout: true,
        stderr: true,
        stream: true,
        ..AttachOptions::default()
    };
    let attached = engine.attach(&created.id, options).await?;
    let waiting = engine.wait(&created.id, condition).await?;
    engine.start(&created.id).await?;
    let mut bytes = Vec::new();
    attached
        .stream
        .await?
        .read_to_end(&mut bytes)
        .await
        .unwrap();
    let ended = tokio::time::timeout(LONG, waiting).await.unwrap()?;
    let (out, err) = host::split(&bytes);
    Ok((ended.code, out, err))
}

fn shell(script: &str) -> Config {
    Config {
        cmd: Some(strings(&["sh", "-c", script])),
        auto_remove: true,
        ..host::config()
    }
}

async fn started(engine: &Arc<Engine>, name: &str, config: Config) -> String {
    let created = engine.create(Some(name), config).await.unwrap();
    engine.start(&created.id).await.unwrap();
    created.id
}

async fn state(engine: &Arc<Engine>, name: &str) -> hull_engine::container::State {
    engine.inspect(name, false).await.unwrap().state
}

/// Waits until the container ends the next time, unless it does not run now.
async fn ended(engine: &Arc<Engine>, name: &str) -> i32 {
    let waiting = engine.wait(name, WaitCondition::NotRunning).await.unwrap();
    tokio::time::timeout(LONG, waiting)
        .await
        .unwrap()
        .unwrap()
        .code
}

#[test]
fn a_container_runs_and_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let (code, out, err) = run(&engine, shell("echo out; echo err >&2; exit 3"))
            .await
            .unwrap();
        assert_eq!((code, out.as_str(), err.as_str()), (3, "out\n", "err\n"));
    });
    host.assert_nothing_left();
}

#[test]
fn what_a_process_sees_is_what_was_asked_for() {
    let Some(host) = Host::new() else { return };
    let bound = host.path("bound");
    fs_err::create_dir_all(&bound).unwrap();
    fs_err::write(bound.join("file"), "from the host\n").unwrap();
    host.block_on(async |engine| {
        let mount = |kind, target: &str, read_only| Mount {
            kind,
            target: target.into(),
            read_only,
            mode: String::new(),
        };
        let bind = |source| {
            MountKind::Bind(Bind {
                source,
                create_source: true,
                ..Bind::default()
            })
        };
        let script = "id -u; id -g; id -G; pwd; hostname; echo $A $HOME; cat /bound/file; \
                      touch /bound/x 2>/dev/null || echo read-only; ls /made | wc -l; \
                      grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; \
                      cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; \
                      df -k /dev/shm | tail -1 | awk '{print $2}'; ulimit -n; \
                      touch /x 2>/dev/null || echo no-write; touch /scratch/x && echo scratch";
        let config = Config {
            user: "user".to_owned(),
            groups: strings(&["staff"]),
            working_dir: "/srv/deep/er".to_owned(),
            hostname: Some("host-name".to_owned()),
            env: strings(&["A=b c"]),
            mounts: vec![
                mount(bind(host.path("bound")), "/bound", true),
                mount(bind(host.path("made/by/engine")), "/made", false),
                mount(MountKind::Tmpfs { options: "size=1m,mode=1777".to_owned() }, "/scratch", false),
            ],
            resources: Resources { memory: 64 << 20, pids_limit: Some(100), ..Resources::default() },
            ulimits: vec![hull_engine::container::Ulimit { name: "nofile".to_owned(), soft: 77, hard: 78 }],
            shm_size: 1 << 20,
            read_only: true,
            ..shell(script)
        };
        let (code, out, err) = run(&engine, config).await.unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(
            lines,
            [
                "1000", "1000", "1000 50", "/srv/deep/er", "host-name", "b c /home", "from the host",
                "read-only", "0", "CapEff:\t0000000000000000", "Seccomp:\t2", "67108864", "1024", "77",
                "no-write", "scratch"
            ],
            "{err}"
        );
        assert_eq!(code, 0);
    });
    host.assert_nothing_left();
}

#[test]
fn commands_that_cannot_run_are_told_in_dockers_words() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let prefix = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                      runc create failed: unable to start container process: ";
        for (command, text, code) in [
            ("nosuch", "exec: \"nosuch\": executable file not found in $PATH", 127),
            ("/nosuch", "exec: \"/nosuch\": stat /nosuch: no such file or directory", 127),
            ("/etc/passwd", "exec: \"/etc/passwd\": permission denied", 126),
        ] {
            let config = Config { cmd: Some(strings(&[command])), ..host::config() };
            let created = engine.create(Some("web"), config.clone()).await.unwrap();
            let error = engine.start("web").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let message = error.full_message();
            assert!(message.starts_with(prefix) && message.contains(text), "{message}");
            let failed = state(&engine, &created.id).await;
            assert_eq!(failed.as_str(), "created");
            assert_eq!(failed.exit().map(|exit| exit.code), Some(code));
            engine.remove("web", false, true).await.unwrap();
            // With --rm it goes at once, and who waits for that is told.
            let config = Config { auto_remove: true, ..config };
            engine.create(Some("web"), config).await.unwrap();
            let gone = engine.wait("web", WaitCondition::Removed).await.unwrap();
            engine.start("web").await.unwrap_err();
            tokio::time::timeout(LONG, gone).await.unwrap().unwrap();
            assert_eq!(engine.inspect("web", false).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
    });
    host.assert_nothing_left();
}

#[test]
fn logs_are_read_and_followed() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let script = "for i in 1 2 3; do echo $i; done; read x; echo err >&2; echo last";
        let config = Config {
            open_stdin: true,
            auto_remove: false,
            ..shell(script)
        };
        engine.create(Some("web"), config).await.unwrap();
        let options = AttachOptions {
            stdin: true,
            stream: true,
            ..AttachOptions::default()
        };
        let attached = engine.attach("web", options).await.unwrap();
        engine.start("web").await.unwrap();
        // The two streams are two pipes: which is heard first is open.
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let read = async |options| {
            let logs = engine.logs("web", options).await.unwrap();
            let text = tokio::time::timeout(LONG, host::text_of(logs)).await;
            sorted(&text.unwrap())
        };
        let all = LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        };
        let following = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move {
                let logs = engine
                    .logs(
                        "web",
                        LogOptions {
                            follow: true,
                            ..all
                        },
                    )
                    .await
                    .unwrap();
                host::text_of(logs).await
            }
        });
        let mut stream = attached.stream.await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"go\n")
            .await
            .unwrap();
        let followed = tokio::time::timeout(LONG, following).await.unwrap();
        let expected = ["1", "2", "2:err", "3", "last"];
        assert_eq!(sorted(&followed.unwrap()), expected);
        assert_eq!(ended(&engine, "web").await, 0);
        let stamped = LogOptions {
            details: true,
            since: Some(jiff::Timestamp::UNIX_EPOCH),
            ..all
        };
        assert_eq!(read(stamped).await.len(), 5);
        assert_eq!(read(all).await, expected);
        assert_eq!(
            read(LogOptions {
                tail: Some(2),
                follow: true,
                ..all
            })
            .await,
            ["2:err", "last"]
        );
        engine.remove("web", false, false).await.unwrap();
    });
    host.assert_nothing_left();
}

#[test]
fn execs_run_beside_the_process() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        started(&engine, "web", shell("exec sleep 100")).await;
        let exec = async |config: ExecConfig| -> (String, Option<i32>) {
            let id = engine.exec_create("web", ExecConfig { stdout: true, stderr: true, ..config }).await.unwrap();
            let mut bytes = Vec::new();
            match engine.exec_start(&id, ExecStart::default()).await {
                Ok(stream) => drop(stream.unwrap().read_to_end(&mut bytes).await.unwrap()),
                Err(error) => bytes = error.full_message().into_bytes(),
            }
            let text = host::split(&bytes).0;
            (text, engine.exec_inspect(&id).await.unwrap().exit_code)
        };
        let args = |words: &[&str]| ExecConfig { args: strings(words), ..ExecConfig::default() };
        assert_eq!(exec(args(&["sh", "-c", "echo in; exit 4"])).await, ("in\n".to_owned(), Some(4)));
        let as_user = ExecConfig {
            user: "user".to_owned(),
            working_dir: "/tmp".to_owned(),
            env: strings(&["B=c"]),
            ..args(&["sh", "-c", "id -u; pwd; echo $B; tr '\\0' ' ' < /proc/1/cmdline"])
        };
        assert_eq!(exec(as_user).await.0, "1000\n/tmp\nc\nsleep 100 ");
        assert_eq!(
            exec(args(&["nosuch"])).await,
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH".to_owned(),
                Some(127)
            )
        );
        assert_eq!(exec(args(&["/etc/passwd"])).await.1, Some(126));
        let detached = engine.exec_create("web", args(&["true"])).await.unwrap();
        let detach = ExecStart { detach: true, console_size: None };
        assert!(engine.exec_start(&detached, detach).await.unwrap().is_none());
        assert_eq!(engine.exec_start(&detached, detach).await.unwrap_err().kind(), ErrorKind::Conflict);
        let top = engine.top("web", "").await.unwrap();
        assert!(top.titles.contains(&"PID".to_owned()) && top.processes.iter().any(|row| row.contains(&"sleep 100".to_owned())), "{top:?}");
        engine.remove("web", true, true).await.unwrap();
        assert_eq!(engine.exec_create("web", args(&["true"])).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
    host.assert_nothing_left();
}

#[test]
fn every_way_of_keeping_a_log_is_read_back() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let log = |driver, pairs: &[(&str, &str)]| hull_engine::container::LogConfig {
            driver,
            options: pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let small = [("max-size", "20k"), ("max-file", "50")];
        let packed = [("max-size", "20k"), ("max-file", "50"), ("compress", "true")];
        let ring = [("mode", "non-blocking"), ("max-buffer-size", "10m")];
        for (name, log) in [
            ("json", log(LogDriver::JsonFile, &small)),
            ("packed", log(LogDriver::JsonFile, &packed)),
            ("local", log(LogDriver::Local, &small)),
            ("ring", log(LogDriver::Local, &ring)),
        ] {
            let config = Config {
                log,
                open_stdin: true,
                auto_remove: false,
                ..shell("read x; seq 5000; head -c 40000 /dev/zero | tr '\\0' x; echo end >&2; printf half")
            };
            engine.create(Some(name), config).await.unwrap();
            let options = AttachOptions {
                stdin: true,
                stream: true,
                ..AttachOptions::default()
            };
            let attached = engine.attach(name, options).await.unwrap();
            engine.start(name).await.unwrap();
            let all = LogOptions {
                stdout: true,
                stderr: true,
                follow: true,
                ..LogOptions::default()
            };
            let following = tokio::spawn(host::text_of(engine.logs(name, all).await.unwrap()));
            let mut stream = attached.stream.await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"go\n").await.unwrap();
            let followed = tokio::time::timeout(LONG, following).await.unwrap().unwrap();
            assert_eq!(ended(&engine, name).await, 0);
            let again = host::text_of(engine.logs(name, all).await.unwrap()).await;
            let numbers: String = (1..=5000).map(|number| format!("{number}\n")).collect();
            let expected = format!("{numbers}{}2:end\nhalf", "x".repeat(40000));
            // Which of two streams is heard first is open.
            let sorted = |text: &str| {
                let text = text.replace("2:end\n", "");
                (text.len(), text.starts_with(&numbers), text.ends_with("xxhalf"))
            };
            assert_eq!(sorted(&again), sorted(&expected), "{name}");
            assert_eq!(sorted(&followed), sorted(&expected), "{name}");
            let last = LogOptions {
                tail: Some(2),
                stderr: false,
                ..all
            };
            let last = host::text_of(engine.logs(name, last).await.unwrap()).await;
            assert!(last.ends_with("half"), "{name}: {last:?}");
            engine.remove(name, false, false).await.unwrap();
        }
    });
    host.assert_nothing_left();
}

/// More of them than there are threads for blocking work.
#[test]
fn clients_that_do_not_read_hold_nobody_up() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let config = Config {
            auto_remove: false,
            ..shell(
                "yes 0123456789012345678901234567890123456789 | head -c 4000000; exec sleep 1000",
            )
        };
        started(&engine, "web", config).await;
        let all = LogOptions {
            stdout: true,
            follow: true,
            ..LogOptions::default()
        };
        let mut idle = Vec::new();
        for _ in 0..600 {
            let logs = engine.logs("web", all).await.unwrap();
            let mut pieces = logs.pieces(|line, out| out.extend_from_slice(line.line));
            // It has begun to read, and stops.
            assert!(pieces.next().await.is_some());
            idle.push(pieces);
        }
        let probe = engine.probe_once("web", strings(&["true"]), LONG).await;
        assert_eq!(probe.unwrap().exit_code, Some(0));
        let mut last = idle.pop().unwrap();
        let mut length = 0;
        while length < 1_000_000 {
            length += last.next().await.unwrap().unwrap().len();
        }
        drop((idle, last));
        engine.remove("web", true, true).await.unwrap();
    });
    host.assert_nothing_left();
}

#[test]
fn probes_tell_code_and_output_and_are_killed_in_time() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        started(&engine, "web", shell("exec sleep 100")).await;
        let probe = async |script: &str, limit| {
            let command = strings(&["sh", "-c", script]);
            engine.probe_once("web", command, limit).await
        };
        let sick = probe("echo out; echo err >&2; exit 3", LONG).await.unwrap();
        assert_eq!(sick.exit_code, Some(3));
        assert!(sick.output.contains("out\n") && sick.output.contains("err\n"));
        assert!(sick.start <= sick.end);
        let much = probe("while :; do echo 0123456789; done | head -c 1000000", LONG).await;
        let much = much.unwrap();
        assert_eq!((much.exit_code, much.output.len()), (Some(0), 4096 + 3));
        // The shell's child goes as well, or it would keep the output open.
        let slow = probe("echo begun; sleep 1000; true", Duration::from_millis(300)).await;
        let slow = slow.unwrap();
        assert_eq!((slow.exit_code, slow.output.as_str()), (None, "begun\n"));
        let top = engine.top("web", "").await.unwrap();
        assert_eq!(top.processes.len(), 1, "{top:?}");
        let missing = engine.probe_once("web", strings(&["nosuch"]), LONG).await;
        assert!(
            missing
                .unwrap_err()
                .message()
                .contains("executable file not found")
        );
        let details = engine.inspect("web", false).await.unwrap();
        assert!(details.exec_ids.is_empty());
        engine.remove("web", true, true).await.unwrap();
        assert_eq!(
            probe("true", LONG).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
    });
    host.assert_nothing_left();
}

#[test]
fn pausing_stopping_and_restarting() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let mut events = engine.events(EventOptions::default()).unwrap();
        let trap = "trap 'exit 5' TERM; while :; do sleep 0.05; done";
        started(
            &engine,
            "web",
            Config {
                auto_remove: false,
                ..shell(trap)
            },
        )
        .await;
        engine.pause("web").await.unwrap();
        assert_eq!(state(&engine, "web").await.as_str(), "paused");
        assert_eq!(
            engine.pause("web").await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        assert_eq!(
            engine.start("web").await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        assert_eq!(
            engine.remove("web", false, false).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        engine.unpause("web").await.unwrap();
        engine.stop("web", None, Some(20)).await.unwrap();
        assert_eq!(state(&engine, "web").await.exit().unwrap().code, 5);
        assert_eq!(
            engine.stop("web", None, None).await.unwrap_err().kind(),
            ErrorKind::AlreadyInThatState
        );
        engine.restart("web", None, Some(20)).await.unwrap();
        engine.pause("web").await.unwrap();
        // One that is paused is woken to take its signal.
        engine.stop("web", None, Some(20)).await.unwrap();
        assert_eq!(state(&engine, "web").await.exit().unwrap().code, 5);
        engine.start("web").await.unwrap();
        engine.kill("web", "").await.unwrap();
        assert_eq!(ended(&engine, "web").await, 137);
        engine.rename("web", "other").await.unwrap();
        engine.remove("/other", false, false).await.unwrap();
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "destroy") {
            seen.push(events.next().await.unwrap().action);
        }
        assert_eq!(
            seen,
            [
                "create",
                "connect",
                "start",
                "pause",
                "unpause",
                "kill",
                "disconnect",
                "die",
                "stop",
                "connect",
                "start",
                "restart",
                "pause",
                "kill",
                "unpause",
                "disconnect",
                "die",
                "stop",
                "connect",
                "start",
                "kill",
                "disconnect",
                "die",
                "rename",
                "destroy"
            ]
        );
    });
    host.assert_nothing_left();
}

#[test]
fn one_that_goes_with_its_end_survives_a_restart() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let id = started(&engine, "web", shell("exec sleep 100")).await;
        engine.restart("web", None, Some(0)).await.unwrap();
        let details = engine.inspect("web", false).await.unwrap();
        assert_eq!((details.id, details.state.as_str()), (id, "running"));
        let gone = engine.wait("web", WaitCondition::Removed).await.unwrap();
        engine.kill("web", "").await.unwrap();
        tokio::time::timeout(LONG, gone).await.unwrap().unwrap();
    });
    host.assert_nothing_left();
}

#[test]
fn restart_policies_start_again() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let policy = |restart| Config {
            restart,
            auto_remove: false,
            ..shell("exit 1")
        };
        let id = started(
            &engine,
            "web",
            policy(RestartPolicy::OnFailure { max_retries: 2 }),
        )
        .await;
        // Each run's end is one, as in Docker; the container that waits for its next run counts as running.
        while state(&engine, &id).await.as_str() != "exited" {
            let waiting = engine.wait(&id, WaitCondition::NotRunning).await.unwrap();
            let waited = tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
            assert_eq!(waited.code, 1);
        }
        let details = engine.inspect(&id, false).await.unwrap();
        assert_eq!(
            (details.restart_count, details.state.as_str()),
            (2, "exited")
        );
        engine.remove(&id, false, false).await.unwrap();

        let mut events = engine.events(EventOptions::default()).unwrap();
        started(&engine, "other", policy(RestartPolicy::Always)).await;
        let mut starts = 0;
        while starts < 3 {
            starts += usize::from(events.next().await.unwrap().action == "start");
        }
        engine.stop("other", None, Some(20)).await.unwrap();
        assert_eq!(state(&engine, "other").await.as_str(), "exited");
        engine.remove("other", false, false).await.unwrap();
    });
    host.assert_nothing_left();
}

#[test]
fn another_daemon_finds_everything() {
    let Some(mut host) = Host::new() else { return };
    let keep = |script: &str| Config {
        auto_remove: false,
        ..shell(script)
    };
    host.block_on(async |engine| {
        started(
            &engine,
            "runs",
            keep("trap 'exit 6' TERM; echo before; while :; do sleep 0.05; done"),
        )
        .await;
        started(&engine, "paused", keep("exec sleep 100")).await;
        engine.pause("paused").await.unwrap();
        started(&engine, "ends", keep("sleep 0.5; echo done; exit 9")).await;
        started(&engine, "goes", shell("sleep 0.5")).await;
        started(&engine, "shot", keep("exec sleep 100")).await;
        engine.create(Some("never"), keep("true")).await.unwrap();
        let again = Engine::open(host.config()).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Unavailable);
        assert!(
            again.message().contains(&std::process::id().to_string()),
            "{again}"
        );
    });
    let shot = host.block_on(async |engine| engine.inspect("shot", false).await.unwrap().id);
    host.stop();
    host.kill_shim(&shot);
    host.wait_for_exit_files(2);
    host.start();
    host.block_on(async |engine| {
        for (name, expected, code) in [
            ("runs", "running", None),
            ("paused", "paused", None),
            ("ends", "exited", Some(9)),
            ("shot", "exited", Some(137)),
            ("never", "created", None),
        ] {
            let state = state(&engine, name).await;
            assert_eq!(
                (state.as_str(), state.exit().map(|exit| exit.code)),
                (expected, code),
                "{name}"
            );
        }
        assert_eq!(
            engine.inspect("goes", false).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        engine.unpause("paused").await.unwrap();
        let exec = ExecConfig {
            args: strings(&["true"]),
            ..ExecConfig::default()
        };
        let exec = engine.exec_create("paused", exec).await.unwrap();
        engine
            .exec_start(
                &exec,
                ExecStart {
                    detach: true,
                    console_size: None,
                },
            )
            .await
            .unwrap();
        engine.stop("runs", None, Some(20)).await.unwrap();
        assert_eq!(state(&engine, "runs").await.exit().unwrap().code, 6);
        engine.start("never").await.unwrap();
        assert_eq!(ended(&engine, "never").await, 0);
        for name in ["runs", "paused", "ends", "shot", "never"] {
            engine.remove(name, true, true).await.unwrap();
        }
    });
    host.assert_nothing_left();
}

#[test]
fn the_death_of_a_shim_is_noticed() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let id = started(
            &engine,
            "web",
            Config {
                auto_remove: false,
                ..shell("exec sleep 100")
            },
        )
        .await;
        let pid = state(&engine, "web").await.pid().unwrap();
        let waiting = engine.wait("web", WaitCondition::NextExit).await.unwrap();
        host.kill_shim(&id);
        assert_eq!(
            tokio::time::timeout(LONG, waiting)
                .await
                .unwrap()
                .unwrap()
                .code,
            137
        );
        // What is left of it waits for its new parent, which is none of ours.
        let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(
            status.is_empty() || status.contains("State:\tZ"),
            "{status}"
        );
        engine.start("web").await.unwrap();
        engine.remove("web", true, false).await.unwrap();
    });
    host.assert_nothing_left();
}

#[test]
fn the_bridge_connects_and_is_given_back() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let config = Config {
            network: hull_engine::container::NetworkMode::Bridge,
            ..shell("ip -o -4 addr show eth0 | awk '{print $4}'; ip route | head -1; cat /etc/hosts | tail -1; cat /etc/hostname")
        };
        let mut events = engine.events(EventOptions::default()).unwrap();
        let (code, out, err) = run(&engine, config).await.unwrap();
        assert_eq!(code, 0, "{err}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].ends_with("/16") && lines[1].starts_with("default via "), "{out}");
        assert!(lines[2].starts_with(lines[0].trim_end_matches("/16")) && lines[2].ends_with(lines[3]), "{out}");
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "destroy") {
            seen.push(events.next().await.unwrap().action);
        }
        assert_eq!(seen, ["create", "attach", "connect", "start", "disconnect", "die", "destroy"]);
    });
    host.assert_nothing_left();
}

#[test]
fn the_bridge_of_a_lost_engine_is_taken_over() {
    use hull_network::model::{BridgeOptions, Driver, Network, Pool};
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let lost = Network {
            id: "ab".repeat(32),
            driver: Driver::Bridge(BridgeOptions::new("hull0")),
            pools: vec![Pool {
                subnet: "10.99.0.0/24".parse().unwrap(),
                range: None,
                gateway: "10.99.0.1".parse().ok(),
                reserved: std::collections::BTreeMap::new(),
            }],
            internal: false,
        };
        hull_network::link::up(&lost).unwrap();
        let config = Config {
            network: hull_engine::container::NetworkMode::Bridge,
            ..shell("ip route | head -1")
        };
        let (code, out, err) = run(&engine, config).await.unwrap();
        assert_eq!(code, 0, "{err}");
        assert!(
            out.starts_with("default via ") && !out.contains("10.99."),
            "{out}"
        );
    });
    host.assert_nothing_left();
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let Some(host) = Host::new() else { return };
    host.block_on(async |engine| {
        let runs = (0..24).map(|number| {
            let engine = Arc::clone(&engine);
            let network = if number % 2 == 0 {
                hull_engine::container::NetworkMode::Bridge
            } else {
                hull_engine::container::NetworkMode::None
            };
            tokio::spawn(async move {
                let config = Config {
                    network,
                    ..shell(&format!("echo {number}; exit {number}"))
                };
                (number, run(&engine, config).await.unwrap())
            })
        });
        let runs: Vec<_> = runs.collect();
        for run in runs {
            let (number, (code, out, err)) = run.await.unwrap();
            assert_eq!(
                (code, out, err.as_str()),
                (number, format!("{number}\n"), "")
            );
        }
    });
    host.assert_nothing_left();
}
