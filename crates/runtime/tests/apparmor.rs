//! AppArmor profiles on a container's processes, where the kernel has AppArmor and its parser is installed.

mod kit;

use kit::{Host, skip, stderr};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A loaded profile, removed at the end.
struct Profile {
    name: String,
}

impl Profile {
    /// One that forbids reading `/etc/secret` and nothing else. `None`, with a printed reason, where there can be none.
    fn load(name: &str) -> Option<Self> {
        let enabled = fs_err::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !enabled.is_ok_and(|word| word.starts_with('Y')) {
            skip("the kernel has no AppArmor");
            return None;
        }
        let profile = Self {
            name: format!("hull-test-{name}-{}", std::process::id()),
        };
        if !profile.parser("--replace") {
            skip("no profile can be loaded: is apparmor_parser there?");
            return None;
        }
        Some(profile)
    }

    fn parser(&self, action: &str) -> bool {
        let parser = Command::new("apparmor_parser")
            .args([action, "--skip-cache"])
            .stdin(Stdio::piped())
            .spawn();
        let Ok(mut parser) = parser else { return false };
        let rules = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix, deny /etc/secret r,";
        let text = format!(
            "profile {} flags=(attach_disconnected,mediate_deleted) {{ {rules} }}",
            self.name
        );
        let input = parser.stdin.take().expect("a pipe");
        let written = { input }.write_all(text.as_bytes());
        parser.wait().expect("ends").success() && written.is_ok()
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

const SCRIPT: &str = "cat /proc/self/attr/current; cat /etc/secret";

fn confined(host: &Host, script: &str, profile: &str) -> Value {
    fs_err::write(host.path("rootfs/etc/secret"), "told\n").expect("written");
    let mut config = host.config(script);
    config["process"]["apparmorProfile"] = Value::String(profile.to_owned());
    config
}

#[test]
fn a_profile_confines_the_program() {
    let Some(host) = Host::new() else { return };
    let Some(profile) = Profile::load("run") else {
        return;
    };
    let config = confined(&host, SCRIPT, &profile.name);
    let (code, out, err) = host.run("confined", config);
    assert_eq!(out, format!("{} (enforce)\n", profile.name), "{err}");
    assert!(code == 1 && err.contains("Permission denied"), "{err}");
    // Without one, nothing is forbidden.
    let (code, out, err) = host.run("free", confined(&host, SCRIPT, ""));
    assert!(code == 0 && out.ends_with("told\n"), "{out}{err}");
}

#[test]
fn a_profile_and_no_new_privileges_go_together() {
    let Some(host) = Host::new() else { return };
    let Some(profile) = Profile::load("nnp") else {
        return;
    };
    let mut config = confined(&host, SCRIPT, &profile.name);
    config["process"]["noNewPrivileges"] = Value::Bool(true);
    let (_, out, err) = host.run("nnp", config);
    assert_eq!(out, format!("{} (enforce)\n", profile.name), "{err}");
}

#[test]
fn later_processes_are_confined_by_the_same_or_by_their_own() {
    let Some(host) = Host::new() else { return };
    let (Some(first), Some(other)) = (Profile::load("first"), Profile::load("other")) else {
        return;
    };
    host.create("later", confined(&host, "sleep 1000", &first.name));
    assert!(host.call(&["start", "later"]).status.success());
    for (words, expected) in [
        (vec!["exec", "later"], &first.name),
        (
            vec!["exec", "--apparmor", &other.name, "later"],
            &other.name,
        ),
    ] {
        let output = host.call(&[&words[..], &["cat", "/proc/self/attr/current"]].concat());
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            out,
            format!("{expected} (enforce)\n"),
            "{}",
            stderr(&output)
        );
    }
    assert!(host.call(&["delete", "-f", "later"]).status.success());
}

#[test]
fn a_profile_that_is_not_loaded_is_refused() {
    let Some(host) = Host::new() else { return };
    let (code, out, err) = host.run("none", confined(&host, SCRIPT, "hull-test-none"));
    assert!(code != 0 && out.is_empty(), "{out}");
    assert!(err.contains("apparmor"), "{err}");
    assert!(!host.path("state/none").exists());
}
