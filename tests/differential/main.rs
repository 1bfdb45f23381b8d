//! Hull's API beside dockerd's: the same requests, the answers compared field by field.
//!
//! `requests/*.txt` say what is asked (the form is told in `script.rs`), `dockerd/*.json` what dockerd answered; the head of each
//! says which version, on what. They are recorded by this very test, from a daemon that it starts itself or from one that runs
//! already, on any machine:
//!
//! ```text
//! HULL_TEST_RECORD=1 HULL_TEST_ENGINE=dockerd cargo test -p hull-tests --test differential
//! HULL_TEST_RECORD=1 HULL_TEST_REFERENCE=unix:///run/docker.sock cargo test -p hull-tests --test differential
//! ```
//!
//! Ids, times and sizes are masked (`mask.rs`). `differs.txt` lists where Hull answers otherwise on purpose, and why; lines there
//! that are true no more are told of, and fail the test with `HULL_TEST_STRICT=1`, and so does what is only covered by a line whose reason begins with `pending`. `HULL_TEST_ONLY=name` plays one file.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test throughout"
)]

mod answer;
mod compare;
mod mask;
mod script;
mod server;

use answer::Exchange;
use hull_tests::daemon::{Daemon, other_engine};
use hull_tests::host::{Host, reference};
use hull_tests::http::{Request, send};
use hull_tests::image::busybox_layer;
use mask::Mask;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

#[test]
fn every_request_is_answered_as_by_dockerd() {
    let busybox = Path::new(hull_tests::image::BUSYBOX).exists();
    if !hull_tests::can_run("busybox-static", busybox) {
        return;
    }
    let host = Host::start();
    let daemon = Daemon::start(&host, &[]);
    import(&daemon);
    let record = std::env::var_os("HULL_TEST_RECORD").is_some();
    let head = head(&daemon);
    let server = server::start(&host).to_string();
    let mut found = Vec::new();
    for name in names() {
        // What one file leaves is not the next one's: files can be recorded alone.
        daemon.ask("POST", "/volumes/prune", b"");
        if reference().is_none() {
            remove_images(&daemon);
        }
        let exchanges = play(&daemon, &name, &server);
        let path = directory().join("dockerd").join(format!("{name}.json"));
        if record {
            let golden = json!({"recorded": head, "exchanges": exchanges});
            let text = serde_json::to_string_pretty(&golden).unwrap() + "\n";
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
            continue;
        }
        let golden: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
        // Defaults, warnings and limits differ between the two versions of control groups.
        let same = golden["recorded"]["cgroup"] == head["cgroup"];
        if !hull_tests::can_run("the version of control groups of the recordings", same) {
            return;
        }
        let golden: Vec<Exchange> = serde_json::from_value(golden["exchanges"].clone()).unwrap();
        found.extend(compare::differences(&name, &golden, &exchanges));
    }
    if reference().is_some() {
        daemon.ask("DELETE", "/images/busybox?force=1", b"");
    }
    if record || (other_engine().is_none() && reference().is_none()) {
        let whole = std::env::var_os("HULL_TEST_ONLY").is_none();
        let listed = fs_err::read_to_string(directory().join("differs.txt")).unwrap();
        compare::judge(&found, &listed, whole && !record);
    }
}

/// Removes what was built, and what that has left.
fn remove_images(daemon: &Daemon<'_>) {
    for image in daemon.get("/images/json").json().as_array().unwrap() {
        if image["RepoTags"][0] != "busybox:latest" {
            let id = image["Id"].as_str().unwrap();
            daemon.ask("DELETE", &format!("/images/{id}?force=1"), b"");
        }
    }
    daemon.ask("POST", "/build/prune?all=1", b"");
    daemon.ask("POST", "/images/prune", b"");
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("differential")
}

/// The files of requests, in order.
fn names() -> Vec<String> {
    let only = std::env::var("HULL_TEST_ONLY").ok();
    let mut names: Vec<String> = fs_err::read_dir(directory().join("requests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| only.as_ref().is_none_or(|only| only == name))
        .collect();
    names.sort();
    names
}

/// What the recordings say of where they come from.
fn head(daemon: &Daemon<'_>) -> Value {
    let version = daemon.get("/version").json();
    let info = daemon.get("/info").json();
    json!({
        "engine": version["Version"],
        "api": version["ApiVersion"],
        "components": version["Components"].as_array().unwrap().iter().map(|part| {
            format!("{} {}", part["Name"].as_str().unwrap(), part["Version"].as_str().unwrap())
        }).collect::<Vec<_>>(),
        "cgroup": info["CgroupVersion"],
        "storage": info["Driver"],
    })
}

/// Brings in the image `busybox`, by the API alone.
fn import(daemon: &Daemon<'_>) {
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    let request = Request {
        method: "POST",
        target: "/images/create?fromSrc=-&repo=busybox&tag=latest&message=made+for+a+test&changes=CMD+%5B%22sh%22%5D\
            &changes=ENV+PATH%3D%2Fusr%2Flocal%2Fsbin%3A%2Fusr%2Flocal%2Fbin%3A%2Fusr%2Fsbin%3A%2Fusr%2Fbin%3A%2Fsbin%3A%2Fbin",
        headers: &[("Content-Type", "application/x-tar")],
        body: &busybox_layer(),
    };
    let reply = send(stream, request).unwrap();
    assert!(
        reply.status == 200 && !reply.text().contains("error"),
        "{reply:?}"
    );
}

fn play(daemon: &Daemon<'_>, name: &str, server: &str) -> Vec<Exchange> {
    let path = directory().join("requests").join(format!("{name}.txt"));
    let steps = script::parse(&fs_err::read_to_string(path).unwrap());
    let root = daemon.get("/info").json()["DockerRootDir"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut mask = Mask::new(&root, &daemon.path("run").to_string_lossy());
    mask.know("server", server);
    let mut exchanges = Vec::new();
    for step in &steps {
        let mut exchange = Exchange::new(&step.line);
        for version in step.versions() {
            let asked = step.of(version, &mask);
            let answer = answer::ask(&daemon.socket(), &asked);
            for (name, pointer) in &step.captures {
                mask.learn(name, &answer, pointer);
            }
            exchange.add(version, mask.apply(answer));
        }
        exchanges.push(exchange);
    }
    exchanges
}
