//! `hull system info --bundle FILE`: what people need to find out what is wrong with this host, in one archive without secrets.

mod mask;

use crate::context::Cli;
use crate::failure::{Outcome, client_message};
use flate2::Compression;
use flate2::write::GzEncoder;
use hull_api::client::{Client, Endpoint, Target};
use serde_json::Value;
use std::io::{self, Read as _, Seek as _, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most of one file that is taken along, in bytes: its end.
const MOST: u64 = 4 << 20;
/// Containers that are inspected at most.
const CONTAINERS: usize = 1000;
/// How long the daemon, or a program, may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the daemon is asked for.
const ASKED: &[(&str, &str)] = &[
    ("version", "/version"),
    ("info", "/info"),
    ("images", "/images/json"),
    ("networks", "/networks"),
    ("volumes", "/volumes"),
    ("disk", "/system/df"),
];

/// What of this host is read.
const FILES: &[&str] = &[
    "/etc/os-release",
    "/proc/version",
    "/proc/cmdline",
    "/proc/filesystems",
    "/proc/mounts",
    "/proc/self/mountinfo",
    "/proc/self/cgroup",
    "/proc/cgroups",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/modules",
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/pressure/memory",
    "/proc/sys/fs/file-nr",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/user/max_user_namespaces",
    "/sys/fs/cgroup/cgroup.controllers",
    "/sys/kernel/security/lsm",
    "/sys/module/apparmor/parameters/enabled",
];

/// What shows the state of this host, where it is installed.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("ip-address", &["ip", "-statistics", "address"]),
    ("ip-route", &["ip", "route", "show", "table", "all"]),
    ("ip-rule", &["ip", "rule"]),
    ("nft", &["nft", "list", "ruleset"]),
    ("iptables", &["iptables-save"]),
    (
        "sockets",
        &["ss", "--listening", "--numeric", "--tcp", "--udp"],
    ),
    ("disks", &["df", "--print-type"]),
    (
        "service",
        &[
            "systemctl",
            "--no-pager",
            "show",
            // Not what the unit's environment and flags are.
            "--property=Id,ActiveState,SubState,Result,NRestarts,MainPID,ExecMainStatus,MemoryCurrent,TasksCurrent,StateChangeTimestamp",
            "hull.service",
            "hull.socket",
        ],
    ),
    (
        "journal",
        &[
            "journalctl",
            "--no-pager",
            "--unit",
            "hull.service",
            "--lines",
            "5000",
            "--output",
            "short-iso-precise",
        ],
    ),
];

const README: &str = "What `hull system info --bundle` found on this host.\n\n\
    Values of environment variables and labels, arguments of programs, and whatever is called like a secret are masked (***).\n\
    Names of containers, images, networks, volumes, hosts and paths are not: look through it before you hand it on.\n\
    errors.txt says what could not be had.\n";

/// Writes the archive.
pub(super) fn write(cli: &Cli, path: &Path) -> Outcome {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let written = fill(cli, file);
    if written.is_err() {
        // Half an archive is of no use.
        let _ = fs_err::remove_file(path);
    }
    written?;
    crate::say(&format!(
        "written to {}: without secrets that are known as such, but look through it before you hand it on",
        path.display()
    ));
    Ok(())
}

fn fill(cli: &Cli, file: impl Write) -> io::Result<()> {
    let mut bundle = Bundle {
        archive: tar::Builder::new(GzEncoder::new(file, Compression::default())),
        errors: String::new(),
        now: since_1970().as_secs(),
    };
    bundle.add("README.txt", README)?;
    bundle.add("client.txt", &crate::command::version())?;
    let local = match cli.passing_client() {
        Ok(client) => {
            of_the_daemon(cli, &client, &mut bundle)?;
            matches!(client.endpoint(), Endpoint::Unix(_))
        }
        Err(failure) => {
            bundle.miss("daemon", failure.message().unwrap_or_default());
            false
        }
    };
    if local {
        of_the_host(&mut bundle)?;
    } else {
        bundle.miss("host", "the daemon is on another one");
    }
    let errors = std::mem::take(&mut bundle.errors);
    bundle.add("errors.txt", &mask::text(&errors))?;
    bundle.archive.into_inner()?.finish()?.flush()
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

struct Bundle<W: Write> {
    archive: tar::Builder<GzEncoder<W>>,
    errors: String,
    /// Seconds since 1970.
    now: u64,
}

impl<W: Write> Bundle<W> {
    fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.now);
        let path = format!("hull-bundle/{name}");
        self.archive.append_data(&mut header, path, text.as_bytes())
    }

    fn miss(&mut self, what: &str, why: impl std::fmt::Display) {
        self.errors.push_str(&format!("{what}: {why}\n"));
    }

    fn document(&mut self, name: &str, mut value: Value) -> io::Result<()> {
        mask::json("", &mut value);
        self.add(&format!("{name}.json"), &format!("{value:#}\n"))
    }

    /// What there is of a file, or a note that there is none.
    fn file(&mut self, path: &str) -> io::Result<()> {
        match end_of(Path::new(path)) {
            Ok(text) => self.add(&format!("host{path}"), &mask::text(&text)),
            Err(error) => {
                self.miss(path, error);
                Ok(())
            }
        }
    }
}

