//! A full disk, and API requests that make no sense.

use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use hull_tests::image::{Family, Image, Layer, Packing, busybox, busybox_layer};
use hull_tests::registry::Registry;
use hull_tests::setup::with;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

#[test]
fn a_full_disk_is_said_and_survived() {
    if !Registry::is_available() {
        return;
    }
    let host = Host::start();
    let registry = Registry::start(&host);
    let mut daemon = Daemon::start(&host, &[]);
    daemon.stop();
    let data = daemon.path("data");
    fs_err::remove_dir_all(&data).unwrap();
    fs_err::create_dir(&data).unwrap();
    mount(
        "tmpfs",
        &data,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=16m"),
    )
    .unwrap();
    daemon.restart();
    let run = |words: &[&str]| Client::Hull.run(&daemon, words);
    let big: Vec<u8> = (0..8_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let image = Image::new(
        &[
            busybox_layer(),
            Layer::new().file("big", 0o644, &big).finish(),
        ],
        &json!({}),
        Packing::Plain,
        Family::Oci,
    );
    let (reference, _) = registry.push(&host, ("big", "1"), &image);
    let full = run(&["pull", "-q", &reference]);
    assert!(
        full.fails(1).contains("no space left on device"),
        "{full:?}"
    );
    let (reference, _) = registry.push(
        &host,
        ("busybox", "1"),
        &busybox(Packing::Gzip, Family::Oci),
    );
    let after = run(&["pull", "-q", &reference]);
    assert_eq!(after.code, 0, "the store is usable afterwards: {after:?}");
    assert_eq!(
        run(&[
            "run",
            "--rm",
            "--network",
            "none",
            &reference,
            "echo",
            "fine"
        ])
        .ok(),
        "fine"
    );
    daemon.remove_containers();
    daemon.stop();
    unmount(&data, UnmountFlags::DETACH).unwrap();
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    with(Client::Hull, |s| {
        let ask = |method, target, body: &str| {
            let reply = s.daemon.ask(method, target, body.as_bytes());
            let message = reply.json()["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            (reply.status, message)
        };
        let (status, message) = ask("POST", "/containers/create", "{");
        assert_eq!(status, 400, "{message}");
        let (status, message) = ask("POST", "/containers/create", r#"{"Image": 5}"#);
        assert_eq!(status, 400, "{message}");
        let (status, message) = ask(
            "POST",
            "/containers/create",
            r#"{"Image": "busybox", "HostConfig": {"Memory": "lots"}}"#,
        );
        assert_eq!(status, 400, "{message}");
        let (status, message) = ask("POST", "/containers/create", r#"{"Image": "nosuch"}"#);
        assert_eq!(
            (status, message.as_str()),
            (404, "No such image: nosuch:latest")
        );
        let (status, message) = ask("GET", "/nosuch", "");
        assert_eq!((status, message.as_str()), (404, "page not found"));
        let (status, message) = ask("GET", "/v1.99/info", "");
        assert_eq!(status, 400, "{message}");
        assert!(
            message.contains("client version 1.99 is too new"),
            "{message}"
        );
        let (status, message) = ask("GET", "/containers/nosuch/json", "");
        assert_eq!(
            (status, message.as_str()),
            (404, "No such container: nosuch")
        );
        let (status, message) = ask("POST", "/containers/nosuch/start", "");
        assert_eq!(
            (status, message.as_str()),
            (404, "No such container: nosuch")
        );
    });
}
