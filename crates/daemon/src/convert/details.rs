//! A container as inspect and the list show it.

use super::time;
use crate::human;
use crate::version::ApiVersion;
use hull_api::container::{
    Config, CreateRequest, Empty, Inspect, MountPoint, NetworkSettings, Port, PortBinding,
    State as WireState, Summary, SummaryHostConfig, SummaryNetworks, Words,
};
use hull_api::network::EndpointSettings;
use hull_api::system::GraphDriver;
use hull_engine::container::{Details, HealthStatus, HostPort, NetworkMode, State};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// `GET /containers/{id}/json`.
pub(crate) fn inspect(details: &Details) -> Inspect {
    let request = request(details);
    let mut host_config = request.host_config;
    host_config.runtime.clone_from(&details.runtime);
    host_config.network_mode = network_mode(details);
    super::resources::reflect(&mut host_config, &details.config.resources);
    super::create::reflect_restart(&mut host_config, details.config.restart);
    // Those of users' networks are shown there.
    host_config.links = (!details.links.is_empty()).then(|| details.links.clone());
    let never = matches!(details.state, State::Created { failed: None });
    // dockerd names the files that a container has from its first start on.
    let file = |at: &Path| if never { String::new() } else { path(at) };
    Inspect {
        id: details.id.clone(),
        created: details.created.to_string(),
        path: details.args.first().cloned().unwrap_or_default(),
        args: details.args.iter().skip(1).cloned().collect(),
        state: state(details),
        image: details.image_id.clone(),
        resolv_conf_path: file(&details.paths.resolv_conf),
        hostname_path: file(&details.paths.hostname),
        hosts_path: file(&details.paths.hosts),
        log_path: file(&details.paths.log),
        name: format!("/{}", details.name),
        restart_count: details.restart_count.into(),
        driver: details.snapshot.driver.clone(),
        platform: "linux".to_owned(),
        exec_ids: (!details.exec_ids.is_empty()).then(|| details.exec_ids.clone()),
        host_config,
        graph_driver: Some(GraphDriver {
            data: Some(details.snapshot.data.clone()),
            name: details.snapshot.driver.clone(),
        }),
        size_rw: details.sizes.map(|sizes| number(sizes.writable)),
        size_root_fs: details.sizes.map(|sizes| number(sizes.root)),
        mounts: mounts(details),
        config: config(details, request.config),
        network_settings: network_settings(details),
        hull: request.hull,
        ..Inspect::default()
    }
}

