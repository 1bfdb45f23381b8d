//! Dockerfiles, built by Hull and by docker with BuildKit from the same base image, and what came of it compared: every file of
//! every layer with type, mode, owner, content, attributes and links, the configuration, the history, what the client was told.
//!
//! `cases/*.txt` are the Dockerfiles with their contexts (the form is told in `case.rs`), `docker/*.json` what docker made of
//! them. They are recorded by this very test, with the real buildx, from a docker that runs already, in its network namespace:
//!
//! ```text
//! HULL_TEST_RECORD=1 HULL_TEST_REFERENCE=unix:///run/docker.sock cargo test -p hull-tests --test dockerfiles
//! ```
//!
//! Hull builds them by buildx where that is (`HULL_TEST_BUILDX` names the program), and by the classic endpoint, which is enough
//! for most. Some begin from Debian trees with compilers and interpreters, which `scripts/provide-tools` makes; what those
//! make is compared but for the programs' own bytes. `differs.txt` lists where Hull's images differ on purpose, and why.
//! `HULL_TEST_ONLY=name` builds the cases that begin so.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test throughout"
)]

mod ask;
mod case;
mod compare;
mod saved;

use ask::Way;
use case::Case;
use hull_tests::daemon::Daemon;
use hull_tests::host::{Host, reference};
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer, descriptor};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many cases are built at once: steps wait for one another, and so do clients.
const AT_ONCE: usize = 3;

#[test]
fn every_dockerfile_becomes_what_docker_makes_of_it() {
    let busybox = Path::new(hull_tests::image::BUSYBOX).exists();
    if !hull_tests::can_run("busybox-static", busybox) {
        return;
    }
    let host = Host::start();
    let daemon = Daemon::start(&host, &[]);
    let base = Base::load(&daemon);
    let record = std::env::var_os("HULL_TEST_RECORD").is_some();
    let cases = cases();
    let wrong = Mutex::new(Vec::new());
    let seen = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = play(&daemon, &base, case, record);
                    for difference in found {
                        let list = if difference.meant { &seen } else { &wrong };
                        list.lock().unwrap().push(difference);
                    }
                }
            });
        }
    });
    compare::tell_unused(&seen.into_inner().unwrap());
    base.remove(&daemon);
    let wrong = wrong.into_inner().unwrap();
    let all: String = wrong.iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "images differ from docker's:\n{all}");
}

/// Images with programs: what cases call them, and the variables that say where their trees are.
const TREES: &[(&str, &str)] = &[
    ("tools", "HULL_TEST_TOOLS"),
    ("compilers", "HULL_TEST_COMPILERS"),
];

/// Where the tree of this name is.
fn tree(name: &str) -> Option<std::ffi::OsString> {
    let (_, variable) = TREES.iter().find(|(tree, _)| *tree == name).unwrap();
    std::env::var_os(variable)
}

/// Whether there is all that a case begins from.
fn has_trees(case: &Case) -> bool {
    let has = |name: &String| {
        let what = format!("the image with {name} (scripts/provide-tools)");
        hull_tests::can_run(&what, tree(name).is_some())
    };
    case.trees.iter().all(has)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dockerfiles")
}

/// The cases, by name.
fn cases() -> Vec<Case> {
    let only = std::env::var("HULL_TEST_ONLY").unwrap_or_default();
    let mut cases: Vec<Case> = fs_err::read_dir(directory().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&only)
        })
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            case::parse(&name, &fs_err::read_to_string(path).unwrap())
        })
        .filter(has_trees)
        .collect();
    cases.sort_by(|left, right| left.name.cmp(&right.name));
    cases
}

/// Builds a case in every way there is; the differences from what docker made.
fn play(daemon: &Daemon<'_>, base: &Base, case: &Case, record: bool) -> Vec<compare::Difference> {
    let golden = directory()
        .join("docker")
        .join(format!("{}.json", case.name));
    let mut found = Vec::new();
    for way in Way::of(case) {
        let directory = tempfile::Builder::new()
            .prefix("hull-test-")
            .tempdir()
            .unwrap();
        let context = directory.path().join("context");
        case.write(&context);
        let name = format!("proof-{}", case.name);
        let mut made = json!({});
        match ask::build(daemon, case, &context, way, &name) {
            Ok(said) => {
                let archive = daemon.get(&format!("/images/{name}/get"));
                assert_eq!(archive.status, 200, "{}: {archive:?}", case.name);
                made = saved::read(&archive.body, &base.layers, &case.loose);
                made["said"] = said;
            }
            Err(said) => made["fails"] = said,
        }
        if record {
            let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
            fs_err::create_dir_all(golden.parent().unwrap()).unwrap();
            fs_err::write(&golden, text).unwrap();
        } else {
            let golden = fs_err::read(&golden).unwrap_or_else(|_| b"{}".to_vec());
            let mut golden: Value = serde_json::from_slice(&golden).unwrap();
            for value in [&mut golden, &mut made] {
                reduce(value, way);
            }
            found.extend(compare::differences(&case.name, way, &golden, &made));
        }
        if reference().is_some() {
            daemon.ask("DELETE", &format!("/images/{name}?force=1"), b"");
        }
    }
    found
}

