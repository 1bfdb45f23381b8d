//! Many networks, endpoints and ports. Times are told, not judged.
//!
//! `HULL_TEST_SCALE=full`: 200 networks and 1,000 endpoints.

use crate::stage::{Stage, with};
use hull_tests::client::Client;
use hull_tests::layout::{HOST, OUTSIDE};
use hull_tests::names::{EMBEDDED, resolve};
use hull_tests::probe::{Echo, Transport, ask_one};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::Instant;

/// Containers, networks of each, and networks in all.
fn size() -> (usize, usize, usize) {
    if std::env::var("HULL_TEST_SCALE").is_ok_and(|size| size == "full") {
        (50, 20, 200)
    } else {
        (8, 6, 24)
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    eprintln!("{what}: {:?}", begun.elapsed());
    done
}

impl Stage<'_> {
    fn post(&self, target: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let reply = self.daemon.ask("POST", target, body.as_bytes());
        assert!((200..300).contains(&reply.status), "{target}: {reply:?}");
        if reply.body.is_empty() {
            Value::Null
        } else {
            reply.json()
        }
    }

    fn delete(&self, target: &str) {
        let reply = self.daemon.ask("DELETE", target, &[]);
        assert_eq!(reply.status, 204, "{target}: {reply:?}");
    }
}

#[test]
fn many_networks_and_many_endpoints() {
    let (containers, each, networks) = size();
    with(Client::Hull, &[], |stage| {
        let before = stage.traces();
        timed(&format!("{networks} networks made"), || {
            for index in 0..networks {
                let six = index % 2 == 0;
                stage.post(
                    "/networks/create",
                    &json!({"Name": format!("n{index}"), "EnableIPv6": six}),
                );
            }
        });
        // Each container is on networks of its neighbours too: n(4i) to n(4i+each).
        let on = |container: usize| {
            (0..each).map(move |at| (container * networks / containers + at) % networks)
        };
        timed(&format!("{} endpoints made", containers * each), || {
            for container in 0..containers {
                let endpoints: Map<String, Value> = on(container)
                    .map(|at| (format!("n{at}"), json!({"Aliases": [format!("on{at}")]})))
                    .collect();
                let first = format!("n{}", on(container).next().unwrap());
                stage.post(
                    &format!("/containers/create?name=c{container}"),
                    &json!({"Image": "busybox", "Cmd": ["sleep", "1000000"], "StopTimeout": 0,
                        "HostConfig": {"NetworkMode": first}, "NetworkingConfig": {"EndpointsConfig": endpoints}}),
                );
                stage.post(&format!("/containers/c{container}/start"), &Value::Null);
            }
        });
        let all = timed("networks listed", || stage.daemon.get("/networks").json());
        assert!(all.as_array().unwrap().len() >= networks);
        // Neighbours share networks: by name, and by traffic.
        for container in [0, containers / 2, containers - 2] {
            let (asking, asked) = (
                stage.place(&format!("c{container}")),
                format!("c{}", container + 1),
            );
            let _server = Echo::start(&stage.place(&asked).path, &[80]);
            let found =
                resolve(&asking.path, EMBEDDED, &asked, false).expect("the resolver answers");
            assert!(!found.addresses.is_empty(), "{asked}: {found:?}");
            for address in found.addresses {
                let _ = ask_one(&asking.path, (Transport::Tcp, SocketAddr::new(address, 80)));
            }
        }
        let steady = stage.traces();
        stage.daemon.kill();
        timed("the daemon started again", || stage.daemon.restart());
        stage.is_as(&steady);
        timed("all removed", || {
            for container in 0..containers {
                stage.delete(&format!("/containers/c{container}?force=1"));
            }
            for index in 0..networks {
                stage.delete(&format!("/networks/n{index}"));
            }
        });
        stage.is_as(&before);
    });
}

#[test]
fn a_thousand_ports() {
    with(Client::Hull, &[], |stage| {
        stage.line("network create --ipv6 many");
        let before = stage.traces();
        let create = |name: &str, ports: &dyn Fn(u16) -> (u16, u16)| {
            let binding = |index| {
                let (own, host) = ports(index);
                (
                    format!("{own}/tcp"),
                    json!([{"HostPort": host.to_string()}]),
                )
            };
            let bindings: Map<String, Value> = (0..1000).map(binding).collect();
            let exposed: Map<String, Value> = bindings
                .keys()
                .map(|key| (key.clone(), json!({})))
                .collect();
            stage.post(
                &format!("/containers/create?name={name}"),
                &json!({"Image": "busybox", "Cmd": ["sleep", "1000000"], "StopTimeout": 0, "ExposedPorts": exposed,
                    "HostConfig": {"NetworkMode": "many", "PortBindings": bindings}}),
            );
        };
        let outside = stage.layout.outside.path();
        let check = |name: &str, ports: &dyn Fn(u16) -> (u16, u16)| {
            let asked = [0, 499, 999].map(ports);
            let _server = Echo::start(&stage.place(name).path, &asked.map(|(own, _)| own));
            for (_, host) in asked {
                for address in HOST {
                    let seen = ask_one(&outside, (Transport::Tcp, SocketAddr::new(address, host)));
                    assert!(OUTSIDE.contains(&seen), "{seen}");
                }
            }
        };
        let range = |index| (20_000 + index, 20_000 + index);
        let scattered = |index| (1_000 + index, 30_001 + 2 * index);
        create("none", &range);
        timed(
            "a container with a thousand ports in one range started",
            || {
                stage.post("/containers/none/start", &Value::Null);
            },
        );
        check("none", &range);
        let more = stage.traces().difference(&before).count();
        assert!(
            more < 100,
            "a range is one rule, but there are {more} lines more"
        );
        stage.delete("/containers/none?force=1");
        stage.is_as(&before);
        create("scattered", &scattered);
        timed(
            "a container with a thousand ports one by one started",
            || {
                stage.post("/containers/scattered/start", &Value::Null);
            },
        );
        check("scattered", &scattered);
        timed("it was removed", || {
            stage.delete("/containers/scattered?force=1")
        });
        stage.is_as(&before);
    });
}
