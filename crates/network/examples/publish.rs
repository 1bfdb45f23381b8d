//! Joins two network namespaces by a bridge, publishes a port of one of them, and asks it from everywhere:
//! `hull-network` alone, without an engine.
//!
//! As root, in a network namespace that may be played with:
//!
//! ```text
//! unshare --net --mount cargo run -p hull-network --example publish
//! ```

use hull_network::model::{BridgeOptions, Driver, Endpoint, Network, Pool, Protocol, Publication};
use hull_network::ports::{self, PortRequest};
use hull_network::{Error, Firewall, FirewallOptions, NetworkRules, link, netns};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1));
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 3);

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("hull-network-{}", std::process::id()));
    for line in publish(&directory)? {
        println!("{line}");
    }
    Ok(())
}

/// Does it all, with namespaces below `directory`, and returns what was seen.
///
/// # Errors
/// Whatever was refused; nothing but an empty table `hull-example` is left behind either way.
pub fn publish(directory: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let network = network()?;
    let firewall = Firewall::open(FirewallOptions {
        table: "hull-example".to_owned(),
        ..FirewallOptions::default()
    })?;
    let (server, client) = (directory.join("server"), directory.join("client"));
    let seen = link::up(&network).map_err(Into::into).and_then(|()| {
        firewall.add_network(rules(&network))?;
        joined(&network, &server, "server", SERVER)?;
        joined(&network, &client, "client", CLIENT)?;
        ask_everywhere(&firewall, &network, &server, &client)
    });
    // In reverse. What is not there is no error.
    let endpoints = |id: &str| vec![id.to_owned()];
    link::dismantle(&client, &endpoints("client"))?;
    link::dismantle(&server, &endpoints("server"))?;
    firewall.remove_network(&network.id)?;
    link::down(&network)?;
    netns::release(directory)?;
    seen
}

fn network() -> Result<Network, Box<dyn std::error::Error>> {
    Ok(Network {
        id: "example".to_owned(),
        driver: Driver::Bridge(BridgeOptions::new("br-example")),
        pools: vec![Pool {
            subnet: "10.88.0.0/24".parse()?,
            range: None,
            gateway: Some(GATEWAY),
            reserved: BTreeMap::new(),
        }],
        internal: false,
    })
}

fn rules(network: &Network) -> NetworkRules {
    let Driver::Bridge(options) = &network.driver else {
        unreachable!("the network above is a bridge");
    };
    NetworkRules {
        id: network.id.clone(),
        device: options.device.clone(),
        subnets: network.pools.iter().map(|pool| pool.subnet).collect(),
        internal: network.internal,
        options: options.clone(),
    }
}

/// A namespace with a place on the network.
fn joined(
    network: &Network,
    path: &Path,
    id: &str,
    address: Ipv4Addr,
) -> Result<(), Box<dyn std::error::Error>> {
    netns::create(path)?;
    let endpoint = Endpoint {
        id: id.to_owned(),
        ifname: "eth0".to_owned(),
        mac: None,
        addresses: vec![format!("{address}/24").parse()?],
        gateways: vec![GATEWAY],
        sysctls: Vec::new(),
    };
    link::join(network, &endpoint, path)?;
    Ok(())
}

fn ask_everywhere(
    firewall: &Firewall,
    network: &Network,
    server: &Path,
    client: &Path,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let listener = netns::inside(server, || TcpListener::bind(("0.0.0.0", 80)))??;
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            // Whoever has gone does not want to know.
            let _ = write!(stream, "{}", from.ip());
        }
    });
    // Kept by sockets as long as `reserved` lives.
    let reserved = ports::reserve(&[PortRequest {
        protocol: Protocol::Tcp,
        hosts: vec![Ipv4Addr::UNSPECIFIED.into()],
        host_ports: None,
        count: 1,
    }])?;
    let host_ports = reserved.ports.first().cloned().ok_or("no port is free")?;
    let port = *host_ports.start();
    firewall.publish(
        "server",
        &[Publication {
            network: network.id.clone(),
            protocol: Protocol::Tcp,
            host: Some(Ipv4Addr::UNSPECIFIED.into()),
            host_ports,
            target: SERVER.into(),
            target_port: 80,
            host_firewall: false,
        }],
    )?;
    let inside = |path: &Path, address, port| -> Result<String, Error> {
        netns::inside(path, || ask(address, port))
    };
    let seen = vec![
        format!(
            "client to the server's own address: seen as {}",
            inside(client, SERVER.into(), 80)?
        ),
        format!(
            "client to the published port: seen as {}",
            inside(client, GATEWAY, port)?
        ),
        format!(
            "server to its own published port: seen as {}",
            inside(server, GATEWAY, port)?
        ),
        format!(
            "host by loopback: seen as {}",
            ask(Ipv4Addr::LOCALHOST.into(), port)
        ),
    ];
    firewall.unpublish("server")?;
    Ok(seen)
}

/// How the server sees who asks, or why not.
fn ask(address: IpAddr, port: u16) -> String {
    let to = SocketAddr::new(address, port);
    let mut seen = String::new();
    let answer = TcpStream::connect_timeout(&to, Duration::from_secs(10))
        .and_then(|mut stream| stream.read_to_string(&mut seen));
    answer.map_or_else(|error| error.to_string(), |_| seen)
}
