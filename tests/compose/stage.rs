//! A daemon with the images that the compose files name, and the real `docker compose` before it.
//!
//! `scripts/test` provides both from Debian's packages: `$HULL_TEST_COMPOSE` is the program, and
//! `$HULL_TEST_STACK` a tar of a Debian tree with nginx, PostgreSQL and Redis. On the reference
//! (`$HULL_TEST_REFERENCE`) the images are made if they are not there.

use hull_tests::command::{self, Finished};
use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// What makes the images from the tree: their names and the changes that `commit` is given.
const IMAGES: &[(&str, &[&str])] = &[
    (
        "stack/web",
        &[
            r#"CMD ["nginx","-g","daemon off;"]"#,
            "EXPOSE 80",
            "STOPSIGNAL SIGQUIT",
        ],
    ),
    (
        "stack/cache",
        &[
            "USER redis",
            "WORKDIR /data",
            "VOLUME /data",
            "EXPOSE 6379",
            r#"CMD ["redis-server","--protected-mode","no","--save",""]"#,
        ],
    ),
    (
        "stack/database",
        &[
            "USER postgres",
            "ENV PGDATA=/var/lib/postgresql/data POSTGRES_DB=postgres",
            "ENV PATH=/usr/lib/postgresql/15/bin:/usr/lib/postgresql/17/bin:/usr/bin:/bin",
            "VOLUME /var/lib/postgresql/data",
            "EXPOSE 5432",
            "STOPSIGNAL SIGINT",
            // As the official image: a new database on an empty volume, then the server.
            r#"CMD ["sh","-c","test -s $PGDATA/PG_VERSION || { initdb -A trust --no-sync >/dev/null && echo host all all all trust >>$PGDATA/pg_hba.conf && pg_ctl -w -o \"-c listen_addresses= -k /tmp\" start >/dev/null && createdb -h /tmp $POSTGRES_DB && pg_ctl -w stop >/dev/null; }; exec postgres -k /tmp -c fsync=off -c \"listen_addresses=*\""]"#,
        ],
    ),
];

/// The daemon, the program and a directory for what the files mount.
pub(crate) struct Stage<'h> {
    pub(crate) daemon: Daemon<'h>,
    pub(crate) host: &'h Host,
    program: PathBuf,
    pub(crate) scratch: tempfile::TempDir,
}

/// The program and the tree's tar, if this machine has both.
pub(crate) fn provisions() -> Option<(PathBuf, PathBuf)> {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let found = path("HULL_TEST_COMPOSE").zip(path("HULL_TEST_STACK"));
    let usable = hull_tests::can_run("docker compose and its images", found.is_some())
        && hull_tests::can_run("the docker client", command::exists("docker"));
    found.filter(|_| usable)
}

impl<'h> Stage<'h> {
    pub(crate) fn set(host: &'h Host, (program, tree): (PathBuf, PathBuf)) -> Self {
        let stage = Self {
            daemon: Daemon::start(host, &[]),
            host,
            program,
            scratch: tempfile::Builder::new()
                .prefix("hull-test-")
                .tempdir()
                .expect("a directory"),
        };
        let there = stage.docker(&["image", "inspect", "stack/database"]);
        if there.code != 0 {
            stage.make_images(&tree);
        }
        stage
    }

    fn make_images(&self, tree: &Path) {
        let mut import = self.docker_command();
        import.args(["import", "-c", r#"CMD ["bash"]"#]);
        let file = fs_err::File::open(tree)
            .expect("open the tree")
            .into_parts()
            .0;
        let done = import
            .args(["-", "stack/base"])
            .stdin(file)
            .output()
            .expect("run docker");
        assert!(done.status.success(), "{done:?}");
        for (name, changes) in IMAGES {
            let made = self.docker(&["create", "--name", "stack-image", "stack/base", "true"]);
            let _ = made.ok();
            let mut commit = vec!["commit"];
            changes
                .iter()
                .for_each(|change| commit.extend(["-c", change]));
            commit.extend(["stack-image", name]);
            let _ = self.docker(&commit).ok();
            let _ = self.docker(&["rm", "stack-image"]).ok();
        }
    }

    fn docker_command(&self) -> Command {
        hull_tests::client::Client::Docker.command(&self.daemon)
    }

    /// Runs the docker client.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Finished {
        command::run(self.docker_command().args(arguments), &[])
    }

    /// The project of one of our files.
    pub(crate) fn project<'s>(&'s self, name: &'static str) -> Project<'s> {
        Project { stage: self, name }
    }

    /// What a server on the daemon's loopback answers to a request for `/`.
    pub(crate) fn page(&self, port: u16) -> String {
        self.host.within(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
            stream
                .write_all(b"GET / HTTP/1.0\r\n\r\n")
                .expect("send the request");
            let mut reply = String::new();
            stream.read_to_string(&mut reply).expect("read the reply");
            reply
        })
    }
}

