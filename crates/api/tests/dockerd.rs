//! What dockerd 28.5 wrote must come out of our types byte for byte: same members, same order, same
//! `null`, `[]` and absence. The documents were recorded from a daemon with one running container.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hull_api::{container, event, image, json, network, system};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn unchanged<T: Serialize + DeserializeOwned>(recorded: &str) {
    let recorded = recorded.trim_end();
    let value: T = json::from_slice(recorded.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), recorded);
}

#[test]
fn containers() {
    unchanged::<Vec<container::Summary>>(include_str!("dockerd/containers.json"));
    unchanged::<container::Inspect>(include_str!("dockerd/container.json"));
}

#[test]
fn images() {
    unchanged::<Vec<image::Summary>>(include_str!("dockerd/images.json"));
    unchanged::<image::Inspect>(include_str!("dockerd/image.json"));
}

#[test]
fn system() {
    unchanged::<system::Version>(include_str!("dockerd/version.json"));
    unchanged::<system::Info>(include_str!("dockerd/info.json"));
    unchanged::<network::Inspect>(include_str!("dockerd/network.json"));
    for line in include_str!("dockerd/events.json").lines() {
        let event: event::Event = json::from_slice(line.as_bytes()).unwrap();
        let printed = String::from_utf8(json::to_vec_escaped(&event).unwrap()).unwrap();
        assert_eq!(printed, line);
    }
}
