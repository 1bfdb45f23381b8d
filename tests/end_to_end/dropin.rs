//! The programs under Docker's names.

use hull_tests::command::run;
use hull_tests::daemon::{Daemon, wait_until};
use hull_tests::host::{Host, reference};
use hull_tests::setup::{Setup, with_each_client};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with Hull's program under another name.
fn called(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    std::os::unix::fs::symlink(hull_tests::binaries().join("hull"), &path).expect("a link");
    (directory, path)
}

#[test]
fn programs_are_called_and_say_what_dockers_do() {
    for name in ["docker", "dockerd"] {
        let (_directory, program) = called(name);
        let said = run(Command::new(&program).arg("--version"), &[])
            .ok()
            .to_owned();
        assert!(said.starts_with("Docker version 28."), "{said}");
        assert!(said.contains(", build "), "{said}");
    }
    let (_directory, docker) = called("docker");
    let wrong = run(Command::new(&docker).arg("foo"), &[]);
    assert!(
        wrong
            .stderr
            .starts_with("docker: unknown command: docker foo\n"),
        "{wrong:?}"
    );
    let home = tempfile::tempdir().expect("a directory");
    let nobody = run(
        Command::new(&docker)
            .args(["-H", "unix:///nonexistent/docker.sock", "ps"])
            .env("HOME", home.path()),
        &[],
    );
    assert_eq!(
        nobody.stderr.trim_end(),
        "Cannot connect to the Docker daemon at unix:///nonexistent/docker.sock. Is the docker daemon running?"
    );
}

#[test]
fn settings_of_all_containers_reach_them() {
    if reference().is_some() {
        return;
    }
    with_each_client(|s| {
        s.daemon.stop();
        s.daemon.set_arguments(&[
            "--label=where=here",
            "--default-ulimit=nofile=100:200",
            "--default-ulimit=core=0",
            "--default-shm-size=1m",
            "--default-ipc-mode=shareable",
            "--log-opt=max-size=10m",
            "--no-new-privileges",
            "--seccomp-profile=unconfined",
            "--cgroup-parent=hull-test-parent",
            "--exec-opt=native.cgroupdriver=systemd",
        ]);
        s.daemon.restart();
        assert!(
            s.daemon
                .log()
                .contains("accepted without effect: exec-opts"),
            "{}",
            s.daemon.log()
        );
        let info = s.daemon.get("/info").json();
        assert_eq!(info["Labels"], json!(["where=here"]));
        they_are_seen(s);
        what_a_run_says_itself_counts(s);
    });
}

fn they_are_seen(s: &Setup<'_>) {
    let script = "ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; cat /proc/self/cgroup";
    let said = s
        .script("run --name one --net=none --ulimit=core=5 busybox", script)
        .ok()
        .to_owned();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words[..2], ["100", "200"], "{said}");
    assert!(words.contains(&"1024"), "{said}");
    assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    assert!(said.contains("Seccomp:\t0"), "{said}");
    // Elsewhere it is the container's own cgroup namespace that is seen.
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert!(said.contains("/hull-test-parent/"), "{said}");
    }
    let host = s.inspect("one", "/HostConfig");
    assert_eq!(host["ShmSize"], 1 << 20);
    assert_eq!(host["IpcMode"], "shareable");
    assert_eq!(
        host["LogConfig"],
        json!({"Type": "json-file", "Config": {"max-size": "10m"}})
    );
    assert_eq!(host["CgroupParent"], "");
    assert_eq!(host["SecurityOpt"], json!(null));
    let limits = host["Ulimits"].as_array().expect("limits");
    assert!(
        limits.contains(&json!({"Name": "core", "Soft": 5, "Hard": 5})),
        "{limits:?}"
    );
    assert!(
        limits.contains(&json!({"Name": "nofile", "Soft": 100, "Hard": 200})),
        "{limits:?}"
    );
    let _ = s.line("rm -f one").ok();
}

fn what_a_run_says_itself_counts(s: &Setup<'_>) {
    let said = s.script("run --rm --net=none --ulimit=nofile=50 --security-opt=no-new-privileges=false --log-driver=none busybox", "ulimit -n; grep NoNewPrivs /proc/self/status")
        .ok()
        .to_owned();
    assert!(
        said.starts_with("50\n") && said.contains("NoNewPrivs:\t0"),
        "{said}"
    );
}