/// The request as it was kept; what cannot be read any more is shown as if nothing had been asked.
fn request(details: &Details) -> CreateRequest {
    let kept = details.config.request.clone().unwrap_or_default();
    serde_json::to_vec(&kept)
        .ok()
        .and_then(|kept| CreateRequest::from_slice(&kept).ok())
        .unwrap_or_default()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The configuration with what the image adds.
fn config(details: &Details, asked: Config) -> Config {
    let ports: BTreeMap<String, Empty> = details
        .exposed_ports
        .iter()
        .map(|port| (format!("{}/{}", port.number, port.protocol), Empty {}))
        .collect();
    let volumes: BTreeMap<String, Empty> = details
        .volumes
        .iter()
        .map(|path| (path.clone(), Empty {}))
        .collect();
    let env = (!details.env.is_empty() || asked.env.is_some()).then(|| details.env.clone());
    Config {
        hostname: details.hostname.clone(),
        user: details.user.clone(),
        exposed_ports: (!ports.is_empty()).then_some(ports),
        env,
        cmd: details.cmd.clone().map(Words),
        volumes: (!volumes.is_empty()).then_some(volumes),
        working_dir: details.working_dir.clone(),
        entrypoint: details.entrypoint.clone().map(Words),
        labels: Some(details.labels.clone()),
        stop_signal: details.stop_signal.clone().unwrap_or_default(),
        mac_address: main_mac(details),
        healthcheck: details.health_check.as_ref().map(super::health::shown),
        shell: details.shell.clone().map(Words),
        ..asked
    }
}

/// The Ethernet address that was asked for in the first network.
fn main_mac(details: &Details) -> String {
    let config = &details.config;
    let place = config.networks.get(&config.network.text());
    let asked = place.and_then(|place| place.mac.clone());
    asked
        .or_else(|| config.mac_address.clone())
        .unwrap_or_default()
}

fn state(details: &Details) -> WireState {
    let state = &details.state;
    let exit = state.exit();
    let up = state.pid().is_some();
    let finished = match state {
        State::Created { .. } => None,
        _ => exit.map(|exit| exit.at),
    };
    WireState {
        status: state.as_str().to_owned(),
        running: up || matches!(state, State::Restarting { .. }),
        paused: matches!(state, State::Paused { .. }),
        restarting: matches!(state, State::Restarting { .. }),
        oom_killed: details.out_of_memory || !up && exit.is_some_and(|exit| exit.oom_killed),
        dead: matches!(state, State::Dead { .. }),
        pid: state.pid().unwrap_or(0).into(),
        exit_code: if up {
            0
        } else {
            exit.map_or(0, |exit| exit.code.into())
        },
        error: if up {
            String::new()
        } else {
            exit.map(|exit| exit.error.clone()).unwrap_or_default()
        },
        started_at: time::text(state.started()),
        finished_at: time::text(finished),
        health: details.health.as_deref().map(super::health::state),
    }
}

fn mounts(details: &Details) -> Vec<MountPoint> {
    let convert = |mount: &hull_engine::container::MountPoint| MountPoint {
        kind: mount.kind.clone(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.target.clone(),
        driver: mount.driver.clone(),
        // The options of a tmpfs are not the mode of a bind mount.
        mode: match mount.kind.as_str() {
            "tmpfs" => String::new(),
            _ => mount.mode.clone(),
        },
        rw: !mount.read_only,
        propagation: mount.propagation.clone(),
    };
    // What --tmpfs asked for is seen in the request, and is no mount point to dockerd.
    let request = details.config.request.as_ref();
    let tmpfs = request.and_then(|request| request["HostConfig"]["Tmpfs"].as_object());
    let is_shown = |mount: &&hull_engine::container::MountPoint| {
        !tmpfs.is_some_and(|tmpfs| tmpfs.contains_key(&mount.target))
    };
    details
        .mounts
        .iter()
        .filter(is_shown)
        .map(convert)
        .collect()
}

type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

fn network_settings(details: &Details) -> NetworkSettings {
    let sandbox = details
        .sandbox
        .as_deref()
        .filter(|_| details.state.pid().is_some());
    let bridge = details.networks.get("bridge").cloned().unwrap_or_default();
    let networks = networks(details);
    // Also one that was only asked for.
    let mac_address = networks
        .get("bridge")
        .map(|bridge| bridge.mac_address.clone());
    NetworkSettings {
        // There is one network namespace per container, so it needs no other name.
        sandbox_id: sandbox.map(|_| details.id.clone()).unwrap_or_default(),
        sandbox_key: sandbox.map(path).unwrap_or_default(),
        ports: Some(port_map(details)),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.address6,
        global_ipv6_prefix_len: bridge.prefix_len6.into(),
        ip_address: bridge.address,
        ip_prefix_len: bridge.prefix_len.into(),
        ipv6_gateway: bridge.gateway6,
        mac_address: mac_address.unwrap_or_default(),
        networks: Some(networks),
        ..NetworkSettings::default()
    }
}

fn port_map(details: &Details) -> PortMap {
    let binding = |at: &HostPort| PortBinding {
        host_ip: at.host.clone(),
        host_port: at.port.to_string(),
    };
    let ports = details.ports.iter();
    let ports = ports.map(|(port, bindings)| {
        let bindings = bindings.as_ref();
        let bindings = bindings.map(|bindings| bindings.iter().map(binding).collect());
        (format!("{}/{}", port.number, port.protocol), bindings)
    });
    ports.collect()
}

fn networks(details: &Details) -> BTreeMap<String, EndpointSettings> {
    let asked = details.config.request.as_ref();
    // Such a container has a network namespace of its own and is in no network, not even `none`.
    let disabled = asked.is_some_and(|request| request["NetworkDisabled"] == true);
    let places = details.networks.iter().filter(|_| !disabled);
    // As in dockerd, what a network adds to what was asked for comes with the first start.
    let joined = !matches!(details.state, State::Created { .. });
    places
        .map(|(name, place)| {
            let mut settings = super::network::settings(place);
            if !joined {
                settings.network_id.clear();
                settings.dns_names = None;
            }
            (name.clone(), settings)
        })
        .collect()
}

/// Gives an inspected container the form that older clients know.
pub(crate) fn as_of(mut inspect: Inspect, version: ApiVersion) -> Inspect {
    if version.since(45) {
        return inspect;
    }
    let short = inspect.id.get(..12).unwrap_or_default().to_owned();
    let networks = inspect.network_settings.networks.iter_mut().flatten();
    for (_, place) in networks.filter(|(_, place)| place.dns_names.is_some()) {
        // Where it has names, its short id was one of the aliases.
        let aliases = place.aliases.get_or_insert_default();
        if !aliases.contains(&short) {
            aliases.push(short.clone());
        }
    }
    inspect
}

/// One element of `GET /containers/json`.
pub(crate) fn summary(details: &Details, now: Timestamp) -> Summary {
    let sizes = details.sizes.unwrap_or_default();
    let (program, args) = details
        .args
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    Summary {
        id: details.id.clone(),
        names: vec![format!("/{}", details.name)],
        image: details.image_name.clone(),
        image_id: details.image_id.clone(),
        image_manifest_descriptor: None,
        command: human::command(program, args),
        created: details.created.as_second(),
        ports: ports(details),
        size_rw: number(sizes.writable),
        size_root_fs: number(sizes.root),
        labels: details.labels.clone(),
        state: details.state.as_str().to_owned(),
        status: status(details, now),
        host_config: SummaryHostConfig {
            network_mode: network_mode(details),
            annotations: details.config.annotations.clone(),
        },
        network_settings: SummaryNetworks {
            networks: Some(networks(details)),
        },
        mounts: mounts(details).into_iter().map(listed).collect(),
    }
}

/// A mount point as lists have it: in dockerd's a volume is in no place.
fn listed(mut mount: MountPoint) -> MountPoint {
    if mount.kind == "volume" {
        mount.source.clear();
    }
    mount
}

/// The network mode as the client gave it; another container by its id, when that is known.
fn network_mode(details: &Details) -> String {
    let asked = details.config.request.as_ref();
    let asked = asked.and_then(|request| request["HostConfig"]["NetworkMode"].as_str());
    match (&details.config.network, asked) {
        (NetworkMode::Container(_), _) | (_, None) => details.config.network.text(),
        (_, Some(asked)) => asked.to_owned(),
    }
}

fn ports(details: &Details) -> Vec<Port> {
    let mut all = Vec::new();
    for (port, bindings) in &details.ports {
        let exposed = Port {
            private_port: port.number,
            protocol: port.protocol.clone(),
            ..Port::default()
        };
        match bindings.as_deref() {
            None | Some([]) => all.push(exposed),
            Some(bindings) => all.extend(bindings.iter().map(|at| Port {
                ip: at.host.clone(),
                public_port: at.port,
                ..exposed.clone()
            })),
        }
    }
    all
}

/// The list's sentence about a state.
fn status(details: &Details, now: Timestamp) -> String {
    let since = |then: Timestamp| {
        let passed = Duration::try_from(now.duration_since(then)).unwrap_or_default();
        human::duration(passed)
    };
    let health = details.health.as_ref().map(|health| health.status);
    let health = match health {
        None => String::new(),
        Some(HealthStatus::Starting) => " (health: starting)".to_owned(),
        Some(status) => format!(" ({})", status.as_str()),
    };
    match &details.state {
        State::Created { .. } => "Created".to_owned(),
        State::Running { started, .. } => format!("Up {}{health}", since(*started)),
        State::Paused { started, .. } => format!("Up {} (Paused)", since(*started)),
        State::Restarting { exit, .. } => {
            format!("Restarting ({}) {} ago", exit.code, since(exit.at))
        }
        State::Exited { exit, .. } => format!("Exited ({}) {} ago", exit.code, since(exit.at)),
        State::Removing { .. } => "Removal In Progress".to_owned(),
        State::Dead { .. } => "Dead".to_owned(),
    }
}
