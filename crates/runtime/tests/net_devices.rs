//! Network devices of the host in a container.

mod kit;

use kit::Host;
use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};

/// Runs the container in a network namespace of its own that has two devices, then shows what is left.
fn run(host: &Host, id: &str, config: Value) -> Option<Output> {
    host.write(config, id);
    let script = format!(
        "ip() {{ /bin/busybox ip \"$@\"; }}; \
         ip link add hull0 type veth && ip link set veth0 name hull1 || exit 77; \
         ip addr add 10.9.8.7/24 dev hull0; ip -6 addr add fd00::7/64 dev hull0; ip link set hull0 up; \
         {} --root {} run {id}; code=$?; echo HOST; ip addr show; exit $code",
        env!("CARGO_BIN_EXE_hull-runtime"),
        host.path("state").display()
    );
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .current_dir(host.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    if output.status.code() == Some(77) {
        kit::skip("this kernel has no veth devices");
        return None;
    }
    Some(output)
}

/// Whether a list of devices has one of this name that is up.
fn is_up(list: &str, name: &str) -> bool {
    let mut lines = list.lines();
    let line = lines.find(|line| line.contains(&format!(" {name}@")));
    line.is_some_and(|line| line.contains(",UP"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn devices_move_with_their_addresses_and_get_new_names() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("busybox ip addr show");
    config["linux"]["netDevices"] = json!({"hull0": {"name": "eth0"}, "hull1": {}});
    let Some(output) = run(&host, "devices", config) else {
        return;
    };
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    let (inside, outside) = out.split_once("HOST\n").expect("both");
    assert!(is_up(inside, "eth0") && is_up(inside, "hull1"), "{out}");
    assert!(
        inside.contains("inet 10.9.8.7/24") && inside.contains("inet6 fd00::7/64"),
        "{out}"
    );
    assert!(
        !outside.contains("hull0") && !outside.contains("hull1"),
        "{out}"
    );
}

#[test]
fn devices_come_back_from_a_container_that_fails() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("");
    config["process"]["args"] = json!(["nosuch"]);
    config["linux"]["netDevices"] = json!({"hull0": {"name": "eth0"}, "hull1": {"name": "eth1"}});
    let Some(output) = run(&host, "back", config.clone()) else {
        return;
    };
    let check = |output: &Output| {
        let out = text(&output.stdout);
        assert!(is_up(&out, "hull0") && !is_up(&out, "hull1"), "{out}");
        assert!(
            out.contains("inet 10.9.8.7/24") && out.contains("inet6 fd00::7/64"),
            "{out}"
        );
        assert!(out.contains(" hull1@"), "{out}");
    };
    assert!(!output.status.success());
    check(&output);
    // The second name is taken by the first device.
    config["linux"]["netDevices"] = json!({"hull0": {"name": "lo"}, "hull1": {}});
    let output = run(&host, "back", config.clone()).expect("ran before");
    let err = text(&output.stderr);
    assert!(
        err.contains(
            "error setting up network device hull0: move network device hull0: file exists"
        ),
        "{err}"
    );
    check(&output);
    config["linux"]["netDevices"] = json!({"hull1": {}, "nosuch": {}});
    let output = run(&host, "back", config).expect("ran before");
    let err = text(&output.stderr);
    assert!(
        err.contains("error setting up network device nosuch: look up link nosuch: no such device"),
        "{err}"
    );
    check(&output);
}

#[test]
fn names_are_checked() {
    let Some(host) = Host::new() else { return };
    for (devices, said) in [
        (json!({"a/b": {}}), r#"invalid network device name \"a/b\""#),
        (
            json!({"lo": {"name": "more-than-fifteen"}}),
            r#"invalid network device name \"more-than-fifteen\""#,
        ),
    ] {
        let mut config = host.config("true");
        config["linux"]["netDevices"] = devices;
        let (code, _, err) = host.run("names", config);
        assert!(code == 1 && err.contains(said), "{err}");
    }
    let mut config = host.config("true");
    config["linux"]["netDevices"] = json!({"lo": {}});
    let namespaces = config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "network");
    let (code, _, err) = host.run("names", config);
    assert!(
        code == 1 && err.contains("unable to move network devices without a NET namespace"),
        "{err}"
    );
}
