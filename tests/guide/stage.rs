//! What the reader of the guide has: a machine with Hull, a registry that stands for Docker Hub, and a shell.
//!
//! The images have the names of Docker Hub's, and are made from Debian's busybox: what the guide does with them needs no more.

use crate::book::Command;
use crate::compare::{Done, compare};
use hull_tests::client::Client;
use hull_tests::command;
use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use hull_tests::image::{BUSYBOX, Family, Image, Layer, Packing, busybox_layer};
use hull_tests::registry::Registry;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the registry is, as the guide names it.
const REGISTRY: &str = "127.0.0.1:5000";

/// In the daemon's mount namespace: the places that the guide names are those of this daemon.
const PLACES: &str = r#"
mount -t tmpfs hull-guide "$top/places" &&
for place in run etc var/lib; do
  over="$top/places/$place"; mkdir -p "$over" "$over.work" &&
  mount -t overlay -o "lowerdir=/$place,upperdir=$over,workdir=$over.work" hull-guide "/$place" || exit 1
done &&
rm -rf /run/hull /etc/hull /var/lib/hull && mkdir -p /etc/hull "$top/run" &&
ln -s "$top/run" /run/hull && ln -s "$top/data" /var/lib/hull &&
ln -s "$top/daemon.json" /etc/hull/daemon.json &&
ln -sfn "$top/hull.sock" /run/hull/hull.sock && ln -sfn "$top/pid" /run/hull/hull.pid"#;

/// Whether this machine can be the reader's.
pub(crate) fn is_possible() -> bool {
    Registry::is_available()
        && hull_tests::can_run("busybox-static", Path::new(BUSYBOX).exists())
        && hull_tests::can_run("curl", command::exists("curl"))
}

/// The machine.
pub(crate) struct Stage<'h> {
    host: &'h Host,
    daemon: Daemon<'h>,
    _registry: Registry,
    /// The plugins of docker's client that there are.
    plugins: Vec<(&'static str, PathBuf)>,
}

impl<'h> Stage<'h> {
    pub(crate) fn set(host: &'h Host) -> Self {
        let address: SocketAddr = REGISTRY.parse().expect("an address");
        let registry = Registry::start_at(host, address);
        for (name, tag, image) in images() {
            let _ = registry.push(host, (&format!("library/{name}"), tag), &image);
        }
        let mut daemon = Daemon::start(host, &[]);
        daemon.stop();
        let top = daemon.path("");
        fs_err::create_dir(top.join("places")).expect("a directory");
        daemon.set_prelude(&format!("top={} && {PLACES}", top.display()));
        daemon.set_arguments(&[
            "--registry-mirror",
            &format!("http://{REGISTRY}"),
            "--ui",
            "127.0.0.1:8080",
            "--metrics-addr",
            "127.0.0.1:9323",
        ]);
        daemon.restart();
        let plugins = [
            ("docker-compose", "HULL_TEST_COMPOSE"),
            ("docker-buildx", "HULL_TEST_BUILDX"),
        ];
        let plugins = plugins.into_iter();
        let plugins = plugins.filter_map(|(name, variable)| {
            let path = PathBuf::from(std::env::var_os(variable)?);
            path.is_file().then_some((name, path))
        });
        Self {
            host,
            daemon,
            _registry: registry,
            plugins: plugins.collect(),
        }
    }

    /// Has all images.
    pub(crate) fn pull(&self) {
        for (name, tag, _) in images() {
            let pulled = Client::Hull.run(&self.daemon, &["pull", "-q", &format!("{name}:{tag}")]);
            let _ = pulled.ok();
        }
    }

    /// Whether there is what a block needs.
    pub(crate) fn has(&self, what: &str) -> bool {
        let plugin = |wanted| self.plugins.iter().any(|(name, _)| *name == wanted);
        match what {
            "compose" => plugin("docker-compose"),
            "buildx" => plugin("docker-buildx") && command::exists("docker"),
            "docker" => command::exists("docker"),
            other => panic!("nobody knows what {other:?} is"),
        }
    }

