//! The system call filter: actions, conditions, flags, and agents that decide.

mod kit;

use hull_linux::seccomp::Architecture;
use hull_linux::seccomp::listener::{Answer, answer, receive};
use hull_linux::socket::receive_descriptor;
use kit::{Host, stderr};
use rustix::net::{RecvFlags, recv};
use serde_json::{Value, json};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

/// A container that runs a script under a profile which allows everything but these rules.
fn filtered(host: &Host, script: &str, rules: Value) -> Value {
    let mut config = host.config(script);
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    config
}

#[test]
fn every_action_does_what_it_says() {
    let Some(host) = Host::new() else { return };
    for (action, number, said) in [
        ("SCMP_ACT_ERRNO", Some(18), "Invalid cross-device link"),
        ("SCMP_ACT_ERRNO", None, "Operation not permitted"),
        ("SCMP_ACT_ERRNO", Some(0), "code 0"),
        ("SCMP_ACT_KILL", None, "code 159"),
        ("SCMP_ACT_KILL_THREAD", None, "code 159"),
        ("SCMP_ACT_KILL_PROCESS", None, "code 159"),
        ("SCMP_ACT_TRAP", None, "code 159"),
        // Without a tracer the call fails.
        ("SCMP_ACT_TRACE", Some(5), "Function not implemented"),
        ("SCMP_ACT_LOG", None, "code 0"),
        ("SCMP_ACT_ALLOW", None, "code 0"),
    ] {
        let mut rule = json!({"names": ["mkdir", "mkdirat", "no_such_call"], "action": action});
        if let Some(number) = number {
            rule["errnoRet"] = json!(number);
        }
        let script = "busybox mkdir /tmp/new; echo code $?; busybox rmdir /tmp/new";
        let config = filtered(&host, script, json!([rule]));
        let (_, out, err) = host.run("action", config);
        assert!(
            out.contains(said) || err.contains(said),
            "{rule}: {out} {err}"
        );
    }
}

#[test]
fn a_filter_is_obeyed_before_and_after_privileges_are_given_up() {
    let Some(host) = Host::new() else { return };
    for no_new_privileges in [true, false] {
        let rule =
            json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18}]);
        let mut config = filtered(
            &host,
            "busybox mkdir /tmp/new; grep -E 'Seccomp:|NoNew' /proc/self/status",
            rule,
        );
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        let (_, out, err) = host.run("when", config);
        assert!(err.contains("cross-device"), "{err}");
        let said = format!(
            "NoNewPrivs:\t{}\nSeccomp:\t2\n",
            i32::from(no_new_privileges)
        );
        assert_eq!(out, said);
    }
}

/// Whether chmod(path, 0o644) is refused under these conditions.
#[cfg(target_arch = "x86_64")]
fn refuses(host: &Host, conditions: &Value) -> bool {
    let rule = json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": conditions}]);
    let script = "echo x > /tmp/file; busybox chmod 644 /tmp/file 2>&1; echo end";
    let (_, out, err) = host.run("compare", filtered(host, script, rule));
    assert!(out.ends_with("end\n"), "{conditions}: {out} {err}");
    out.contains("Operation not permitted")
}

