//! What the tests of the program share: a bundle to change and the program to run it.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test program uses a part of it"
)]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A bundle with busybox in it, and a state root of its own. Its containers end with it.
pub(crate) struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    /// `None`, with a printed reason, where the tests cannot run.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            println!("skipped: needs a static /bin/busybox");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let rootfs = dir.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc", "tmp", "root"] {
            fs::create_dir_all(rootfs.join(name)).expect("made");
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("copied");
        for name in [
            "sh", "cat", "ls", "id", "sleep", "echo", "true", "grep", "readlink", "stat", "stty",
            "cut", "sed", "mkdir", "tr",
        ] {
            symlink("busybox", rootfs.join("bin").join(name)).expect("made");
        }
        fs_err::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")
            .expect("written");
        Some(Self { dir })
    }

    /// Below the bundle.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A configuration that runs a script.
    pub(crate) fn config(&self, script: &str) -> Value {
        let capabilities = json!(["CAP_KILL", "CAP_CHOWN"]);
        json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", script], "cwd": "/",
                "env": ["PATH=/bin"],
                "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities}},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {
                "cgroupsPath": format!("/hull-test/{}", std::process::id()),
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                    {"type": "mount"}, {"type": "cgroup"}],
                "maskedPaths": ["/proc/kcore", "/proc/acpi"],
                "readonlyPaths": ["/proc/sys"],
            },
        })
    }

    /// Writes a bundle's configuration with a control group of this test's own.
    pub(crate) fn write(&self, mut config: Value, id: &str) {
        let group = format!("/hull-test/{}-{id}", std::process::id());
        config["linux"]["cgroupsPath"] = Value::String(group);
        fs_err::write(self.path("config.json"), config.to_string()).expect("written");
    }

    /// The program with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hull-runtime"));
        command.arg("--root").arg(self.path("state")).args(words);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn call(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("runs")
    }

    /// Runs a configuration to its end: code, output, errors.
    pub(crate) fn run(&self, id: &str, config: Value) -> (i32, String, String) {
        self.write(config, id);
        let output = self.call(&["run", id]);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Creates a container whose streams are files, and starts it.
    pub(crate) fn create(&self, id: &str, config: Value) {
        self.write(config, id);
        let null = || {
            fs_err::File::create(self.path("output"))
                .expect("made")
                .into_parts()
                .0
        };
        let status = self
            .command(&["create", id])
            .stdout(null())
            .stderr(null())
            .status()
            .expect("runs");
        assert!(
            status.success(),
            "{}",
            fs_err::read_to_string(self.path("output")).expect("read")
        );
    }

    /// The word of `state`.
    pub(crate) fn status(&self, id: &str) -> String {
        let output = self.call(&["state", id]);
        let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        state["status"].as_str().unwrap_or("none").to_owned()
    }
}

/// What a command said on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Says why a test, or a part of it, does not run here.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn skip(why: &str) {
    println!("skipped: {why}");
}
