//! Documents compared, member by member and in order, with what dockerd 28.5 answered to the same
//! requests. In the recordings ids are numbered, the storage driver's data is left out, and a sandbox has its container's id.

use crate::config::ContainerDefaults;
use crate::convert;
use crate::version::ApiVersion;
use hull_api::container::CreateRequest;
use hull_engine::container::{
    Details, Endpoint, Exit, HostPort, MountPoint, Paths, Port, Sizes, Snapshot, State,
};
use hull_engine::image::{ImageConfig, ImageDetails, ImageSummary};
use hull_engine::network::{EndpointRequest, Member, NetworkDetails, PoolRequest};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../tests/golden/", $name, ".json")).trim_end()
    };
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(number: u8) -> String {
    format!("{number:064x}")
}

fn image_id() -> String {
    format!("sha256:{}", id(2))
}

/// A container made by `request`, as the engine tells of it.
fn details(request: &str, number: u8, name: &str) -> Details {
    let request = CreateRequest::from_slice(request.as_bytes()).unwrap();
    let host = convert::create::Host {
        cgroup_v2: false,
        settings: &ContainerDefaults::default(),
    };
    let asked = convert::create::config(request, None, host, ApiVersion::NEWEST).unwrap();
    let config = asked.config;
    let cmd = config.cmd.clone();
    Details {
        id: id(number),
        name: name.to_owned(),
        created: time("2026-11-21T05:49:11.043155201Z"),
        state: State::Created { failed: None },
        image_id: image_id(),
        image_name: config.image.clone(),
        args: cmd.clone().unwrap_or_default(),
        entrypoint: None,
        cmd,
        env: config.env.clone(),
        working_dir: config.working_dir.clone(),
        user: config.user.clone(),
        hostname: config
            .hostname
            .clone()
            .unwrap_or_else(|| id(number)[..12].to_owned()),
        labels: config.labels.clone(),
        exposed_ports: config.exposed_ports.clone(),
        volumes: std::collections::BTreeSet::new(),
        stop_signal: None,
        runtime: "runc".to_owned(),
        restart_count: 0,
        out_of_memory: false,
        health: None,
        health_check: None,
        shell: None,
        exec_ids: Vec::new(),
        paths: Paths::default(),
        snapshot: Snapshot {
            driver: "overlay2".to_owned(),
            data: BTreeMap::new(),
        },
        mounts: Vec::new(),
        networks: BTreeMap::new(),
        ports: BTreeMap::new(),
        sandbox: None,
        links: Vec::new(),
        sizes: None,
        config: Arc::new(config),
    }
}

fn paths(number: u8) -> Paths {
    let id = id(number);
    let directory = PathBuf::from(format!("/var/lib/docker/containers/{id}"));
    Paths {
        resolv_conf: directory.join("resolv.conf"),
        hostname: directory.join("hostname"),
        hosts: directory.join("hosts"),
        log: directory.join(format!("{id}-json.log")),
    }
}

fn network(name: &str, endpoint: Endpoint) -> BTreeMap<String, Box<Endpoint>> {
    BTreeMap::from([(name.to_owned(), Box::new(endpoint))])
}

fn endpoint(network: u8, endpoint: u8) -> Endpoint {
    Endpoint {
        network_id: id(network),
        endpoint_id: if endpoint == 0 {
            String::new()
        } else {
            id(endpoint)
        },
        ..Endpoint::default()
    }
}

fn created() -> Details {
    Details {
        networks: network("bridge", Endpoint::default()),
        ..details(golden!("request-created"), 8, "dm-min")
    }
}

fn run() -> Details {
    let mount = MountPoint {
        kind: "bind".to_owned(),
        source: "/tmp".to_owned(),
        target: "/srv".to_owned(),
        mode: "ro".to_owned(),
        read_only: true,
        propagation: "rprivate".to_owned(),
        ..MountPoint::default()
    };
    let tmpfs = MountPoint {
        kind: "tmpfs".to_owned(),
        target: "/t".to_owned(),
        ..MountPoint::default()
    };
    Details {
        created: time("2026-11-21T05:49:11.11558501Z"),
        state: State::Running {
            pid: 19409,
            started: time("2026-11-21T05:49:11.129914052Z"),
            last: None,
        },
        paths: paths(1),
        mounts: vec![mount, tmpfs],
        networks: network("none", endpoint(4, 5)),
        sandbox: Some(PathBuf::from("/var/run/docker/netns/sandbox")),
        links: Vec::new(),
        ..details(golden!("request-run"), 1, "dm-run")
    }
}

