//! A bundle, a state root and a program to call.

use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Removed with its containers when dropped.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    program: PathBuf,
    /// Part of all control groups, so that runs beside this one are not in the way.
    name: String,
}

impl Host {
    /// `None`, with the reason printed, where containers cannot be made.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(crate) fn new(program: PathBuf) -> Option<Self> {
        let busybox = std::env::var_os("HULL_TEST_BUSYBOX")
            .map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from);
        if !rustix::process::geteuid().is_root() || !busybox.exists() {
            println!("skipped: needs root and a static /bin/busybox");
            return None;
        }
        let directory = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .expect("a directory");
        let rootfs = directory.path().join("bundle/rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs_err::create_dir_all(rootfs.join(name)).expect("made");
        }
        fs_err::copy(busybox, rootfs.join("bin/busybox")).expect("copied");
        for name in [
            "sh", "cat", "sleep", "true", "echo", "id", "env", "pwd", "grep", "kill", "readlink",
        ] {
            symlink("busybox", rootfs.join("bin").join(name)).expect("made");
        }
        fs_err::write(rootfs.join("etc/plain"), "no program\n").expect("written");
        fs_err::create_dir(directory.path().join("state")).expect("made");
        let name = directory.path().file_name().expect("a name");
        let name = name.to_string_lossy().trim_start_matches('.').to_owned();
        let host = Self {
            directory,
            program,
            name,
        };
        host.configure("");
        Some(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn base(&self) -> Value {
        let capabilities = json!(["CAP_KILL", "CAP_CHOWN"]);
        json!({
            "ociVersion": "1.2.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"],
                "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities}},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {
                "cgroupsPath": format!("/hull-test/{}", self.name),
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                    {"type": "mount"}, {"type": "cgroup"}],
            },
        })
    }

    /// Begins anew, without containers. Writes `config.json`: after `%`, a JSON merge patch (RFC 7396) to a plain one; after `%!`, a text;
    /// after `%-`, none.
    pub(crate) fn configure(&self, change: &str) {
        self.delete_all();
        let path = self.path("bundle/config.json");
        if change.trim() == "-" {
            fs_err::remove_file(path).expect("removed");
            return;
        }
        if let Some(text) = change.strip_prefix('!') {
            fs_err::write(path, text.trim_start()).expect("written");
            return;
        }
        let mut config = self.base();
        if !change.trim().is_empty() {
            merge(&mut config, serde_json::from_str(change).expect("a patch"));
        }
        fs_err::write(path, config.to_string()).expect("written");
    }

    fn delete_all(&self) {
        let containers = fs_err::read_dir(self.path("state")).into_iter().flatten();
        for container in containers.flatten() {
            let name = container.file_name();
            self.call(&format!("resume {}", name.to_string_lossy()));
            self.call(&format!("delete --force {}", name.to_string_lossy()));
        }
    }

    /// Calls the program with words that are separated by blanks (or quoted), and tells what it answered.
    pub(crate) fn call(&self, line: &str) -> String {
        let (output, errors) = (self.path("output"), self.path("errors"));
        let file = |path: &Path| fs_err::File::create(path).expect("made").into_parts().0;
        let root = self.path("state");
        let place = self.directory.path().to_string_lossy().into_owned();
        let words = words(&line.replace("{}", &place));
        let mut command = Command::new(&self.program);
        command.arg0("runc");
        if !words.iter().any(|word| word == "--root") {
            command.arg("--root").arg(&root);
        }
        let status = command
            .args(words)
            .current_dir(self.path("bundle"))
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::from(file(&output)))
            .stderr(Stdio::from(file(&errors)))
            .status()
            .expect("runs");
        let code = status
            .code()
            .map_or_else(|| status.to_string(), |code| code.to_string());
        let mut answer = format!("= {code}\n");
        for (mark, path) in [('|', output), ('!', errors)] {
            let text = fs_err::read(path).expect("read");
            let text = self.plain(&String::from_utf8_lossy(&text));
            // The rest of a help text is our own words.
            let ours = text.starts_with("NAME:") || text.starts_with("Incorrect Usage");
            for line in text.lines().take(if ours { 1 } else { usize::MAX }) {
                answer.push_str(format!("{mark} {line}").trim_end());
                answer.push('\n');
            }
        }
        answer
    }

    /// A text without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let mut plain = String::new();
        let place = self.directory.path().to_string_lossy().into_owned();
        for line in text.replace(&*place, "{}").split_inclusive('\n') {
            let line = replaced(line, "\"ociVersion\": \"", "\"", |_| "VERSION".into());
            let line = replaced(&line, "\"ociVersion\":\"", "\"", |_| "VERSION".into());
            let line = replaced(&line, "time=\"", "\"", |_| "TIME".into());
            let line = replaced(&line, "\"time\":\"", "\"", |_| "TIME".into());
            let line = replaced(&line, "\"created\": \"", "\"", |_| "TIME".into());
            let line = replaced(&line, "\"created\":\"", "\"", |_| "TIME".into());
            let number = |text: &str| {
                if text == "0" {
                    "0".into()
                } else {
                    "PID".into()
                }
            };
            let pretty = line.contains("\"pid\": ");
            let before = if pretty { "\"pid\": " } else { "\"pid\":" };
            plain.push_str(&replaced(&line, before, ",", number));
        }
        plain
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.delete_all();
    }
}

/// Replaces what stands between two marks, once a line.
fn replaced(line: &str, before: &str, after: &str, with: impl Fn(&str) -> String) -> String {
    let parts = line.split_once(before).and_then(|(head, rest)| {
        rest.split_once(after)
            .map(|(text, tail)| (head, text, tail))
    });
    match parts {
        Some((head, text, tail)) => format!("{head}{before}{}{after}{tail}", with(text)),
        None => line.to_owned(),
    }
}

/// Words as a shell would split them; only single quotes are known.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("an object");
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}