fn of_the_daemon(cli: &Cli, client: &Client, bundle: &mut Bundle<impl Write>) -> io::Result<()> {
    let ask = |target: Target| -> Result<Vec<u8>, String> {
        let asked =
            cli.block_on(async { tokio::time::timeout(PATIENCE, client.get_raw(&target)).await });
        match asked {
            Ok(Ok(bytes)) => Ok(bytes.to_vec()),
            Ok(Err(error)) => Err(client_message(&error)),
            Err(_) => Err("no answer in time".to_owned()),
        }
    };
    let document = |target: Target| -> Result<Value, String> {
        serde_json::from_slice(&ask(target)?).map_err(|error| error.to_string())
    };
    for (name, target) in ASKED {
        match document(Target::new(target)) {
            Ok(value) => bundle.document(name, value)?,
            Err(error) => {
                bundle.miss(name, error);
                // Nobody there: the other questions would only take time.
                if *name == "version" {
                    return Ok(());
                }
            }
        }
    }
    let containers = document(Target::new("/containers/json").query("all", "1"));
    let containers = containers.unwrap_or_else(|error| {
        bundle.miss("containers", error);
        Value::Null
    });
    let ids: Vec<String> = containers
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| Some(container["Id"].as_str()?.to_owned()))
        .collect();
    bundle.document("containers", containers)?;
    for id in ids.iter().take(CONTAINERS) {
        match document(Target::segments(&["containers", id, "json"])) {
            Ok(value) => bundle.document(&format!("containers/{id}"), value)?,
            Err(error) => bundle.miss(id, error),
        }
    }
    let now = since_1970();
    let day = Target::new("/events").query(
        "since",
        &now.as_secs().saturating_sub(24 * 3600).to_string(),
    );
    // To the nanosecond: what has just happened counts.
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    match ask(day.query("until", &until)) {
        Ok(events) => bundle.add("events.txt", &events_of(&events)),
        Err(error) => {
            bundle.miss("events", error);
            Ok(())
        }
    }
}

/// A line for each event; what an `exec` runs, and labels, are left out.
fn events_of(stream: &[u8]) -> String {
    let mut out = String::new();
    for event in serde_json::Deserializer::from_slice(stream).into_iter::<Value>() {
        let Ok(event) = event else { break };
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        let action = text("/Action");
        let action = action.split(':').next().unwrap_or_default();
        let line = [
            event["timeNano"].to_string(),
            text("/Type"),
            action.to_owned(),
            text("/Actor/ID"),
            text("/Actor/Attributes/name"),
            text("/Actor/Attributes/image"),
            text("/Actor/Attributes/exitCode"),
        ];
        out.push_str(&line.join(" "));
        out.push('\n');
    }
    out
}

fn of_the_host(bundle: &mut Bundle<impl Write>) -> io::Result<()> {
    configuration(bundle)?;
    // That of a daemon that a command has started.
    bundle.file("/run/hull/daemon.log")?;
    for path in FILES {
        bundle.file(path)?;
    }
    for (name, words) in PROGRAMS {
        match output(words) {
            Ok(text) => bundle.add(&format!("host/{name}.txt"), &mask::text(&text))?,
            Err(error) => bundle.miss(words[0], error),
        }
    }
    Ok(())
}

fn configuration(bundle: &mut Bundle<impl Write>) -> io::Result<()> {
    let path = if crate::command::is_docker() {
        "/etc/docker/daemon.json"
    } else {
        "/etc/hull/daemon.json"
    };
    let read = end_of(Path::new(path)).map_err(|error| error.to_string());
    // What is no JSON cannot be masked by its names.
    let value =
        read.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    match value {
        Ok(value) => bundle.document("daemon", value),
        Err(error) => {
            bundle.miss(path, error);
            Ok(())
        }
    }
}

/// The end of a file, as text. Files of the kernel say that they are empty and are not.
fn end_of(path: &Path) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let length = file.metadata()?.len();
    if length > MOST {
        file.seek(io::SeekFrom::Start(length - MOST))?;
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a program prints; one that hangs is ended.
fn output(words: &[&str]) -> io::Result<String> {
    let mut child = Command::new("timeout")
        .arg(PATIENCE.as_secs().to_string())
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MOST).read_to_end(&mut bytes)?;
    }
    let status = child.wait()?;
    if !status.success() && bytes.is_empty() {
        return Err(io::Error::other(format!("{}: {status}", words.join(" "))));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