fn exit() -> Details {
    Details {
        created: time("2026-11-21T05:49:11.685318229Z"),
        networks: network("bridge", endpoint(7, 0)),
        state: State::Exited {
            started: time("2026-11-21T05:49:11.700026737Z"),
            exit: Exit {
                code: 3,
                oom_killed: false,
                at: time("2026-11-21T05:49:11.793920809Z"),
                error: String::new(),
            },
        },
        paths: paths(6),
        ..details(golden!("request-exit"), 6, "dm-exit")
    }
}

/// Both texts, cut into lines at the commas, so that a failure shows the member.
#[track_caller]
fn same(ours: &str, dockerds: &str) {
    let lines = |text: &str| text.replace(',', ",\n");
    for (ours, dockerds) in lines(ours).lines().zip(lines(dockerds).lines()) {
        assert_eq!(ours, dockerds);
    }
    assert_eq!(ours, dockerds);
}

fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn containers_are_inspected_as_by_dockerd() {
    for (details, golden) in [
        (created(), golden!("inspect-created")),
        (run(), golden!("inspect-run")),
        (exit(), golden!("inspect-exit")),
    ] {
        same(&text(&convert::details::inspect(&details)), golden);
    }
}

#[test]
fn containers_are_listed_as_by_dockerd() {
    let now = time("2026-11-21T05:49:12.9Z");
    let summaries: Vec<_> = [exit(), run(), created()]
        .into_iter()
        .map(|details| Details {
            sizes: Some(Sizes {
                writable: 0,
                root: 2_065_221,
            }),
            ..details
        })
        .map(|details| convert::details::summary(&details, now))
        .collect();
    same(&text(&summaries), golden!("list"));
}

fn image() -> ImageDetails {
    let config: ImageConfig = serde_json::from_value(json!({
        "created": "2026-11-21T05:35:20.42480599Z",
        "comment": "Imported from -",
        "docker_version": "28.5.2+dfsg4",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", id(9))]},
    }))
    .unwrap();
    ImageDetails {
        id: image_id(),
        repo_tags: vec!["bb:latest".to_owned()],
        repo_digests: Vec::new(),
        config: Arc::new(config),
        size: 2_065_221,
        last_tagged: Some(time("2026-11-21T05:35:20.426000422Z")),
        snapshot: Snapshot {
            driver: "overlay2".to_owned(),
            data: BTreeMap::new(),
        },
    }
}

#[test]
fn images_are_inspected_as_by_dockerd_in_every_version() {
    let inspect =
        |minor| convert::image::inspect(&image(), None, ApiVersion::new(1, minor)).unwrap();
    same(&text(&inspect(51)), golden!("image-1.51"));
    // Older forms are compared by their members: nobody reads their order.
    for (minor, golden) in [
        (24, golden!("image-1.24")),
        (43, golden!("image-1.43")),
        (44, golden!("image-1.44")),
        (47, golden!("image-1.47")),
    ] {
        let golden: Value = serde_json::from_str(golden).unwrap();
        assert_eq!(
            serde_json::to_value(inspect(minor)).unwrap(),
            golden,
            "1.{minor}"
        );
    }
}

#[test]
fn images_are_listed_as_by_dockerd() {
    let listed = |image: ImageSummary, minor| {
        text(&[convert::image::listed(&image, ApiVersion::new(1, minor))])
    };
    let image = ImageSummary {
        id: image_id(),
        repo_tags: vec!["bb:latest".to_owned()],
        created: Some(time("2026-11-21T05:35:20.42480599Z")),
        size: 2_065_221,
        ..ImageSummary::default()
    };
    same(&listed(image.clone(), 43), golden!("images-1.43"));
    let counted = ImageSummary {
        containers: Some(6),
        ..image
    };
    same(&listed(counted, 51), golden!("images-1.51"));
}

#[test]
fn networks_are_listed_as_by_dockerd() {
    let network = |number, name: &str, driver: &str, created| NetworkDetails {
        id: id(number),
        name: name.to_owned(),
        created: time(created),
        driver: driver.to_owned(),
        scope: "local".to_owned(),
        ipv4: true,
        ipam_driver: "default".to_owned(),
        options: Some(BTreeMap::new()),
        labels: Some(BTreeMap::new()),
        predefined: true,
        ..NetworkDetails::default()
    };
    let options = [
        ("default_bridge", "true"),
        ("enable_icc", "true"),
        ("enable_ip_masquerade", "true"),
        ("host_binding_ipv4", "0.0.0.0"),
        ("name", "docker0"),
    ];
    let option = |(name, value)| {
        (
            format!("com.docker.network.bridge.{name}"),
            String::from(value),
        )
    };
    let mut options: BTreeMap<_, _> = options.into_iter().map(option).collect();
    options.insert(
        "com.docker.network.driver.mtu".to_owned(),
        "1500".to_owned(),
    );
    let networks = [
        network(4, "none", "null", "2026-11-21T05:35:19.880998227Z"),
        network(10, "host", "host", "2026-11-21T05:35:19.882434895Z"),
        NetworkDetails {
            pools: Some(vec![PoolRequest {
                subnet: "172.17.0.0/16".to_owned(),
                gateway: "172.17.0.1".to_owned(),
                ..PoolRequest::default()
            }]),
            options: Some(options),
            ..network(7, "bridge", "bridge", "2026-11-21T05:35:19.883183101Z")
        },
    ];
    let networks: Vec<_> = networks
        .iter()
        .map(|network| convert::network::inspect(network, false))
        .collect();
    same(&text(&networks), golden!("networks"));
}

