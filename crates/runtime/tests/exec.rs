//! Processes beside a container's first, and descriptors that are handed on.

mod kit;

use kit::{Host, stderr};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn running(host: &Host, id: &str, config: serde_json::Value) {
    host.create(id, config);
    let output = host.call(&["start", id]);
    assert!(output.status.success(), "{}", stderr(&output));
}

fn delete(host: &Host, id: &str) {
    assert!(host.call(&["delete", "--force", id]).status.success());
}

#[test]
fn a_process_is_in_all_namespaces_of_the_first() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("exec sleep 1000");
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("there");
    namespaces.push(json!({"type": "user"}));
    if Path::new("/proc/self/ns/time").exists() {
        namespaces.push(json!({"type": "time"}));
    }
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    running(&host, "all", config);
    let list = "for ns in pid net ipc uts mnt user cgroup time; do readlink /proc/PID/ns/$ns; done";
    let of = |pid: &str| {
        let script = list.replace("PID", pid);
        host.call(&["exec", "all", "sh", "-c", &script])
    };
    let (own, first) = (of("self"), of("1"));
    assert!(own.status.success(), "{}", stderr(&own));
    assert_eq!(text(&own), text(&first));
    assert!(text(&own).lines().count() >= 7, "{}", text(&own));
    delete(&host, "all");
}

#[test]
fn a_process_joins_namespaces_the_first_has_joined() {
    let Some(host) = Host::new() else { return };
    running(&host, "owner", host.config("exec sleep 1000"));
    let output = host.call(&["state", "owner"]);
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut config = host.config("exec sleep 1000");
    for namespace in config["linux"]["namespaces"].as_array_mut().expect("there") {
        let file = match namespace["type"].as_str().expect("a word") {
            "network" => "net",
            "ipc" => "ipc",
            "pid" => "pid",
            _ => continue,
        };
        namespace["path"] = json!(format!("/proc/{}/ns/{file}", state["pid"]));
    }
    running(&host, "guest", config);
    let script = "for ns in net ipc pid; do readlink /proc/self/ns/$ns; done";
    let seen = |id| text(&host.call(&["exec", id, "sh", "-c", script]));
    assert_eq!(seen("guest"), seen("owner"));
    delete(&host, "guest");
    delete(&host, "owner");
}

#[test]
fn a_process_has_the_containers_filter() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("exec sleep 1000");
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]});
    running(&host, "filter", config);
    let script = "grep Seccomp: /proc/self/status; mkdir /tmp/x";
    let output = host.call(&["exec", "filter", "sh", "-c", script]);
    assert_eq!(text(&output), "Seccomp:\t2\n");
    assert!(stderr(&output).contains("not implemented"), "{output:?}");
    delete(&host, "filter");
}