    /// Somebody with a home of his own, who begins to read a chapter.
    pub(crate) fn reader(&self, chapter: &str) -> Reader<'_> {
        let home = self.daemon.path(&format!("home-{chapter}"));
        let state = self.daemon.path(&format!("state-{chapter}"));
        let plugins = home.join(".docker/cli-plugins");
        fs_err::create_dir_all(&plugins).expect("a directory");
        fs_err::create_dir_all(&state).expect("a directory");
        for (name, path) in &self.plugins {
            fs_err::os::unix::fs::symlink(path, plugins.join(name)).expect("a link");
        }
        fs_err::write(state.join("cwd"), home.display().to_string()).expect("write");
        fs_err::write(state.join("environment"), "").expect("write");
        Reader {
            stage: self,
            home,
            state,
        }
    }

    /// Names this daemon's places as a reader's are named.
    fn named(&self, output: &str) -> String {
        let places = [
            ("run", "/run/hull"),
            ("data", "/var/lib/hull"),
            ("hull.sock", "/run/hull/hull.sock"),
        ];
        places.iter().fold(output.to_owned(), |text, (own, named)| {
            text.replace(&self.daemon.path(own).display().to_string(), named)
        })
    }

    /// Takes away what a chapter has left.
    pub(crate) fn clear(&self) {
        self.daemon.remove_containers();
        for kind in ["networks", "volumes"] {
            let all = "?filters=%7B%22all%22%3A%5B%22true%22%5D%7D";
            let all = if kind == "volumes" { all } else { "" };
            let reply = self.daemon.ask("POST", &format!("/{kind}/prune{all}"), &[]);
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }
}

/// A reader at a shell.
pub(crate) struct Reader<'s> {
    stage: &'s Stage<'s>,
    home: PathBuf,
    state: PathBuf,
}

/// One command, in the shell that the one before has left: its directory, variables and aliases. What it prints goes to
/// a file: a program that stays would hold a pipe open.
const SHELL: &str = r#"
cd "$(cat "$STATE/cwd")" && . "$STATE/environment" && shopt -s expand_aliases && set -a
trap 'code=$?; pwd >"$STATE/cwd"; { export -p; alias -p; } >"$STATE/environment"; exit $code' EXIT
exec 2>&1
eval "$(cat "$STATE/command")"
"#;

