//! Registries that refuse, break off or lie.

use hull_tests::client::Client;
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::liar::{Fault, Liar};
use hull_tests::setup::{Setup, with};
use serde_json::json;

fn image() -> Image {
    let big: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let second = Layer::new().file("big", 0o644, &big).finish();
    Image::new(
        &[busybox_layer(), second],
        &json!({}),
        Packing::Gzip,
        Family::Oci,
    )
}

/// Pulls from a registry with `fault`; gives exit code and message, and asserts that nothing was
/// left behind by a failure.
fn pull(s: &Setup<'_>, fault: Fault) -> (i32, String) {
    let liar = Liar::start(s.host, &image(), fault);
    let pulled = s.run(&["pull", &liar.reference()]);
    let listed = s.run(&["images", "--format", "{{.Repository}}"]);
    let there = listed.ok().lines().any(|name| name.ends_with("/liar"));
    assert_eq!(there, pulled.code == 0, "{pulled:?} {listed:?}");
    if there {
        let run = s.run(&[
            "run",
            "--rm",
            "--network",
            "none",
            &liar.reference(),
            "sha256sum",
            "/big",
        ]);
        assert_eq!(run.code, 0, "{run:?}");
        let _ = s.run(&["rmi", &liar.reference()]).ok();
    }
    (pulled.code, pulled.stderr + &pulled.stdout)
}

#[test]
fn an_honest_registry_serves() {
    with(Client::Hull, |s| assert_eq!(pull(s, Fault::Honest).0, 0));
}

#[test]
fn refusals_are_passed_on() {
    with(Client::Hull, |s| {
        for (status, text) in [
            (401, "no basic auth credentials"),
            (404, "not found"),
            (429, "toomanyrequests"),
            (500, "500"),
        ] {
            let (code, message) = pull(s, Fault::Status(status));
            assert_eq!(code, 1, "{status}: {message}");
            assert!(message.contains(text), "{status}: {message}");
        }
    });
}

#[test]
fn passing_trouble_is_waited_out() {
    with(Client::Hull, |s| {
        for fault in [
            Fault::StatusAtFirst(429),
            Fault::StatusAtFirst(500),
            Fault::StatusAtFirst(503),
            Fault::ClosesMidBlob,
        ] {
            let (code, message) = pull(s, fault);
            assert_eq!(code, 0, "{fault:?}: {message}");
        }
    });
}

#[test]
fn lies_are_found_out() {
    with(Client::Hull, |s| {
        let (code, message) = pull(s, Fault::WrongBlob);
        assert_eq!(code, 1, "{message}");
        assert!(
            message.contains("filesystem layer verification failed for digest sha256:"),
            "{message}"
        );
        let (code, message) = pull(s, Fault::WrongManifestDigest);
        assert_eq!(code, 1, "{message}");
        let (code, message) = pull(s, Fault::EndlessManifest);
        assert_eq!(code, 1, "{message}");
    });
}

#[test]
fn a_pull_killed_half_way_goes_on_where_it_was() {
    with(Client::Hull, |s| {
        let liar = Liar::start(s.host, &image(), Fault::Stalls);
        let mut pulling = s.client.command(&s.daemon);
        pulling.args(["pull", "-q", &liar.reference()]);
        let first = std::thread::spawn(move || hull_tests::command::run(&mut pulling, &[]));
        liar.wait_for_stall();
        s.daemon.kill();
        assert_ne!(first.join().unwrap().code, 0);
        s.daemon.restart();
        assert!(
            !s.run(&["images"]).ok().contains("liar"),
            "an image that was not acknowledged is not there"
        );
        liar.release();
        let _ = s.run(&["pull", "-q", &liar.reference()]).ok();
        let _ = s
            .run(&[
                "run",
                "--rm",
                "--network",
                "none",
                &liar.reference(),
                "test",
                "-s",
                "/big",
            ])
            .ok();
    });
}

#[test]
fn two_pulls_of_one_image_both_succeed() {
    with(Client::Hull, |s| {
        let liar = Liar::start(s.host, &image(), Fault::Honest);
        let pulls: Vec<_> = (0..4)
            .map(|_| {
                let mut command = s.client.command(&s.daemon);
                command.args(["pull", "-q", &liar.reference()]);
                std::thread::spawn(move || hull_tests::command::run(&mut command, &[]))
            })
            .collect();
        for pull in pulls {
            assert_eq!(pull.join().unwrap().ok(), liar.reference());
        }
    });
}
