//! Which right a request needs, and what its path names.

use http::Method;

/// What the `{}` of a route's pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Nothing, or what the handler itself keeps to the scope: lists, and what bodies and queries name.
    Handled,
    /// A container.
    Container,
    /// A process in a container.
    Exec,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// Things of one kind, chosen by filters: those of the grant's labels are added. Not with a scope of images.
    Labelled,
    /// More than any scope: only grants without one have it.
    Whole,
}

/// A right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) noun: &'static str,
    pub(super) verb: &'static str,
    pub(super) subject: Subject,
}

/// What clients ask before anything else; any socket answers it.
pub(super) fn is_greeting(pattern: &str) -> bool {
    matches!(pattern, "/_ping" | "/version" | "/{}")
}

/// The right that a request needs. `None` is what no scoped socket gives: builds, swarm, plugins, logging in, the host's own matters.
pub(super) fn needed(method: &Method, pattern: &str) -> Option<Right> {
    let right = |noun, verb, subject| {
        Some(Right {
            noun,
            verb,
            subject,
        })
    };
    match pattern.split('/').nth(1)? {
        "containers" | "exec" => {
            let (verb, subject) = of_containers(method, pattern)?;
            right("containers", verb, subject)
        }
        "images" | "commit" => {
            let (verb, subject) = of_images(method, pattern)?;
            right("images", verb, subject)
        }
        "networks" => {
            let (verb, subject) = of_networks(method, pattern)?;
            right("networks", verb, subject)
        }
        "volumes" => {
            let (verb, subject) = of_volumes(method, pattern)?;
            right("volumes", verb, subject)
        }
        "info" => right("system", "info", Subject::Handled),
        "system" => right("system", "df", Subject::Whole),
        _ => None,
    }
}

fn of_containers(method: &Method, pattern: &str) -> Option<(&'static str, Subject)> {
    use Subject::{Container, Exec, Handled, Labelled};
    let verb = match (method.as_str(), pattern) {
        ("GET", "/containers/json") => return Some(("list", Handled)),
        ("POST", "/containers/create") => return Some(("create", Handled)),
        ("POST", "/containers/prune") => return Some(("prune", Labelled)),
        (_, "/exec/{}/start" | "/exec/{}/resize" | "/exec/{}/json") => return Some(("exec", Exec)),
        ("GET", "/containers/{}/json") => "inspect",
        ("POST", "/containers/{}/start") => "start",
        ("POST", "/containers/{}/stop") => "stop",
        ("POST", "/containers/{}/restart") => "restart",
        ("POST", "/containers/{}/kill") => "kill",
        ("POST", "/containers/{}/pause" | "/containers/{}/unpause") => "pause",
        ("POST", "/containers/{}/update") => "update",
        ("POST", "/containers/{}/rename") => "rename",
        ("POST", "/containers/{}/wait") => "wait",
        ("POST", "/containers/{}/attach" | "/containers/{}/resize") => "attach",
        ("GET", "/containers/{}/attach/ws") => "attach",
        ("POST", "/containers/{}/exec") => "exec",
        ("GET", "/containers/{}/logs") => "logs",
        ("GET", "/containers/{}/top") => "top",
        ("GET", "/containers/{}/stats") => "stats",
        ("GET", "/containers/{}/changes") => "changes",
        ("GET", "/containers/{}/export") => "export",
        (_, "/containers/{}/archive") => "copy",
        ("DELETE", "/containers/{}") => "remove",
        _ => return None,
    };
    Some((verb, Container))
}

fn of_images(method: &Method, pattern: &str) -> Option<(&'static str, Subject)> {
    use Subject::{Handled, Image, Whole};
    Some(match (method.as_str(), pattern) {
        ("GET", "/images/json") => ("list", Handled),
        ("POST", "/images/create") => ("pull", Handled),
        ("POST", "/images/prune") => ("prune", Whole),
        ("GET", "/images/get") => ("save", Whole),
        ("GET", "/images/{}/get") => ("save", Image),
        ("POST", "/images/load") => ("load", Whole),
        ("GET", "/images/{}/json") => ("inspect", Image),
        ("GET", "/images/{}/history") => ("history", Image),
        ("POST", "/images/{}/tag") => ("tag", Image),
        ("POST", "/images/{}/push") => ("push", Image),
        ("DELETE", "/images/{}") => ("remove", Image),
        ("POST", "/commit") => ("commit", Handled),
        _ => return None,
    })
}

fn of_networks(method: &Method, pattern: &str) -> Option<(&'static str, Subject)> {
    use Subject::{Handled, Labelled, Network};
    Some(match (method.as_str(), pattern) {
        ("GET", "/networks" | "/networks/") => ("list", Handled),
        ("POST", "/networks/prune") => ("prune", Labelled),
        ("POST", "/networks/create") => ("create", Handled),
        ("GET", "/networks/{}") => ("inspect", Network),
        ("DELETE", "/networks/{}") => ("remove", Network),
        ("POST", "/networks/{}/connect" | "/networks/{}/disconnect") => ("connect", Network),
        _ => return None,
    })
}

fn of_volumes(method: &Method, pattern: &str) -> Option<(&'static str, Subject)> {
    use Subject::{Handled, Labelled, Volume};
    Some(match (method.as_str(), pattern) {
        ("GET", "/volumes") => ("list", Handled),
        ("POST", "/volumes/prune") => ("prune", Labelled),
        ("POST", "/volumes/create") => ("create", Handled),
        ("GET", "/volumes/{}") => ("inspect", Volume),
        ("DELETE", "/volumes/{}") => ("remove", Volume),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::grant::VERBS;
    use super::*;
    use crate::routes::ROUTES;
    use std::collections::BTreeSet;

    /// A new route of these kinds has to be thought of; all others no grant gives.
    #[test]
    fn every_route_about_objects_is_decided() {
        const NOT_GIVEN: [&str; 3] = [
            "/images/search",
            "/containers/{}/checkpoints",
            "/containers/{}/checkpoints/{}",
        ];
        for route in ROUTES {
            let kind = route.pattern.split('/').nth(1).unwrap();
            let objects = [
                "containers",
                "exec",
                "images",
                "commit",
                "networks",
                "volumes",
            ];
            let of_swarm = route.name.starts_with("swarm::");
            if of_swarm || !objects.contains(&kind) || NOT_GIVEN.contains(&route.pattern) {
                continue;
            }
            assert!(needed(&route.method, route.pattern).is_some(), "{route:?}");
        }
    }

    #[test]
    fn every_right_exists_and_is_of_use() {
        let mut used = BTreeSet::new();
        for route in ROUTES {
            let Some(right) = needed(&route.method, route.pattern) else {
                continue;
            };
            let verbs = VERBS.iter().find(|(noun, _)| *noun == right.noun);
            assert!(verbs.unwrap().1.contains(&right.verb), "{route:?}");
            used.insert((right.noun, right.verb));
        }
        for (noun, verbs) in VERBS {
            for verb in *verbs {
                let told = *verb == "events";
                assert!(told || used.contains(&(*noun, *verb)), "{noun}:{verb}");
            }
        }
    }

    #[test]
    fn what_rules_the_daemon_is_never_given() {
        for route in ROUTES {
            let kind = route.pattern.split('/').nth(1).unwrap();
            let of_the_host = [
                "hull", "build", "session", "grpc", "swarm", "plugins", "auth", "debug",
            ];
            if of_the_host.contains(&kind) {
                assert_eq!(needed(&route.method, route.pattern), None, "{route:?}");
            }
        }
    }
}