/// A compose file and the project of its name; everything of it is removed in the end.
pub(crate) struct Project<'s> {
    pub(crate) stage: &'s Stage<'s>,
    name: &'static str,
}

impl Project<'_> {
    pub(crate) fn command(&self) -> Command {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/files");
        let mut command = Command::new(&self.stage.program);
        command
            .env("DOCKER_HOST", self.stage.daemon.address())
            .env("DOCKER_CONFIG", self.stage.daemon.path("client"))
            .env("SCRATCH", self.stage.scratch.path())
            .env("TEST_NAME", "me")
            .env("TEST_PASSWORD", "a password")
            .env("WEB_PORT", "8085")
            .env("PASSED", "through")
            .env("COMPOSE_MENU", "0")
            .env_remove("COMPOSE_PROFILES")
            .arg("-f")
            .arg(files.join(format!("{}.yaml", self.name)))
            .args(["-p", &self.full_name()])
            .current_dir(files);
        command
    }

    /// Runs one command to its end.
    pub(crate) fn run(&self, line: &str) -> Finished {
        self.words(&line.split(' ').collect::<Vec<_>>())
    }

    /// As [`Project::run`], for words with spaces.
    pub(crate) fn words(&self, words: &[&str]) -> Finished {
        command::run(self.command().args(words), &[])
    }

    /// Starts everything.
    pub(crate) fn up(&self) {
        let _ = self.run("up -d").ok();
    }

    /// Starts everything and waits until it is healthy.
    pub(crate) fn up_and_wait(&self) {
        let _ = self.run("up -d --wait --wait-timeout 100").ok();
    }

    /// What a shell script in a service's container writes.
    pub(crate) fn shell(&self, service: &str, script: &str) -> String {
        let done = self.words(&["exec", "-T", service, "sh", "-c", script]);
        done.ok().to_owned()
    }

    /// Runs a script in a service's container until it writes what is wanted.
    pub(crate) fn until(&self, service: &str, script: &str, wanted: &str) {
        // One process that loops inside: nothing tells the outside of a file.
        let line = format!("until test \"$({script})\" = '{wanted}'; do sleep 0.05; done");
        let _ = self.words(&["exec", "-T", service, "sh", "-c", &line]).ok();
    }

    /// `inspect` of a service's container, with its number.
    pub(crate) fn inspect(&self, service: &str, number: u32) -> Value {
        let container = format!("{}-{service}-{number}", self.full_name());
        let shown = self.stage.docker(&["inspect", &container]);
        let mut all: Value = serde_json::from_str(shown.ok()).expect("a reply in JSON");
        all[0].take()
    }

    /// Containers by service, and their state.
    pub(crate) fn states(&self) -> Vec<String> {
        let shown = self.words(&["ps", "-a", "--format", "{{.Service}} {{.State}}"]);
        let mut lines: Vec<String> = shown.ok().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Waits for an event of a service's container, or until its state is already what is wanted.
    pub(crate) fn wait_until(&self, what: &str, done: impl Fn() -> bool) {
        let mut events = Following::start(self.stage);
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "{}: not {what}", self.name);
            events.next();
        }
    }

    pub(crate) fn full_name(&self) -> String {
        format!("t-{}", self.name)
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let down = [
            "--profile",
            "*",
            "down",
            "-v",
            "-t",
            "0",
            "--remove-orphans",
        ];
        let done = self.words(&down);
        if !std::thread::panicking() {
            let _ = done.ok();
            let left = self.stage.docker(&[
                "ps",
                "-aq",
                "--filter",
                &format!("label=com.docker.compose.project={}", self.full_name()),
            ]);
            assert_eq!(left.ok(), "", "{}: containers are left", self.name);
        }
    }
}

/// `docker events`, followed.
struct Following {
    process: Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Following {
    fn start(stage: &Stage<'_>) -> Self {
        use std::io::BufRead as _;
        let mut command = stage.docker_command();
        // What happened between the last look and the subscription comes again: harmless.
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |now| now.as_secs().saturating_sub(1));
        command.args(["events", "--since", &since.to_string()]);
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("follow the events");
        let output = process.stdout.take().expect("its output is a pipe");
        Self {
            process,
            lines: std::io::BufReader::new(output).lines(),
        }
    }

    fn next(&mut self) {
        let line = self.lines.next();
        assert!(matches!(line, Some(Ok(_))), "the events ended: {line:?}");
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for the first line that a program writes, and reads on behind the caller's back.
pub(crate) fn first_line(output: impl std::io::Read + Send + 'static) -> String {
    use std::io::BufRead as _;
    let mut output = std::io::BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).expect("read what it says");
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    line
}
