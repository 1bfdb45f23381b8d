//! A bundle in a temporary directory, and the container made of it.

use hull_linux::mount::{self, Attributes};
use hull_linux::namespace::{self, flag};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use serde_json::{Value, json};
use std::cell::Cell;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

const BUSYBOX: &str = "/bin/busybox";
/// Where bundles are, as these tests see it: a tmpfs.
const SCRATCH: &str = "/srv";
const PATH: &str = "PATH=/bin:/usr/bin";

/// What a command of the runtime did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    /// Standard output and standard error.
    pub(crate) text: String,
}

impl Outcome {
    /// Panics unless the runtime refused, giving this reason.
    pub(crate) fn assert_refused(&self, reason: &str) {
        assert!(!self.succeeded, "was not refused: {self:?}");
        assert!(self.text.contains(reason), "for another reason: {self:?}");
    }

    pub(crate) fn assert_succeeded(&self) {
        assert!(self.succeeded, "{}", self.text);
    }
}

/// A container; deleted when dropped.
pub(crate) struct Container {
    directory: tempfile::TempDir,
    id: String,
    /// The runtime's executable.
    pub(crate) runtime: PathBuf,
    /// The configuration, written anew before every command that reads it.
    pub(crate) spec: Value,
}

impl Container {
    /// A bundle whose container runs `args`; `None`, with the reason printed, where that cannot be.
    pub(crate) fn new(name: &str, args: &[&str]) -> Option<Self> {
        if !Path::new(BUSYBOX).is_file() || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root and a static busybox");
            return None;
        }
        protect_host();
        let directory = tempfile::tempdir_in(SCRATCH).unwrap();
        for path in ["rootfs/bin", "rootfs/proc", "rootfs/dev", "outside"] {
            fs_err::create_dir_all(directory.path().join(path)).unwrap();
        }
        let bin = directory.path().join("rootfs/bin");
        copy(Path::new(BUSYBOX), &bin.join("busybox"));
        for applet in ["sh", "cat", "sleep", "stat", "true", "ls", "grep"] {
            fs_err::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        let id = format!("hull-test-{}-{name}", std::process::id());
        let spec = spec(&id, args);
        let runtime = env!("CARGO_BIN_EXE_hull-runtime").into();
        Some(Self {
            directory,
            id,
            runtime,
            spec,
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Gives the container a user namespace in which ids are what they are on the host.
    pub(crate) fn in_user_namespace(&mut self) {
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        self.spec["linux"]["uidMappings"] = map.clone();
        self.spec["linux"]["gidMappings"] = map;
        let namespaces = self.spec["linux"]["namespaces"].as_array_mut();
        namespaces.unwrap().push(json!({"type": "user"}));
    }

    /// A path in the container's root, as the host sees it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.directory.path().join("rootfs").join(path)
    }

    /// A directory of the host that the container must not reach.
    pub(crate) fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    /// Adds a mount.
    pub(crate) fn mount(&mut self, kind: &str, source: &Path, destination: &str) {
        let options = if kind == "bind" {
            vec!["rbind"]
        } else {
            vec![]
        };
        let mount =
            json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// Takes away a mount that every container has.
    pub(crate) fn without(&mut self, destination: &str) {
        let mounts = self.spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != destination);
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self) -> Outcome {
        self.write_spec();
        self.command("run", &["--bundle", self.bundle(), &self.id])
    }

    /// Runs the container to its end, by a shell that does what `shell` says with the command `"$@"`.
    pub(crate) fn run_by(&self, shell: &str, options: &[&str]) -> Outcome {
        self.write_spec();
        let mut arguments = vec!["run"];
        arguments.extend(options);
        arguments.extend(["--bundle", self.bundle(), &self.id]);
        let mut command = Command::new(BUSYBOX);
        command.args(["sh", "-c", shell, "sh"]).arg(&self.runtime);
        self.finish(command, &arguments)
    }

    /// Runs the container to its end with standard input closed.
    pub(crate) fn run_without_input(&self) -> Outcome {
        self.run_by(r#"exec "$@" <&-"#, &[])
    }

    /// Makes the container, which then waits for [`Container::start`].
    pub(crate) fn create(&self) -> Outcome {
        self.write_spec();
        let pid_file = self.path("pid");
        let pid_file = pid_file.to_str().unwrap();
        let arguments = [
            "--bundle",
            self.bundle(),
            "--pid-file",
            pid_file,
            self.id.as_str(),
        ];
        self.command("create", &arguments)
    }

    pub(crate) fn create_with_console(&self, socket: &Path) -> Outcome {
        self.write_spec();
        let socket = socket.to_str().unwrap();
        let arguments = [
            "--bundle",
            self.bundle(),
            "--console-socket",
            socket,
            self.id.as_str(),
        ];
        self.command("create", &arguments)
    }

    pub(crate) fn start(&self) -> Outcome {
        self.command("start", &[&self.id])
    }

    /// Runs a process beside the container's own, to its end or `--detach`ed.
    pub(crate) fn exec(&self, options: &[&str], args: &[&str]) -> Outcome {
        let arguments: Vec<&str> = options
            .iter()
            .chain(&[self.id.as_str()])
            .chain(args)
            .copied()
            .collect();
        self.command("exec", &arguments)
    }

    /// Ends the container and removes what the runtime keeps of it.
    pub(crate) fn delete(&self) -> Outcome {
        self.command("delete", &["--force", &self.id])
    }

    /// The process id that the runtime wrote to the file `pid`.
    pub(crate) fn pid(&self) -> String {
        fs_err::read_to_string(self.path("pid")).unwrap()
    }

    /// A path of the bundle.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn bundle(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    fn write_spec(&self) {
        fs_err::write(self.path("config.json"), self.spec.to_string()).unwrap();
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Outcome {
        let mut all = vec![command];
        all.extend(arguments);
        self.finish(Command::new(&self.runtime), &all)
    }

    /// The output goes to a file: a pipe would have no end while the container lives.
    fn finish(&self, mut command: Command, arguments: &[&str]) -> Outcome {
        let path = self.path("output");
        let output = fs_err::File::create(&path).unwrap().into_parts().0;
        let status = command
            .arg("--root")
            .arg(self.path("state"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        let text = fs_err::read(&path).unwrap();
        Outcome {
            succeeded: status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.delete();
    }
}

/// An attacker: exchanges two entries of a directory, over and over.
pub(crate) struct Exchange {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Exchange {
    pub(crate) fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Copies a program. Another process does it: a test that forks meanwhile would inherit the descriptor
/// that is open for writing, and the program could not be executed (`ETXTBSY`).
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new(BUSYBOX).arg("cp").arg(from).arg(to).status();
    assert!(copied.unwrap().success(), "copied {}", from.display());
}

/// A runtime that lets a container out must not spoil the machine that shows it: this thread gets a
/// mount namespace in which the host's tree and devices are read-only.
fn protect_host() {
    thread_local!(static DONE: Cell<bool> = const { Cell::new(false) });
    if DONE.replace(true) {
        return;
    }
    namespace::unshare(flag::MOUNT).unwrap();
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).unwrap();
    let scratch = mount::new_file_system("tmpfs", "scratch", std::iter::empty(), 0).unwrap();
    let place = open(SCRATCH, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    mount::attach(scratch.as_fd(), place.as_fd()).unwrap();
    let read_only = Attributes {
        set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()),
        ..Attributes::default()
    };
    for path in ["/dev", "/"] {
        // Where `/dev` is no mount, it is part of the root.
        let root = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        match mount::set_attributes(root.as_fd(), false, &read_only) {
            Err(error) if path == "/dev" => assert_eq!(error.raw_os_error(), Some(22), "{error}"),
            other => other.unwrap(),
        }
    }
    let spoiled =
        fs_err::write("/dev/hull-test", "").is_ok() || fs_err::write("/hull-test", "").is_ok();
    assert!(!spoiled, "the host is protected");
}

fn spec(id: &str, args: &[&str]) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ];
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {
            "cwd": "/", "args": args, "env": [PATH], "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "resources": {"devices": [{"allow": true, "access": "rwm"}]},
        },
    })
}