fn running(name: &str) -> Details {
    Details {
        state: State::Running {
            pid: 1,
            started: time("2026-11-21T05:49:11.129914052Z"),
            last: None,
        },
        sandbox: Some(PathBuf::from("/var/run/docker/netns/sandbox")),
        links: Vec::new(),
        ..details(r#"{"Image":"bb"}"#, 1, name)
    }
}

/// A container's place in a network that somebody made, with all that can be asked for.
fn place() -> Endpoint {
    Endpoint {
        request: EndpointRequest {
            aliases: vec!["al".to_owned()],
            ipv4: Some("10.88.1.50".parse().unwrap()),
            mac: Some("02:42:0a:58:01:32".to_owned()),
            driver_options: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            gateway_priority: 3,
            ..EndpointRequest::default()
        },
        gateway: "10.88.1.1".to_owned(),
        address: "10.88.1.50".to_owned(),
        prefix_len: 24,
        mac_address: "02:42:0a:58:01:32".to_owned(),
        dns_names: Some(["dm-net", "al", "000000000000"].map(str::to_owned).into()),
        ..endpoint(4, 5)
    }
}

#[test]
fn places_in_networks_are_inspected_as_by_dockerd() {
    let details = Details {
        networks: network("front", place()),
        ..running("dm-net")
    };
    let inspect = convert::details::inspect(&details);
    same(
        &text(&inspect.network_settings),
        golden!("settings-network"),
    );
    let aliases = |minor| {
        let inspect = convert::details::as_of(inspect.clone(), ApiVersion::new(1, minor));
        inspect.network_settings.networks.unwrap()["front"]
            .aliases
            .clone()
            .unwrap()
    };
    assert_eq!(
        (aliases(44), aliases(45)),
        (
            vec!["al".to_owned(), "000000000000".to_owned()],
            vec!["al".to_owned()]
        )
    );
}

#[test]
fn published_ports_are_shown_as_by_dockerd() {
    let port = |number, protocol: &str| Port {
        number,
        protocol: protocol.to_owned(),
    };
    let at = |host: &str, port| HostPort {
        host: host.to_owned(),
        port,
    };
    let details = Details {
        networks: network(
            "bridge",
            Endpoint {
                gateway: "172.17.0.1".to_owned(),
                address: "172.17.0.2".to_owned(),
                prefix_len: 16,
                mac_address: "02:42:ac:11:00:02".to_owned(),
                ..endpoint(7, 5)
            },
        ),
        ports: BTreeMap::from([
            (port(80, "tcp"), Some(vec![at("127.0.0.1", 18080)])),
            (
                port(81, "udp"),
                Some(vec![at("0.0.0.0", 32769), at("::", 32769)]),
            ),
            (port(90, "tcp"), None),
        ]),
        ..running("dm-ports")
    };
    let inspect = convert::details::inspect(&details);
    same(&text(&inspect.network_settings), golden!("settings-ports"));
    let summary = convert::details::summary(&details, time("2026-11-21T05:49:12.9Z"));
    same(&text(&summary.ports), golden!("list-ports"));
}

#[test]
fn a_network_is_inspected_as_by_dockerd() {
    let member = Member {
        name: "dm-net".to_owned(),
        endpoint_id: id(5),
        mac_address: "02:42:0a:58:01:32".to_owned(),
        ipv4: "10.88.1.50/24".to_owned(),
        ipv6: String::new(),
    };
    let details = NetworkDetails {
        id: id(4),
        name: "front".to_owned(),
        created: time("2026-11-21T22:12:30.24571208Z"),
        driver: "bridge".to_owned(),
        scope: "local".to_owned(),
        ipv4: true,
        ipam_driver: "default".to_owned(),
        pools: Some(vec![PoolRequest {
            subnet: "10.88.1.0/24".to_owned(),
            ..PoolRequest::default()
        }]),
        options: Some(BTreeMap::new()),
        labels: Some(BTreeMap::new()),
        members: BTreeMap::from([(id(1), member)]),
        ..NetworkDetails::default()
    };
    same(
        &text(&convert::network::inspect(&details, true)),
        golden!("network"),
    );
}
