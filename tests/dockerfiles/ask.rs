//! The ways in which a build is asked for: by buildx, as people do, and by the classic endpoint.

use crate::case::Case;
use hull_tests::daemon::Daemon;
use serde_json::{Map, Value, json};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a build is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The real buildx.
    Buildx,
    /// `POST /build`.
    Classic,
}

impl Way {
    /// The ways in which a case can be built here.
    pub(crate) fn of(case: &Case) -> Vec<Self> {
        let buildx = hull_tests::can_run("buildx", buildx().is_some());
        let record = std::env::var_os("HULL_TEST_RECORD").is_some();
        let mut ways = Vec::new();
        if buildx {
            ways.push(Self::Buildx);
        }
        if !record && !case.buildx {
            ways.push(Self::Classic);
        }
        ways
    }
}

/// Whether buildx tells of warnings and errors as the one that was there for the recordings, 0.29: others leave out
/// what they do not know.
pub(crate) fn tells_all() -> bool {
    static NEW: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *NEW.get_or_init(|| {
        let Some(program) = buildx() else {
            return false;
        };
        let version = hull_tests::command::run(Command::new(program).arg("version"), &[]);
        let mut numbers = version.stdout.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.by_ref().find_map(|text| text.parse::<u32>().ok());
        number().zip(number()) >= Some((0, 29))
    })
}

/// Where buildx is.
fn buildx() -> Option<PathBuf> {
    let named = std::env::var_os("HULL_TEST_BUILDX").map(PathBuf::from);
    let installed = [
        "/usr/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
    ];
    let installed = installed.map(|directory| Path::new(directory).join("docker-buildx"));
    named
        .into_iter()
        .chain(installed)
        .find(|path| path.exists())
}

/// Builds the image `name`; what was told, in either case.
pub(crate) fn build(
    daemon: &Daemon<'_>,
    case: &Case,
    context: &Path,
    way: Way,
    name: &str,
) -> Result<Value, Value> {
    let last = [case.args.clone(), vec!["-t".to_owned(), name.to_owned()]].concat();
    let mut said = Err(Value::Null);
    for args in case.before.iter().chain([&last]) {
        said = match way {
            Way::Buildx => by_buildx(daemon, context, args),
            Way::Classic => by_request(daemon, context, args),
        };
        if said.is_err() {
            break;
        }
    }
    said
}

fn by_buildx(daemon: &Daemon<'_>, context: &Path, args: &[String]) -> Result<Value, Value> {
    let own = context.with_file_name("client");
    fs_err::create_dir_all(&own).unwrap();
    // An agent is asked for keys only by who connects.
    let _agent = UnixListener::bind(context.with_file_name("agent"));
    let mut command = Command::new(buildx().unwrap());
    command
        .current_dir(context)
        .env("DOCKER_HOST", daemon.address())
        .env("DOCKER_CONFIG", &own)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("SECRET_OF_THE_TEST", "from the environment")
        .env_remove("DOCKER_CONTEXT")
        .args(["build", "--progress=plain"])
        .args(args)
        .arg(".");
    let done = hull_tests::command::run(&mut command, &[]);
    let said = said(&done.stderr);
    if done.code == 0 { Ok(said) } else { Err(said) }
}

/// What buildx tells besides the steps: warnings, errors.
fn said(text: &str) -> Value {
    let step = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !step(line));
    let lines = lines.map(|line| {
        // The name of a snapshot, and the time of a line of output.
        if let Some((head, tail)) = line.split_once(" of ref ") {
            let rest = tail.split_once(':').map_or("", |(_, rest)| rest);
            return format!("{head} of ref *:{}", rest.trim_start_matches(|c| c != ' '));
        }
        // Where a snapshot is.
        if let Some((head, tail)) = line.split_once("/var/lib/docker/overlay2/") {
            let (_, path) = tail.split_once("/merged").unwrap_or_default();
            return format!("{head}{path}");
        }
        match line.split_once(' ') {
            Some((time, rest)) if time.contains('.') && time.parse::<f64>().is_ok() => {
                rest.to_owned()
            }
            _ => line.trim_end().to_owned(),
        }
    });
    let lines = lines.map(|line| line.replace("\u{1b}[33m", "").replace("\u{1b}[0m", ""));
    // Of two calls that fail for the same reason buildx names one, by who is faster.
    let lines = lines.map(|line| line.replace("failed to run Build function:", "failed to solve:"));
    // Warnings come in no order.
    let (mut warnings, others): (Vec<_>, Vec<_>) =
        lines.partition(|line: &String| line.starts_with(" - "));
    warnings.sort();
    json!([warnings, others].concat())
}

fn by_request(daemon: &Daemon<'_>, context: &Path, args: &[String]) -> Result<Value, Value> {
    let mut query = vec![("version".to_owned(), "1".to_owned())];
    let mut maps: [(&str, Map<String, Value>); 2] =
        [("buildargs", Map::new()), ("labels", Map::new())];
    for pair in args.chunks(2) {
        let [flag, value] = pair else {
            panic!("arguments are pairs: {args:?}");
        };
        let pair = || {
            let (key, value) = value.split_once('=').unwrap();
            (key.to_owned(), json!(value))
        };
        match flag.as_str() {
            "-t" => query.push(("t".to_owned(), value.clone())),
            "-f" => query.push(("dockerfile".to_owned(), value.clone())),
            "--target" => query.push(("target".to_owned(), value.clone())),
            "--network" => query.push(("networkmode".to_owned(), value.clone())),
            "--add-host" => query.push(("extrahosts".to_owned(), value.clone())),
            "--shm-size" => query.push(("shmsize".to_owned(), value.clone())),
            "--build-arg" => maps[0].1.extend([pair()]),
            "--label" => maps[1].1.extend([pair()]),
            other => panic!("the classic endpoint has no {other}: say that it needs buildx"),
        }
    }
    for (name, map) in maps {
        query.push((name.to_owned(), Value::Object(map).to_string()));
    }
    let query: Vec<String> = query
        .iter()
        .map(|(key, value)| format!("{key}={}", escaped(value)))
        .collect();
    // As clients do, with other names of a file as such.
    let archive = context.with_file_name("context.tar");
    let mut command = Command::new("tar");
    command
        .arg("-C")
        .arg(context)
        .arg("-cf")
        .arg(&archive)
        .arg(".");
    let _ = hull_tests::command::run(&mut command, &[]).ok();
    let body = fs_err::read(archive).unwrap();
    let target = format!("/build?{}", query.join("&"));
    let reply = daemon.send("POST", &target, "application/x-tar", &body);
    let text = reply.text();
    if reply.status == 200 && !text.contains("\"errorDetail\"") {
        Ok(json!(text))
    } else {
        Err(json!(text))
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
