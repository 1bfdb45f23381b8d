//! SIGKILL of the daemon at random moments of a hundred pulls, removals and pushes: afterwards
//! `system check` finds nothing, nothing is left over, and the next attempt succeeds.

use crate::random::Random;
use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use hull_tests::http::{Request, send};
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::liar::{Fault, Liar};
use hull_tests::registry::Registry;
use serde_json::json;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Busybox and some layers of bytes that do not compress.
fn image(layers: u64) -> Image {
    let mut random = Random(7);
    let mut all = vec![busybox_layer()];
    for number in 0..layers {
        let noise: Vec<u8> = (0..100_000)
            .map(|_| random.below(256).to_le_bytes()[0])
            .collect();
        let name = format!("noise-{number}");
        all.push(Layer::new().file(&name, 0o644, &noise).finish());
    }
    Image::new(&all, &json!({}), Packing::Gzip, Family::Oci)
}

/// Sends a request whose answer may never come; gives the text of one that did.
fn ask(
    daemon: &Daemon<'_>,
    (method, target, body): (&'static str, String, Vec<u8>),
) -> JoinHandle<Option<String>> {
    let socket = daemon.socket();
    std::thread::spawn(move || {
        let stream = UnixStream::connect(socket).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .ok()?;
        let request = Request {
            method,
            target: &target,
            headers: &[
                ("X-Registry-Auth", "e30="),
                ("Content-Type", "application/json"),
            ],
            body: &body,
        };
        Some(send(stream, request).ok()?.text())
    })
}

/// Kills the daemon some time after a request, starts it again and checks what it kept; gives the
/// answer, if there was time for one.
fn kill_during(
    daemon: &mut Daemon<'_>,
    random: &mut Random,
    (method, target, micros): (&'static str, String, u64),
) -> Option<String> {
    kill_during_upload(daemon, random, (method, target, Vec::new(), micros))
}

/// The same of a request with a body.
fn kill_during_upload(
    daemon: &mut Daemon<'_>,
    random: &mut Random,
    (method, target, body, micros): (&'static str, String, Vec<u8>, u64),
) -> Option<String> {
    let asked = ask(daemon, (method, target, body));
    random.wait(micros);
    daemon.kill();
    let answer = asked.join().expect("the asking thread");
    daemon.restart();
    assert_sound(daemon);
    answer
}

pub(crate) fn assert_sound(daemon: &Daemon<'_>) {
    let checked = daemon.ask("POST", "/hull/system/check?young=1", &[]).text();
    let found = checked.contains("\"finding\"") || checked.contains("\"error\"");
    assert!(!found && checked.contains("\"summary\""), "{checked}");
}

fn kill_pulls(format: &str, rounds: u32) {
    let host = Host::start();
    let liar = Liar::start(&host, &image(3), Fault::Slow);
    let mut daemon = Daemon::start(&host, &["--store-format", format]);
    let mut random = Random(u64::from(rounds));
    let name = liar.reference();
    let pull = format!(
        "/images/create?fromImage={}",
        name.replace(":latest", "&tag=latest")
    );
    let remove = format!("/images/{name}?force=1");
    // How long a pull takes here decides when to kill; the first one is let be.
    let begun = Instant::now();
    let _ = Client::Hull.run(&daemon, &["pull", "-q", &name]).ok();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    for round in 0..rounds {
        let killed = ("DELETE", remove.clone(), 4_000);
        let answer = kill_during(&mut daemon, &mut random, killed);
        let acknowledged = answer.is_some_and(|text| text.contains("Deleted"));
        let there = daemon.get(&format!("/images/{name}/json")).status == 200;
        assert!(
            !there || !acknowledged,
            "round {round}: an acknowledged removal is one"
        );
        if there {
            let reply = daemon.ask("DELETE", &remove, &[]);
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        // A few times what was begun is finished, by what earlier attempts left.
        for _ in 0..4 {
            let killed = ("POST", pull.clone(), whole);
            let answer = kill_during(&mut daemon, &mut random, killed);
            let acknowledged = answer.is_some_and(|text| text.contains("Status: "));
            let there = daemon.get(&format!("/images/{name}/json")).status == 200;
            assert!(
                there || !acknowledged,
                "round {round}: an acknowledged pull is there"
            );
        }
        let _ = Client::Hull.run(&daemon, &["pull", "-q", &name]).ok();
    }
    let run = |words: &[&str]| Client::Hull.run(&daemon, words);
    let told = run(&["run", "--rm", "--network", "none", &name, "cat", "/noise-2"]);
    assert_eq!(told.code, 0, "{:?}", told.stderr);
    assert_sound(&daemon);
}

#[test]
fn pulls_into_archives_survive_kills() {
    // Where the daemons of the tests have their directories.
    if hull_tests::mounts_layers(&std::env::temp_dir()) {
        kill_pulls("erofs", 10);
    }
}

#[test]
fn pulls_into_directories_survive_kills() {
    kill_pulls("directory", 6);
}

#[test]
fn loads_survive_kills() {
    let host = Host::start();
    let liar = Liar::start(&host, &image(3), Fault::Honest);
    let mut daemon = Daemon::start(&host, &[]);
    let name = liar.reference();
    let _ = Client::Hull.run(&daemon, &["pull", "-q", &name]).ok();
    let saved = daemon.path("saved.tar");
    let words = ["save", "-o", saved.to_str().unwrap(), &name];
    let _ = Client::Hull.run(&daemon, &words).ok();
    let archive = fs_err::read(&saved).unwrap();
    let mut random = Random(5);
    for round in 0..12 {
        let _ = Client::Hull.run(&daemon, &["rmi", "-f", &name]);
        let load = "/images/load?quiet=1".to_owned();
        let killed = ("POST", load, archive.clone(), 120_000);
        let answer = kill_during_upload(&mut daemon, &mut random, killed);
        let acknowledged = answer.is_some_and(|text| text.contains("Loaded image"));
        let there = daemon.get(&format!("/images/{name}/json")).status == 200;
        assert!(
            there || !acknowledged,
            "round {round}: an acknowledged load is there"
        );
    }
    let _ = Client::Hull
        .run(&daemon, &["load", "-q", "-i", saved.to_str().unwrap()])
        .ok();
    let words = ["run", "--rm", "--network", "none", &name, "cat", "/noise-2"];
    assert_eq!(Client::Hull.run(&daemon, &words).code, 0);
    assert_sound(&daemon);
}

#[test]
fn pushes_survive_kills() {
    if !Registry::is_available() {
        return;
    }
    let host = Host::start();
    let registry = Registry::start(&host);
    let mut daemon = Daemon::start(&host, &[]);
    let (source, _) = registry.push(&host, ("source", "1"), &image(3));
    let _ = Client::Hull.run(&daemon, &["pull", "-q", &source]).ok();
    let mut random = Random(3);
    for round in 0..20 {
        let name = format!("{}/copy{round}", registry.host());
        let tagged = daemon.ask(
            "POST",
            &format!("/images/{source}/tag?repo={name}&tag=1"),
            &[],
        );
        assert_eq!(tagged.status, 201, "{tagged:?}");
        let push = ("POST", format!("/images/{name}/push?tag=1"), 60_000);
        let _ = kill_during(&mut daemon, &mut random, push);
        if round % 10 == 9 {
            let again = Client::Hull.run(&daemon, &["push", "-q", &format!("{name}:1")]);
            assert_eq!(again.code, 0, "{again:?}");
            let there = daemon.get(&format!("/distribution/{name}:1/json"));
            assert_eq!(there.status, 200, "{there:?}");
        }
    }
}