#[test]
fn sighup_reads_the_configuration_again() {
    if reference().is_some() {
        return;
    }
    let host = Host::start();
    let daemon = Daemon::start(&host, &["--label=flag=1"]);
    let config = daemon.path("daemon.json");
    let hang_up = || {
        let pid = i32::try_from(daemon.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP)
            .expect("signal the daemon");
    };
    fs_err::write(
        &config,
        r#"{"debug":true,"insecure-registries":["example.com:5000"],"registry-mirrors":["http://127.0.0.1:9"],
            "max-concurrent-downloads":1,"runtimes":{"other":{"path":"/usr/bin/other"}},"default-shm-size":"2M"}"#,
    )
    .expect("write the file");
    hang_up();
    wait_until("the new settings", || {
        let info = daemon.get("/info").json();
        if info["Debug"] == true {
            Ok(())
        } else {
            Err(info)
        }
    });
    // The answer that says so may have been begun before.
    let info = daemon.get("/info").json();
    assert_eq!(info["Labels"], json!(["flag=1"]));
    assert_eq!(
        info["RegistryConfig"]["IndexConfigs"]["example.com:5000"]["Secure"],
        false
    );
    assert_eq!(
        info["RegistryConfig"]["Mirrors"],
        json!(["http://127.0.0.1:9/"])
    );
    assert_eq!(info["Runtimes"]["other"]["path"], "/usr/bin/other");
    let events = daemon.get("/events?since=1&until=1&filters={\"type\":[\"daemon\"]}");
    assert_eq!(events.status, 200, "{events:?}");
    // What is wrong changes nothing.
    fs_err::write(&config, r#"{"debug":false,"nonsense":1}"#).expect("write the file");
    hang_up();
    wait_until("the refusal", || {
        let log = daemon.log();
        if log.contains("configuration stays as it is") && log.contains("nonsense") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(daemon.get("/info").json()["Debug"], true);
}

#[test]
fn the_data_of_a_docker_daemon_are_left_alone() {
    if reference().is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    fs_err::create_dir_all(data.join("image/overlay2")).expect("a directory");
    let refused = run(
        Command::new(hull_tests::binaries().join("hull"))
            .arg("daemon")
            .arg("--data-root")
            .arg(&data)
            .arg("--exec-root")
            .arg(directory.path().join("run"))
            .arg("-H")
            .arg(format!("unix://{}/s", directory.path().display())),
        &[],
    );
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("holds the data of a Docker daemon"),
        "{refused:?}"
    );
    let kept: Vec<_> = fs_err::read_dir(&data)
        .expect("read the directory")
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn the_service_manager_may_pass_sockets_and_is_told() {
    served_where_passed(&["-H", "fd://"], "{}");
}

#[test]
fn passed_sockets_stand_for_the_usual_host() {
    served_where_passed(&[], "{}");
}

/// With `-H fd://` in a unit, `hosts` in the file would be said twice. The file of the passed socket may be among them.
#[test]
fn passed_sockets_are_served_beside_the_hosts_of_the_file() {
    served_where_passed(
        &[],
        r#"{"hosts": ["unix://DIR/own.sock", "unix://DIR/../DIR_NAME/passed.sock"]}"#,
    );
}

fn served_where_passed(arguments: &[&str], file: &str) {
    if reference().is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let (_link, dockerd) = called("dockerd");
    let listener = std::os::unix::net::UnixListener::bind(at("passed.sock")).expect("listen");
    let manager = std::os::unix::net::UnixDatagram::bind(at("notify")).expect("bind");
    manager
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .expect("a limit");
    let name = directory.path().file_name().expect("a name");
    let file = file.replace("DIR_NAME", &name.to_string_lossy());
    let file = file.replace("DIR", &directory.path().to_string_lossy());
    fs_err::write(at("daemon.json"), &file).expect("write the file");
    let host = Host::start();
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=api exec \"$@\"";
    let mut child = host
        .command("sh")
        .args(["-c", script, "sh"])
        .arg(dockerd)
        .args(arguments)
        .args([
            "--data-root".as_ref(),
            at("data").as_os_str(),
            "--exec-root".as_ref(),
            at("run").as_os_str(),
        ])
        .args([
            "-p".as_ref(),
            at("pid").as_os_str(),
            "--config-file".as_ref(),
            at("daemon.json").as_os_str(),
        ])
        .env("NOTIFY_SOCKET", at("notify"))
        .stdin(std::os::fd::OwnedFd::from(listener))
        .spawn()
        .expect("start the daemon");
    let mut told = [0; 64];
    let length = manager.recv(&mut told).expect("word from the daemon");
    assert_eq!(&told[..length], b"READY=1");
    let own = Some("own.sock").filter(|name| file.contains(name));
    for name in own.into_iter().chain(["passed.sock"]) {
        let stream = std::os::unix::net::UnixStream::connect(at(name)).expect("the daemon listens");
        let request = hull_tests::http::Request {
            method: "GET",
            target: "/_ping",
            headers: &[],
            body: b"",
        };
        let reply = hull_tests::http::send(stream, request).expect("an answer");
        assert_eq!(reply.status, 200);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal the daemon");
    let length = manager.recv(&mut told).expect("word from the daemon");
    assert_eq!(&told[..length], b"STOPPING=1");
    assert!(child.wait().expect("wait for the daemon").success());
    assert!(at("passed.sock").exists(), "the socket is not ours");
}

/// A certificate authority with the certificates of a server on loopback and of a client, as files.
fn certificates(directory: &std::path::Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    fs_err::write(directory.join("ca.pem"), authority.pem()).expect("write");
    for name in ["server-", ""] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        let path = |kind: &str| directory.join(format!("{name}{kind}.pem"));
        fs_err::write(path("cert"), certificate.pem()).expect("write");
        fs_err::write(path("key"), key.serialize_pem()).expect("write");
    }
}

/// Has the daemon listen where only those with a certificate are let in.
fn listen_with_tls(s: &mut Setup<'_>, directory: &Path) {
    let file = |name: &str| directory.join(name).display().to_string();
    s.daemon.stop();
    let flags = [
        "-H=tcp://127.0.0.1".to_owned(),
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", file("ca.pem")),
        format!("--tlscert={}", file("server-cert.pem")),
        format!("--tlskey={}", file("server-key.pem")),
    ];
    s.daemon
        .set_arguments(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    s.daemon.restart();
}

#[test]
fn tls_lets_in_who_has_a_certificate_and_carries_streams() {
    if reference().is_some() {
        return;
    }
    hull_tests::setup::with(hull_tests::client::Client::Hull, |s| {
        if !hull_tests::can_run("the docker client", hull_tests::command::exists("docker")) {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        certificates(directory.path());
        let file = |name: &str| directory.path().join(name).display().to_string();
        listen_with_tls(s, directory.path());
        let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        let verified = [
            "--tlsverify",
            "--tlscacert",
            &ca,
            "--tlscert",
            &cert,
            "--tlskey",
            &key,
        ];
        let hull = hull_tests::binaries().join("hull");
        for program in [Path::new("docker"), &hull] {
            let client = |arguments: &[&str], input: &[u8]| {
                let mut command = s.host.command(program);
                command
                    .env("DOCKER_HOST", "tcp://127.0.0.1:2376")
                    .env("DOCKER_CONFIG", s.daemon.path("client"))
                    .args(arguments);
                run(&mut command, input)
            };
            let mut words = verified.to_vec();
            words.extend(["run", "--rm", "-i", "--net=none", "busybox", "cat"]);
            let text = "a line of a stream\n".repeat(20_000);
            let said = client(&words, text.as_bytes());
            assert_eq!(said.ok().len(), text.trim_end().len());
            // A client without a certificate, one that trusts another, and one without TLS.
            let mut stranger = verified[..3].to_vec();
            stranger.push("version");
            let mut elsewhere = vec!["--tlsverify", "--tlscacert", &cert];
            elsewhere.extend([&verified[3..], &["version"]].concat());
            for words in [&stranger, &elsewhere, &vec!["version"]] {
                let refused = client(words, &[]);
                assert!(
                    refused.code != 0 && !refused.stdout.contains("Server:"),
                    "{refused:?}"
                );
            }
            let describe = format!("host=tcp://127.0.0.1:2376,ca={ca},cert={cert},key={key}");
            let name = format!("tls-{}", program.file_name().unwrap().display());
            let created = client(&["context", "create", &name, "--docker", &describe], &[]);
            assert_eq!(created.ok(), name);
        }
        they_read_each_others_contexts(s, &hull);
    });
}

/// What either program has written, the other reads.
fn they_read_each_others_contexts(s: &Setup<'_>, hull: &Path) {
    for (program, context) in [(Path::new("docker"), "tls-hull"), (hull, "tls-docker")] {
        let mut command = s.host.command(program);
        command
            .env("DOCKER_CONFIG", s.daemon.path("client"))
            .args(["--context", context, "version"])
            .args(["--format", "{{.Server.Os}}"]);
        assert_eq!(run(&mut command, &[]).ok(), "linux");
    }
}

/// An `ssh` that runs here what it is to run there.
#[test]
fn daemons_behind_ssh_are_reached_through_the_ssh_program() {
    if reference().is_some() {
        return;
    }
    hull_tests::setup::with(hull_tests::client::Client::Hull, |s| {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = tempfile::tempdir().expect("a directory");
        let ssh = bin.path().join("ssh");
        let script =
            "#!/bin/sh\necho \"$@\" >>\"$0.log\"\nfor last; do :; done\nexec sh -c \"$last\"\n";
        fs_err::write(&ssh, script).expect("write");
        fs_err::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        std::os::unix::fs::symlink(hull_tests::binaries().join("hull"), bin.path().join("hull"))
            .expect("a link");
        let path = format!(
            "{}:{}",
            bin.path().display(),
            std::env::var("PATH").unwrap()
        );
        let hull = |arguments: &[&str], input: &[u8]| {
            let mut command = Command::new(hull_tests::binaries().join("hull"));
            command
                .env("PATH", &path)
                .env("DOCKER_CONFIG", s.daemon.path("client"))
                .env_remove("DOCKER_HOST")
                .env_remove("HULL_HOST")
                .args(arguments);
            run(&mut command, input)
        };
        let host = format!("host=ssh://me@there:2200{}", s.daemon.socket().display());
        let created = hull(&["context", "create", "there", "--docker", &host], &[]);
        assert_eq!(created.ok(), "there");
        assert_eq!(hull(&["context", "use", "there"], &[]).ok(), "there");
        let text = "a line of a stream\n".repeat(5_000);
        let said = hull(
            &["run", "--rm", "-i", "--net=none", "busybox", "cat"],
            text.as_bytes(),
        );
        assert_eq!(said.ok().len(), text.trim_end().len());
        let log = fs_err::read_to_string(bin.path().join("ssh.log")).expect("the log");
        assert!(
            log.contains("-T") && log.contains("-l me -p 2200 -- there "),
            "{log}"
        );
        // One that cannot get there says why itself.
        fs_err::write(&ssh, "#!/bin/sh\necho no way >&2\nexit 255\n").expect("write");
        let failed = hull(&["ps"], &[]);
        assert!(
            failed.code == 1 && failed.stderr.starts_with("no way\n"),
            "{failed:?}"
        );
    });
}

/// A plugin of Docker's is a command, and finds the daemon.
#[test]
fn plugins_take_our_place() {
    use std::os::unix::fs::PermissionsExt as _;
    let config = tempfile::tempdir().expect("a directory");
    let plugin = config.path().join("cli-plugins/docker-zz");
    fs_err::create_dir_all(plugin.parent().unwrap()).expect("a folder");
    let script = "#!/bin/sh\ncase $1 in docker-cli-plugin-metadata) echo '{\"ShortDescription\":\"Sleep\"}';;\n*) echo \"$DOCKER_HOST $*\"; exit 3;; esac\n";
    fs_err::write(&plugin, script).expect("write");
    fs_err::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let hull = |arguments: &[&str]| {
        let mut command = Command::new(hull_tests::binaries().join("hull"));
        command
            .env("DOCKER_CONFIG", config.path())
            .env("HULL_HOST", "unix:///nonexistent/hull.sock")
            .args(arguments);
        run(&mut command, &[])
    };
    let said = hull(&["--debug", "zz", "up", "-d"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(
        said.stdout,
        "unix:///nonexistent/hull.sock --debug zz up -d\n"
    );
    let help = hull(&["--help"]);
    assert!(help.ok().contains("zz*         Sleep"), "{help:?}");
}