#[test]
#[cfg(target_arch = "x86_64")]
fn arguments_are_compared_in_all_their_bits() {
    const HIGH: u64 = 1 << 32;
    let Some(host) = Host::new() else { return };
    for (operator, value, second, refused) in [
        ("EQ", 0o644, 0, true),
        ("EQ", HIGH | 0o644, 0, false),
        ("NE", 0o644, 0, false),
        ("NE", HIGH | 0o644, 0, true),
        ("LT", 0o644, 0, false),
        ("LT", HIGH, 0, true),
        ("LE", 0o644, 0, true),
        ("GE", 0o644, 0, true),
        ("GE", HIGH, 0, false),
        ("GT", 0o644, 0, false),
        ("GT", 0o643, 0, true),
        ("MASKED_EQ", 0o700, 0o600, true),
        ("MASKED_EQ", 0o700, 0o700, false),
    ] {
        let operator = format!("SCMP_CMP_{operator}");
        let condition = json!({"index": 1, "value": value, "valueTwo": second, "op": operator});
        assert_eq!(refuses(&host, &json!([condition])), refused, "{condition}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn all_conditions_must_hold_but_any_of_those_on_one_argument() {
    let Some(host) = Host::new() else { return };
    let equal =
        |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    assert!(!refuses(&host, &json!([equal(1, 0o644), equal(0, 0)])));
    assert!(refuses(&host, &json!([equal(1, 0o644), equal(1, 1)])));
}

#[test]
fn flags_and_architectures_are_known_ones() {
    let Some(host) = Host::new() else { return };
    for (key, value, said) in [
        ("flags", "SECCOMP_FILTER_FLAG_LOG", None),
        ("flags", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", None),
        ("flags", "SECCOMP_FILTER_FLAG_TSYNC", None),
        ("flags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", None),
        ("flags", "NOSUCH", Some("seccomp flag NOSUCH is not known")),
        ("architectures", "SCMP_ARCH_X86", None),
        ("architectures", "SCMP_ARCH_ARM", None),
        ("architectures", "SCMP_ARCH_MIPS64", None),
        (
            "architectures",
            "SCMP_ARCH_NOSUCH",
            Some("string SCMP_ARCH_NOSUCH is not a valid arch for seccomp"),
        ),
    ] {
        let mut config = filtered(&host, "grep Seccomp: /proc/self/status", json!([]));
        config["linux"]["seccomp"][key] = json!([value]);
        let (code, out, err) = host.run("flags", config);
        match said {
            None => assert_eq!((code, out.as_str()), (0, "Seccomp:\t2\n"), "{value} {err}"),
            Some(said) => assert!(code == 1 && err.contains(said), "{err}"),
        }
    }
}

/// An agent that refuses to make directories, with an error of its own, and lets all else pass. Gives
/// what it was told and how many calls it was asked about.
fn agent(listener: UnixListener) -> JoinHandle<(Value, u32)> {
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accepted");
        let (message, calls) = told(stream);
        let native = Architecture::native();
        let refused = ["mkdir", "mkdirat"].map(|name| native.number(name));
        let mut asked = 0;
        while let Some(call) = receive(calls.as_fd()).expect("received") {
            asked += 1;
            let number = u32::try_from(call.number).ok();
            let word = if number.is_some() && refused.contains(&number) {
                Answer::Errno(18)
            } else {
                Answer::Continue
            };
            // It may have been killed meanwhile.
            let _ = answer(calls.as_fd(), call.id, word);
        }
        (message, asked)
    })
}

/// The message and the descriptor. The text is looked at once, so that the descriptor that comes with its
/// first byte is not lost.
fn told(mut stream: UnixStream) -> (Value, OwnedFd) {
    let mut space = vec![0; 64 << 10];
    let peeked = recv(&stream, space.as_mut_slice(), RecvFlags::PEEK);
    let length = peeked.expect("peeked").0;
    let descriptor = receive_descriptor(&stream).expect("a descriptor");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("read");
    space.truncate(length);
    (serde_json::from_slice(&space).expect("JSON"), descriptor)
}

#[test]
fn an_agent_is_asked_from_the_first_call_on() {
    let Some(host) = Host::new() else { return };
    for no_new_privileges in [true, false] {
        let path = host.path("agent.sock");
        let _ = std::fs::remove_file(&path);
        let agent = agent(UnixListener::bind(&path).expect("bound"));
        // Calls that the runtime itself makes after the filter is on are among them.
        let names = json!([
            "mkdir",
            "mkdirat",
            "sendto",
            "recvfrom",
            "close",
            "read",
            "execve",
            "setresuid"
        ]);
        let mut config = filtered(
            &host,
            "busybox mkdir /tmp/new; exit 5",
            json!([{"names": names, "action": "SCMP_ACT_NOTIFY"}]),
        );
        config["linux"]["seccomp"]["listenerPath"] = json!(path);
        config["linux"]["seccomp"]["listenerMetadata"] = json!("some words");
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        config["annotations"] = json!({"a": "b"});
        let (code, _, err) = host.run("asked", config);
        assert_eq!(code, 5, "{err}");
        assert!(err.contains("Invalid cross-device link"), "{err}");
        let (message, asked) = agent.join().expect("ended");
        assert!(asked > 3, "{asked}");
        assert_eq!(message["fds"], json!(["seccompFd"]));
        assert_eq!(message["metadata"], "some words");
        assert_eq!(message["state"]["id"], "asked");
        assert_eq!(message["state"]["status"], "creating");
        assert_eq!(message["state"]["annotations"], json!({"a": "b"}));
        assert_eq!(message["state"]["pid"], message["pid"]);
        assert!(message["pid"].as_i64().expect("a pid") > 1);
    }
}

#[test]
fn a_process_that_joins_has_an_agent_too() {
    let Some(host) = Host::new() else { return };
    let path = host.path("agent.sock");
    let socket = UnixListener::bind(&path).expect("bound");
    let first = agent(socket.try_clone().expect("cloned"));
    let mut config = filtered(
        &host,
        "exec sleep 1000",
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]),
    );
    config["linux"]["seccomp"]["listenerPath"] = json!(path);
    host.create("joined", config);
    assert!(host.call(&["start", "joined"]).status.success());
    let second = agent(socket);
    let output = host.call(&["exec", "joined", "busybox", "mkdir", "/tmp/new"]);
    assert!(
        stderr(&output).contains("Invalid cross-device link"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        second.join().expect("ended").0["state"]["status"],
        "running"
    );
    assert!(host.call(&["delete", "--force", "joined"]).status.success());
    assert_eq!(first.join().expect("ended").1, 0);
}

#[test]
fn an_agent_that_cannot_be_reached_stops_the_container() {
    let Some(host) = Host::new() else { return };
    let notify = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    let mut config = filtered(&host, "true", notify.clone());
    config["linux"]["seccomp"]["listenerPath"] = json!(host.path("nobody"));
    let (code, _, err) = host.run("nobody", config.clone());
    assert!(
        code == 1 && err.contains("cannot send seccomp fd to"),
        "{err}"
    );
    assert!(!host.path("state/nobody").exists());
    config["linux"]["seccomp"]["listenerPath"] = json!("");
    let (code, _, err) = host.run("nobody", config.clone());
    assert!(
        code == 1 && err.contains("seccomp listenerPath is not set"),
        "{err}"
    );
    config["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["write"]);
    let (_, _, err) = host.run("nobody", config.clone());
    assert!(
        err.contains("SCMP_ACT_NOTIFY cannot be used for the write syscall"),
        "{err}"
    );
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"});
    let (_, _, err) = host.run("nobody", config);
    assert!(
        err.contains("SCMP_ACT_NOTIFY cannot be used as default action"),
        "{err}"
    );
}