/// Takes away what another client tells in another way.
fn reduce(value: &mut Value, way: Way) {
    let value = value.as_object_mut().unwrap();
    if way == Way::Buildx && ask::tells_all() {
        return;
    }
    value.remove("said");
    if let Some(Value::Array(lines)) = value.get_mut("fails") {
        lines.retain(|line| {
            line.as_str()
                .is_some_and(|line| line.starts_with("ERROR: "))
        });
        for line in lines {
            *line = json!(line.as_str().unwrap().replace("failed to build: ", ""));
        }
    }
}

/// The image that the cases begin from.
struct Base {
    /// The digests of its layers' archives.
    layers: Vec<String>,
}

const NAME: &str = "proof-base";

impl Base {
    /// Brings it in as `docker load` does, so that both engines have the same bytes; and those with programs.
    fn load(daemon: &Daemon<'_>) -> Self {
        let image = image();
        let archive = archive(&image);
        let reply = daemon.send("POST", "/images/load", "application/x-tar", &archive);
        assert!(
            reply.status == 200 && !reply.text().contains("error"),
            "{reply:?}"
        );
        let layers = image.blobs().split_last().unwrap().1.iter();
        let layers = layers.map(|layer| hull_tests::image::digest(layer).to_string());
        let mut layers: Vec<String> = layers.collect();
        for (name, _) in TREES {
            if let Some(path) = tree(name) {
                layers.push(import(daemon, name, Path::new(&path)));
            }
        }
        Self { layers }
    }

    fn remove(&self, daemon: &Daemon<'_>) {
        if reference().is_some() {
            for name in ["base"].iter().chain(TREES.iter().map(|(name, _)| name)) {
                daemon.ask("DELETE", &format!("/images/proof-{name}?force=1"), b"");
            }
        }
    }
}

/// Brings in a tree as the image `proof-NAME`; the digest of its layer.
fn import(daemon: &Daemon<'_>, name: &str, tree: &Path) -> String {
    let mut command = std::process::Command::new("docker");
    command
        .env("DOCKER_HOST", daemon.address())
        .args(["import", "-c"])
        .arg("ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .arg(tree)
        .arg(format!("proof-{name}"));
    let _ = hull_tests::command::run(&mut command, &[]).ok();
    let image = daemon.get(&format!("/images/proof-{name}/json")).json();
    let layer = image["RootFS"]["Layers"][0].as_str();
    layer.expect("one layer").to_owned()
}

/// A small system, with what engines would otherwise make a place for in every step.
fn image() -> Image {
    let files = Layer::new()
        .directory("etc", 0o755)
        .file("etc/hosts", 0o644, b"127.0.0.1 localhost\n")
        .file("etc/resolv.conf", 0o644, b"# from the base\n")
        .file("etc/hostname", 0o644, b"from-the-base\n")
        .file("etc/motd", 0o644, b"made from Debian's busybox\n")
        .finish();
    let config = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["sh"],
    });
    let layers = [busybox_layer(), files];
    Image::new(&layers, &config, Packing::Plain, Family::Docker)
}

/// An image as `docker save` writes it.
fn archive(image: &Image) -> Vec<u8> {
    let (config, layers) = image.blobs().split_last().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    let mut names = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        names.push(format!("{number}/layer.tar"));
        add(names.last().unwrap(), layer);
    }
    let digest = descriptor("", config)["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let config_name = format!("{digest}.json");
    add(&config_name, config);
    let manifest =
        json!([{"Config": config_name, "RepoTags": [format!("{NAME}:latest")], "Layers": names}]);
    add("manifest.json", manifest.to_string().as_bytes());
    tar.into_inner().unwrap()
}
