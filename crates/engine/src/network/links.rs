//! The old `--link` on the default bridge: names in `/etc/hosts`, and variables that tell of the other's
//! address, ports and variables, as they are when the container starts.

use super::{BRIDGE, names};
use crate::container::Port;
use crate::container::live::Container;
use crate::container::record::Record;
use crate::{Engine, Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What a container learns of those that it is linked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Linked {
    /// For `/etc/hosts`: address and names.
    pub(crate) hosts: Vec<(IpAddr, String)>,
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
}

/// A link as it is kept: it leads to this container whatever that is called, and when it is no more to
/// one of the name that was asked for.
pub(super) fn settled(id: &str, alias: &str, name: &str) -> String {
    format!("{id}:{alias}:{name}")
}

/// Container, alias, and the name that was asked for.
fn parts(kept: &str) -> (&str, &str, &str) {
    let (id, alias) = names::link(kept);
    match alias.split_once(':') {
        Some((alias, name)) => (id, alias, name),
        None => (id, alias, id),
    }
}

impl Engine {
    /// The links of a container as dockerd shows them.
    pub(crate) fn shown_links(&self, record: &Record) -> Vec<String> {
        let shown = record.config.links.iter().map(|kept| {
            let (_, alias, name) = parts(kept);
            let other = self.link_target(kept);
            let name = other.map_or_else(|_| name.to_owned(), |other| other.record().name);
            format!("/{name}:/{}/{alias}", record.name)
        });
        shown.collect()
    }

    fn link_target(&self, kept: &str) -> Result<Arc<Container>> {
        let (id, _, name) = parts(kept);
        self.find(id).or_else(|_| self.find(name))
    }

    /// Looks the links of a container up.
    ///
    /// # Errors
    /// `InvalidInput` and `Conflict` in dockerd's words.
    pub(crate) fn linked(&self, record: &Record) -> Result<Linked> {
        let mut linked = Linked::default();
        for text in &record.config.links {
            let (_, alias, name) = parts(text);
            let other = self.link_target(text).map_err(|error| {
                let text = format!("could not get container for {name}: {}", error.message());
                Error::new(ErrorKind::InvalidInput, text)
            })?;
            let path = format!("/{}/{alias}", record.name);
            self.link(&other, alias, &path, &mut linked)?;
        }
        Ok(linked)
    }

    /// Takes a link away, by its own name: `container/alias`. A container that runs keeps what it was told.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Internal`, as with dockerd, for the name of a container.
    pub async fn unlink(self: &Arc<Self>, name: &str) -> Result<()> {
        let missing = || Error::new(ErrorKind::NotFound, format!("No such container: {name}"));
        let Some((parent, alias)) = name.trim_start_matches('/').split_once('/') else {
            self.find(name)?;
            let text = "Conflict, cannot remove the default link name of the container";
            return Err(Error::new(ErrorKind::Internal, text));
        };
        let container = self.find(parent).map_err(|_| missing())?;
        let _operation = container.operation.lock().await;
        let before = container.read(|record| record.config.links.clone());
        let mut after = before.clone();
        after.retain(|kept| parts(kept).1 != alias);
        if after.len() == before.len() {
            return Err(missing());
        }
        container.change(|record| Arc::make_mut(&mut record.config).links = after);
        let (rows, record) = (self.rows.clone(), container.record());
        let written = crate::blocking(move || rows.put(&record)).await;
        if written.is_err() {
            container.change(|record| Arc::make_mut(&mut record.config).links = before);
        }
        written
    }

    fn link(
        &self,
        other: &Arc<Container>,
        alias: &str,
        path: &str,
        linked: &mut Linked,
    ) -> Result<()> {
        let other = other.record();
        if !other.is_running() {
            let text = format!(
                "Cannot link to a non running container: /{} AS {path}",
                other.name
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let place = other.places().get(BRIDGE);
        let address = place.and_then(|place| place.address.parse::<IpAddr>().ok());
        let Some(address) = address else {
            let text = format!(
                "container {} not attached to default bridge network",
                other.id
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        };
        let mut known = format!("{alias} {}", other.effective.hostname);
        if alias != other.name {
            known = format!("{known} {}", other.name);
        }
        linked.hosts.push((address, known));
        let env = &other.effective.env;
        let ports = &other.effective.exposed_ports;
        linked
            .env
            .extend(variables(alias, path, address, (ports, env)));
        Ok(())
    }
}

/// The variables of one link. Ports that follow one another are told as a range, too.
fn variables(
    alias: &str,
    path: &str,
    address: IpAddr,
    (ports, env): (&BTreeSet<Port>, &[String]),
) -> Vec<String> {
    let alias = alias.replace('-', "_").to_uppercase();
    let mut ports: Vec<&Port> = ports.iter().collect();
    // By number, and TCP before the others of the same number.
    ports.sort_by_key(|port| (port.number, port.protocol != "tcp", port.protocol.clone()));
    let url = |port: &Port| format!("{}://{address}:{}", port.protocol, port.number);
    let prefix = |port: &Port| {
        format!(
            "{alias}_PORT_{}_{}",
            port.number,
            port.protocol.to_uppercase()
        )
    };
    let mut told = Vec::new();
    if let Some(first) = ports.first() {
        told.push(format!("{alias}_PORT={}", url(first)));
    }
    let mut start = 0;
    for (at, port) in ports.iter().enumerate() {
        let name = prefix(port);
        told.push(format!("{name}={}", url(port)));
        told.push(format!("{name}_ADDR={address}"));
        told.push(format!("{name}_PORT={}", port.number));
        told.push(format!("{name}_PROTO={}", port.protocol));
        let continues = ports.get(at + 1).is_some_and(|next| {
            next.protocol == port.protocol && port.number.checked_add(1) == Some(next.number)
        });
        if continues {
            continue;
        }
        if start < at {
            let name = prefix(ports[start]);
            told.push(format!("{name}_START={}", url(ports[start])));
            told.push(format!("{name}_PORT_START={}", ports[start].number));
            told.push(format!("{name}_END={}", url(port)));
            told.push(format!("{name}_PORT_END={}", port.number));
        }
        start = at + 1;
    }
    told.push(format!("{alias}_NAME={path}"));
    let own = env.iter().filter_map(|variable| variable.split_once('='));
    told.extend(
        own.filter(|(name, _)| !matches!(*name, "HOME" | "PATH"))
            .map(|(name, value)| format!("{alias}_ENV_{name}={value}")),
    );
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_kept_with_id_and_name() {
        let kept = settled("0123", "db", "postgres");
        assert_eq!(parts(&kept), ("0123", "db", "postgres"));
        assert_eq!(parts("web"), ("web", "web", "web"));
        assert_eq!(parts("web:w"), ("web", "w", "web"));
    }

    #[test]
    fn variables_are_dockers() {
        let port = |number, protocol: &str| Port {
            number,
            protocol: protocol.to_owned(),
        };
        let ports = BTreeSet::from([port(80, "tcp"), port(77, "tcp")]);
        let env = ["A=b".to_owned(), "PATH=/bin".to_owned()];
        let address = "172.17.0.2".parse().unwrap();
        let told = variables("eng-E3", "/engE4/eng-E3", address, (&ports, &env));
        assert_eq!(
            told,
            [
                "ENG_E3_PORT=tcp://172.17.0.2:77",
                "ENG_E3_PORT_77_TCP=tcp://172.17.0.2:77",
                "ENG_E3_PORT_77_TCP_ADDR=172.17.0.2",
                "ENG_E3_PORT_77_TCP_PORT=77",
                "ENG_E3_PORT_77_TCP_PROTO=tcp",
                "ENG_E3_PORT_80_TCP=tcp://172.17.0.2:80",
                "ENG_E3_PORT_80_TCP_ADDR=172.17.0.2",
                "ENG_E3_PORT_80_TCP_PORT=80",
                "ENG_E3_PORT_80_TCP_PROTO=tcp",
                "ENG_E3_NAME=/engE4/eng-E3",
                "ENG_E3_ENV_A=b",
            ]
        );
        let range = BTreeSet::from([port(80, "tcp"), port(81, "tcp")]);
        let told = variables("x", "/a/x", address, (&range, &[]));
        assert!(told.contains(&"X_PORT_80_TCP_START=tcp://172.17.0.2:80".to_owned()));
        assert!(told.contains(&"X_PORT_80_TCP_PORT_END=81".to_owned()));
    }
}
