//! Writes of the runtime to procfs are led elsewhere.

use crate::bundle::Container;
use serde_json::json;
use std::path::Path;

/// What lies at the place of a kernel parameter in the container's own tree is not written to, and the
/// parameter is set all the same.
#[test]
fn kernel_parameters_are_set_in_the_real_procfs() {
    let Some(mut container) =
        Container::new("52881-sysctl", &["cat", "/real/sys/net/ipv4/ip_forward"])
    else {
        return;
    };
    container.without("/proc");
    container.mount("proc", Path::new("proc"), "/real");
    let fake = container.inside("proc/sys/net/ipv4");
    fs_err::create_dir_all(&fake).unwrap();
    fs_err::write(fake.join("ip_forward"), "untouched").unwrap();
    container.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    let outcome = container.run();
    outcome.assert_succeeded();
    assert_eq!(outcome.text, "1\n");
    let text = fs_err::read_to_string(fake.join("ip_forward")).unwrap();
    assert_eq!(text, "untouched");
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    for name in [
        "kernel.core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4/../../kernel/core_pattern",
    ] {
        let Some(mut container) = Container::new("52881-host", &["true"]) else {
            return;
        };
        container.spec["linux"]["sysctl"] = json!({name: "|/victim"});
        container.run().assert_refused("sysctl");
    }
    let pattern = fs_err::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert!(!pattern.contains("victim"));
}