#[test]
fn a_process_of_a_paused_container_waits_for_its_end() {
    let Some(host) = Host::new() else { return };
    running(&host, "paused", host.config("exec sleep 1000"));
    assert!(host.call(&["pause", "paused"]).status.success());
    let mut waiting = host
        .command(&["exec", "--ignore-paused", "paused", "sh", "-c", "exit 5"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    // Whichever comes first, the process ends after the pause.
    assert!(host.call(&["resume", "paused"]).status.success());
    assert_eq!(waiting.wait().expect("ends").code(), Some(5));
    delete(&host, "paused");
}

#[test]
fn a_process_runs_in_a_group_below_the_containers() {
    let Some(host) = Host::new() else { return };
    running(&host, "below", host.config("exec sleep 1000"));
    let group = format!("hull-test/{}-below", std::process::id());
    let mut made = 0;
    for hierarchy in fs_err::read_dir("/sys/fs/cgroup").expect("listed") {
        let directory = hierarchy.expect("an entry").path().join(&group);
        // Links to hierarchies lead to the same directory twice.
        if directory.exists() && fs_err::create_dir(directory.join("sub")).is_ok() {
            made += 1;
            // A new v1 cpuset has no processors.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs_err::read(directory.join(file)) {
                    fs_err::write(directory.join("sub").join(file), value).expect("written");
                }
            }
        }
    }
    if made == 0 {
        kit::skip("the only hierarchy is the unified one");
        delete(&host, "below");
        return;
    }
    let output = host.call(&[
        "exec",
        "--cgroup",
        "/sub",
        "below",
        "cat",
        "/proc/self/cgroup",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    // The container's cgroup namespace begins at its group.
    let inside = text(&output)
        .lines()
        .filter(|line| line.ends_with(":/sub"))
        .count();
    assert!(inside > 0, "{}", text(&output));
    let output = host.call(&["exec", "--cgroup", "nosuch", "below", "true"]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    delete(&host, "below");
}

#[test]
fn descriptors_are_handed_on_and_no_others() {
    let Some(host) = Host::new() else { return };
    running(&host, "files", host.config("exec sleep 1000"));
    fs_err::write(host.path("given"), "given\n").expect("written");
    let given = host.path("given");
    let call = |redirections: &str, options: &str, script: &str| {
        let runtime = host.command(&[]);
        let arguments: Vec<_> = runtime.get_args().collect();
        Command::new("/bin/sh")
            .args([
                "-c",
                &format!("exec {redirections}; exec \"$@\" exec {options} files sh -c '{script}'"),
            ])
            .arg("sh")
            .arg(runtime.get_program())
            .args(arguments)
            .env("GIVEN", &given)
            .current_dir(host.path(""))
            .stdin(Stdio::null())
            .output()
            .expect("runs")
    };
    let output = call(
        "3<$GIVEN 5<$GIVEN",
        "--preserve-fds 1",
        "cat <&3; ls /proc/self/fd/5",
    );
    assert_eq!(text(&output), "given\n");
    assert!(stderr(&output).contains("/proc/self/fd/5"), "{output:?}");
    let output = call("3<$GIVEN", "--preserve-fds 2", "true");
    assert_eq!(output.status.code(), Some(255));
    assert!(
        stderr(&output).contains("unable to stat preserved-fd 1 (of 2)"),
        "{output:?}"
    );
    delete(&host, "files");
}

#[test]
fn sockets_of_the_caller_are_handed_on_when_they_are_meant_for_us() {
    let Some(host) = Host::new() else { return };
    let script = "echo $LISTEN_FDS $LISTEN_PID; cat <&3";
    for (pid, told) in [("$$", "1 1\nsocket\n"), ("1", "\n")] {
        host.write(host.config(script), "sockets");
        fs_err::write(host.path("given"), "socket\n").expect("written");
        let runtime = host.command(&["run", "sockets"]);
        let output = Command::new("/bin/sh")
            .args([
                "-c",
                &format!("exec 3<given; LISTEN_FDS=1 LISTEN_PID={pid} exec \"$@\""),
            ])
            .arg("sh")
            .arg(runtime.get_program())
            .args(runtime.get_args())
            .current_dir(host.path(""))
            .stdin(Stdio::null())
            .output()
            .expect("runs");
        assert_eq!(text(&output), told, "{output:?}");
    }
}

#[test]
fn a_descriptor_of_the_process_is_sent() {
    let Some(host) = Host::new() else { return };
    let path = host.path("pidfd.socket");
    let listener = UnixListener::bind(&path).expect("bound");
    let socket = path.to_string_lossy().into_owned();
    host.write(host.config("exit 3"), "pidfd");
    let mut child = host
        .command(&["run", "--pidfd-socket", &socket, "pidfd"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let (stream, _) = listener.accept().expect("connected");
    let mut name = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        &stream,
        &mut [IoSliceMut::new(&mut name)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .expect("received");
    assert_eq!(&name[..received.bytes], b"standard");
    let files: Vec<_> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    let [file] = files.as_slice() else {
        panic!("one descriptor, not {}", files.len());
    };
    let link = fs_err::read_link(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(file)
    ));
    assert!(link.expect("read").to_string_lossy().contains("pidfd"));
    assert_eq!(child.wait().expect("ends").code(), Some(3));
}

#[test]
fn a_huge_configuration_is_refused_before_it_is_read() {
    let Some(host) = Host::new() else { return };
    let file = fs_err::File::create(host.path("config.json")).expect("made");
    file.set_len(1 << 40).expect("a hole");
    let output = host.call(&["create", "huge"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("config.json is too large"),
        "{output:?}"
    );
    assert!(!host.path("state/huge").exists());
}
