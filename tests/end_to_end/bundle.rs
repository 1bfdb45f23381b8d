//! `hull system info --bundle`: what is needed to find out what is wrong, and no secret.

use hull_tests::client::Client;
use hull_tests::setup::with;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// In everything that nobody else is to read.
const MARK: &str = "s3cr3t";

#[test]
fn a_bundle_has_what_helps_and_no_secret() {
    with(Client::Hull, |s| {
        let made = s.run(&[
            "run",
            "-d",
            "--name",
            "told",
            "-e",
            "HARMLESS=s3cr3t-1",
            "-e",
            "PASSWORD=s3cr3t-2",
            "--label",
            "mine=s3cr3t-3",
            "--label",
            "com.docker.compose.project=shop",
            "--health-cmd",
            "echo s3cr3t-4",
            "--health-interval",
            "1h",
            "busybox",
            "sh",
            "-c",
            "echo s3cr3t-5; echo https://u:s3cr3t-6@h/ >&2; sleep 1000",
            "--token=s3cr3t-7",
            "s3cr3t-8",
        ]);
        let id = made.ok().trim().to_owned();
        let _ = s.line("exec told echo s3cr3t-9").ok();
        let volume = "volume create --driver local --opt type=tmpfs --opt device=tmpfs --opt o=size=1m --label key=s3cr3t-10 told";
        let _ = s.line(volume).ok();
        let path = s.daemon.path("bundle.tar.gz");
        let _ = s
            .run(&["system", "info", "--bundle", path.to_str().unwrap()])
            .ok();
        assert_eq!(
            fs_err::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let files = files_of(&path);
        for (name, text) in &files {
            assert!(!text.contains(MARK), "{name}:\n{text}");
        }
        shows_what_helps(&files, &id);
        // What is there stays.
        let again = s.run(&["info", "--bundle", path.to_str().unwrap()]);
        assert_eq!(again.code, 1, "{again:?}");
        // A daemon that is not there is when it is needed most.
        s.daemon.stop();
        let path = s.daemon.path("alone.tar.gz");
        let _ = s.run(&["info", "--bundle", path.to_str().unwrap()]).ok();
        let files = files_of(&path);
        assert!(files["errors.txt"].contains("Cannot connect"), "{files:?}");
        assert!(files.contains_key("host/proc/version"));
        s.daemon.restart();
        let _ = s.line("rm -f told").ok();
        let _ = s.line("volume rm told").ok();
    });
}

fn shows_what_helps(files: &BTreeMap<String, String>, id: &str) {
    let text = |name: &str| {
        files
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()))
    };
    let inspected = text(&format!("containers/{id}.json"));
    for part in ["HARMLESS=***", "\"shop\"", "/told", "--token=***"] {
        assert!(inspected.contains(part), "{part} in {inspected}");
    }
    assert!(text("events.txt").contains(&format!("container start {id} told")));
    assert!(text("version.json").contains("KernelVersion"));
    assert!(text("host/proc/self/cgroup").contains('/'));
    assert!(text("volumes.json").contains("told"));
}

fn files_of(path: &Path) -> BTreeMap<String, String> {
    let archive =
        flate2::read::GzDecoder::new(fs_err::File::open(path).expect("a file of the bundle"));
    let mut archive = tar::Archive::new(archive);
    let entries = archive
        .entries()
        .expect("a file of the bundle")
        .map(|entry| {
            let mut entry = entry.expect("a file of the bundle");
            let name = entry
                .path()
                .expect("a file of the bundle")
                .display()
                .to_string();
            let mut text = String::new();
            entry
                .read_to_string(&mut text)
                .expect("a file of the bundle");
            (name.trim_start_matches("hull-bundle/").to_owned(), text)
        });
    entries.collect()
}
