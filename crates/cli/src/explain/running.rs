//! Containers that run: are they healthy, and can they be reached?

use super::facts::Facts;
use super::finding::Finding;
use std::collections::BTreeSet;

/// What is wrong, if anything.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.inspect.state.paused {
        found.push(
            Finding::new(
                "It is paused: nothing in it runs, and whoever connects waits.",
                "",
            )
            .fix(format!("hull unpause {}", facts.name())),
        );
    }
    if facts.inspect.state.restarting || facts.inspect.restart_count > 0 {
        found.push(restarts(facts));
    }
    found.extend(health(facts));
    found.extend(reach(facts));
    found
}

fn restarts(facts: &Facts) -> Finding {
    let policy = &facts.inspect.host_config.restart_policy;
    let count = facts.inspect.restart_count;
    Finding::new(
        format!(
            "It ended and was started again {count} times; the last end was {}.",
            super::exit::code(facts.inspect.state.exit_code)
        ),
        format!("--restart {}", policy.name),
    )
    .fix(super::exit::its_log("its log tells why", facts))
    .fix(format!(
        "to look at it without being started again: hull update --restart no {}",
        facts.name()
    ))
}

fn health(facts: &Facts) -> Option<Finding> {
    let health = facts.inspect.state.health.as_ref()?;
    let last = health.log.iter().flatten().next_back();
    let output = last.map_or("", |result| result.output.trim());
    let code = last.map_or(0, |result| result.exit_code);
    let test = facts.inspect.config.healthcheck.as_ref();
    let test = test.map(|check| check.test.clone()).unwrap_or_default();
    let command = test.join(" ");
    match health.status.as_str() {
        "unhealthy" => {}
        "starting" if health.failing_streak > 0 => {}
        _ => return None,
    }
    let what = format!(
        "Its health check fails: {} times in a row.",
        health.failing_streak
    );
    let finding = Finding::new(what, format!("{command} ended with {code}: {output}"));
    let small = output.to_lowercase();
    let unbegun = small.contains("exec failed");
    Some(
        if small.contains("exceeded timeout") || code == -1 && !unbegun {
            finding.fix("the check takes longer than it may: --health-timeout 30s")
        } else if code == 127 || small.contains("not found") || small.contains("executable file") {
            finding.fix("what the check calls is not in the image: install it, or check with what is there (wget for curl, in Alpine and busybox)")
        } else if unbegun {
            finding.fix(format!(
                "the check could not be started at all; try it by hand: hull exec {} COMMAND",
                facts.name()
            ))
        } else if small.contains("refused") {
            finding
            .fix("nothing listens where the check connects: is it the right port, and 127.0.0.1 rather than a name?")
            .fix("the program may need longer at first: --health-start-period 60s")
        } else {
            finding.fix(format!(
                "try it by hand: hull exec {} COMMAND",
                facts.name()
            ))
        },
    )
}

/// Ports that are meant to be reached, and are not.
fn reach(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let host = &facts.inspect.host_config;
    let published: BTreeSet<u16> = host
        .port_bindings
        .iter()
        .flatten()
        .filter(|(port, _)| !port.ends_with("/udp"))
        .filter_map(|(port, _)| port.split('/').next()?.parse().ok())
        .collect();
    let Some(listeners) = &facts.listeners else {
        return found;
    };
    if host.network_mode == "host" {
        return found;
    }
    for port in &published {
        let mut at = listeners
            .iter()
            .filter(|listener| listener.port == *port)
            .peekable();
        if at.peek().is_none() {
            found.push(silent(facts, *port));
        } else if at.all(|listener| listener.address.is_loopback()) {
            found.push(
                Finding::new(
                    format!("Its program listens at 127.0.0.1:{port} alone, where only the container itself can reach it."),
                    format!("port {port} is published, which leads to the container's address and not to its 127.0.0.1"),
                )
                .fix("have it listen at 0.0.0.0 (or ::): often --host, --bind or HOST in its settings"),
            );
        }
    }
    if published.is_empty() && !listeners.is_empty() {
        found.extend(unpublished(facts));
    }
    found
}