impl Reader<'_> {
    /// Writes a file where the page says.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let script = r#"mkdir -p "$(dirname "$0")" && cat >"$0""#;
        let mut shell = self.enter();
        let cwd = fs_err::read_to_string(self.state.join("cwd")).expect("where the reader is");
        shell
            .args(["bash", "-c", script])
            .arg(Path::new(cwd.trim()).join(name));
        let _ = command::run(&mut shell, text.as_bytes()).ok();
    }

    /// Runs a command of the page, and compares what it does.
    pub(crate) fn follow(&self, command: &Command) -> (Done, Result<(), String>) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let done = self.run(command);
            let compared = compare(command, &done);
            if compared.is_ok() || !command.again || Instant::now() > deadline {
                return (done, compared);
            }
        }
    }

    /// Runs a command of the page.
    fn run(&self, command: &Command) -> Done {
        fs_err::write(self.state.join("command"), &command.text).expect("write");
        fs_err::write(self.state.join("shell"), SHELL).expect("write");
        if !command.typed.is_empty() {
            return self.converse(command);
        }
        let mut shell = self.enter();
        shell.args([
            "bash",
            "-c",
            r#"exec bash "$STATE/shell" >"$STATE/output" 2>&1 </dev/null"#,
        ]);
        let done = command::run(&mut shell, &[]);
        let output = fs_err::read(self.state.join("output")).expect("the output");
        Done {
            output: self.stage.named(&String::from_utf8_lossy(&output)),
            code: done.code,
        }
    }

    /// The same on a terminal.
    fn converse(&self, command: &Command) -> Done {
        let line = r#"stty rows 30 cols 100; exec bash "$STATE/shell""#;
        let mut terminal = self.enter();
        terminal
            .args([
                "script",
                "--quiet",
                "--return",
                "--command",
                line,
                "/dev/null",
            ])
            .env("TERM", "xterm-256color");
        let steps: Vec<(&str, &str)> = command
            .typed
            .iter()
            .map(|(shown, typed)| (shown.as_str(), typed.as_str()))
            .collect();
        let done = command::converse(&mut terminal, &steps);
        Done {
            output: done.stdout,
            code: done.code,
        }
    }

    /// What follows runs where the daemon is.
    fn enter(&self) -> std::process::Command {
        let mut path = hull_tests::binaries().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = self.stage.host.command("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.stage.daemon.pid()))
            .arg("--")
            .env("PATH", path)
            .env("HOME", &self.home)
            .env("STATE", &self.state)
            .env("LC_ALL", "C.UTF-8")
            .env("no_proxy", "*")
            .env("NO_PROXY", "*");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["HULL_", "DOCKER_", "COMPOSE_", "BUILD"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        command
    }
}

/// The images, by the names of Docker Hub's.
fn images() -> Vec<(&'static str, &'static str, Image)> {
    let base = busybox_layer();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let make = |more: Option<Vec<u8>>, mut config: Value| {
        config["Env"] = json!([path]);
        let layers: Vec<Vec<u8>> = [Some(base.clone()), more].into_iter().flatten().collect();
        Image::new(&layers, &config, Packing::Gzip, Family::Docker)
    };
    let shell = || make(None, json!({"Cmd": ["sh"]}));
    vec![
        ("busybox", "latest", shell()),
        ("alpine", "latest", shell()),
        (
            "nginx",
            "alpine",
            make(
                Some(web_server()),
                json!({
                    "Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT",
                }),
            ),
        ),
        (
            "redis",
            "alpine",
            make(
                Some(cache()),
                json!({
                    "Cmd": ["redis-server"], "ExposedPorts": {"6379/tcp": {}}, "Volumes": {"/data": {}}, "WorkingDir": "/data",
                }),
            ),
        ),
    ]
}

fn web_server() -> Vec<u8> {
    let page = b"<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n";
    let run = b"#!/bin/sh\ntrap 'exit 0' QUIT TERM\n\
        at=$(sed -n 's/^ *listen *\\([^ ;]*\\);.*/\\1/p' /etc/nginx/conf.d/default.conf)\n\
        httpd -f -vv -p \"$at\" -h /usr/share/nginx/html & wait\n";
    let site = b"server {\n    listen       80;\n    root   /usr/share/nginx/html;\n}\n";
    Layer::new()
        .directory("usr/share", 0o755)
        .directory("usr/share/nginx", 0o755)
        .directory("usr/share/nginx/html", 0o755)
        .file("usr/share/nginx/html/index.html", 0o644, page)
        .directory("etc/nginx", 0o755)
        .directory("etc/nginx/conf.d", 0o755)
        .file("etc/nginx/conf.d/default.conf", 0o644, site)
        .file("usr/sbin/nginx", 0o755, run)
        .finish()
}

/// Answers as much of the protocol as the guide speaks: PING.
fn cache() -> Vec<u8> {
    let answer = b"#!/bin/sh\nread -r line && printf '+PONG\\r\\n'\n";
    let server = b"#!/bin/sh\ntrap 'exit 0' TERM\necho 'Ready to accept connections tcp'\nnc -ll -p 6379 -e /usr/bin/redis-answer & wait\n";
    let client = b"#!/bin/sh\n[ \"$1\" != -h ] || { host=$2; shift 2; }\necho PING | nc -w 2 ${host:-127.0.0.1} 6379 | tr -d '+\\r'\n";
    Layer::new()
        .directory("data", 0o755)
        .file("usr/bin/redis-answer", 0o755, answer)
        .file("usr/bin/redis-server", 0o755, server)
        .file("usr/bin/redis-cli", 0o755, client)
        .finish()
}