fn silent(facts: &Facts, port: u16) -> Finding {
    let mut others: Vec<String> = facts
        .listeners
        .iter()
        .flatten()
        // The resolver of names is not the container's.
        .filter(|listener| listener.address.to_string() != "127.0.0.11")
        .map(|listener| listener.port.to_string())
        .collect();
    others.sort_unstable();
    others.dedup();
    let rule = match others.as_slice() {
        [] => "no process in it listens at any port".to_owned(),
        ports => format!("its processes listen at {}", ports.join(", ")),
    };
    let finding = Finding::new(
        format!("Port {port} is published, and nothing in the container listens at it."),
        rule,
    );
    match others.first() {
        Some(other) => finding.fix(format!(
            "publish what it listens at: -p …:{other}; or set its port to {port}"
        )),
        None => finding.fix(super::exit::its_log(
            "has it begun yet? its log tells",
            facts,
        )),
    }
}

fn unpublished(facts: &Facts) -> Option<Finding> {
    let exposed = facts.inspect.config.exposed_ports.as_ref()?;
    let port = exposed.keys().next()?;
    let number = port.split('/').next()?;
    Some(
        Finding::new(
            format!("It serves port {port}, which is not published: from other machines it cannot be reached."),
            "EXPOSE says what a port is for, and opens nothing",
        )
        .fix(format!("make it anew with -p {number}:{number}"))
        .fix(format!("who can reach it now: hull network explain {}", facts.name())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::listen::Listener;
    use hull_api::container::{Health, HealthResult};

    fn facts(at: Option<&str>, published: &str) -> Facts {
        let mut facts = Facts::default();
        let listener = at.map(|at| {
            let socket: std::net::SocketAddr = at.parse().unwrap();
            Listener {
                address: socket.ip(),
                port: socket.port(),
            }
        });
        facts.listeners = Some(listener.into_iter().collect());
        facts.inspect.host_config.port_bindings = Some([(published.to_owned(), None)].into());
        facts
    }

    #[test]
    fn where_a_program_listens_decides() {
        for (at, told) in [
            (Some("127.0.0.1:80"), Some("listens at 127.0.0.1:80 alone")),
            (
                Some("0.0.0.0:81"),
                Some("nothing in the container listens at it"),
            ),
            (None, Some("nothing in the container listens at it")),
            (Some("0.0.0.0:80"), None),
            (Some("[::]:80"), None),
        ] {
            let found = findings(&facts(at, "80/tcp"));
            match told {
                Some(told) => assert!(found[0].what.contains(told), "{found:?}"),
                None => assert_eq!(found, []),
            }
        }
        assert_eq!(findings(&facts(None, "53/udp")), []);
    }

    #[test]
    fn a_failing_check_is_read() {
        let mut facts = Facts::default();
        facts.inspect.state.health = Some(Health {
            status: "unhealthy".to_owned(),
            failing_streak: 3,
            log: Some(vec![HealthResult {
                exit_code: 127,
                output: "sh: curl: not found\n".to_owned(),
                ..HealthResult::default()
            }]),
        });
        let found = findings(&facts);
        assert!(
            found[0]
                .rule
                .ends_with("ended with 127: sh: curl: not found"),
            "{found:?}"
        );
        assert!(found[0].fixes[0].contains("not in the image"));
        let log = facts
            .inspect
            .state
            .health
            .as_mut()
            .and_then(|health| health.log.as_mut())
            .unwrap();
        log[0].exit_code = -1;
        log[0].output = "OCI runtime exec failed: exec failed: chdir to cwd failed".to_owned();
        assert!(findings(&facts)[0].fixes[0].contains("could not be started at all"));
    }
}
