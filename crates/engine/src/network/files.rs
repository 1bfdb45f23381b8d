//! The files about the network that every container gets: `resolv.conf`, `hosts`, `hostname`.

use super::links::Linked;
use super::place;
use crate::container::record::Record;
use crate::container::{NetworkMode, Paths};
use crate::{Engine, Error, ErrorKind, Result};
use hull_network::files::{Asked, Dns, HostFile, ResolvConf};
use sha2::Digest as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

fn unwritten(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "could not write the container's files").caused_by(error)
}

fn host(path: &str) -> String {
    fs_err::read_to_string(path).unwrap_or_default()
}

impl Engine {
    /// Writes the files that the engine puts into every container. One that shares another's network has
    /// that one's.
    pub(crate) fn write_files(&self, record: &Record, linked: &Linked) -> Result<Paths> {
        let paths = self.paths(record);
        if matches!(record.config.network, NetworkMode::Container(_)) {
            return Ok(paths);
        }
        let shares_host = record.places().contains_key("host");
        let hosts = if shares_host && record.config.extra_hosts.is_empty() {
            host("/etc/hosts")
        } else {
            self.hosts(record, linked)?
        };
        let resolv_conf = self.resolv_conf(record).text;
        write_resolv_conf(&paths.resolv_conf, &resolv_conf).map_err(unwritten)?;
        fs_err::write(&paths.hosts, hosts).map_err(unwritten)?;
        let hostname = format!("{}\n", record.effective.hostname);
        fs_err::write(&paths.hostname, hostname).map_err(unwritten)?;
        Ok(paths)
    }

    /// Its `resolv.conf`, as it would be written now.
    pub(super) fn resolv_conf(&self, record: &Record) -> ResolvConf {
        let config = &record.config;
        let own = |own: &[String], default: &[String]| {
            if own.is_empty() {
                default.to_vec()
            } else {
                own.to_vec()
            }
        };
        let defaults = &self.networks.config;
        let dns = Dns {
            servers: own(&config.dns, &defaults.dns),
            search: own(&config.dns_search, &defaults.dns_search),
            options: own(&config.dns_options, &defaults.dns_options),
        };
        let asked = if record.places().contains_key("host") {
            Asked::Host
        } else if has_resolver(record) {
            Asked::Engine
        } else {
            let mut addresses = record
                .places()
                .values()
                .flat_map(|place| place::addresses(place));
            Asked::Reachable {
                ipv6: addresses.any(|address| address.is_ipv6()),
            }
        };
        ResolvConf::new(&HostFile::read(asked), &dns, asked)
    }

    fn hosts(&self, record: &Record, linked: &Linked) -> Result<String> {
        let own: Vec<_> = record
            .places()
            .values()
            .flat_map(|place| place::addresses(place))
            .map(|address| (address, own_names(record)))
            .collect();
        let mut extra = Vec::new();
        for entry in &record.config.extra_hosts {
            let bad = || {
                let text = format!("bad format for add-host: \"{entry}\"");
                Error::new(ErrorKind::InvalidInput, text)
            };
            let (name, address) = entry.split_once([':', '=']).ok_or_else(bad)?;
            let addresses = match address {
                "host-gateway" => self.host_gateways()?,
                address => {
                    let plain = address.trim_matches(['[', ']']);
                    vec![plain.parse::<IpAddr>().map_err(|_| bad())?]
                }
            };
            let named = addresses
                .into_iter()
                .map(|address| (address, name.to_owned()));
            extra.extend(named);
        }
        extra.extend(linked.hosts.iter().cloned());
        Ok(hull_network::files::hosts(&own, &extra))
    }

    /// What `host-gateway` stands for: the daemon's setting, or the default bridge's own addresses.
    ///
    /// # Errors
    /// `InvalidInput` where there is no default bridge.
    pub fn host_gateways(&self) -> Result<Vec<IpAddr>> {
        let configured = &self.networks.config.host_gateways;
        if !configured.is_empty() {
            return Ok(configured.clone());
        }
        let bridge = self.networks.predefined(super::BRIDGE).and_then(|bridge| {
            self.networks.ensure_up(&bridge)?;
            Ok(bridge.row())
        });
        let gateways: Vec<IpAddr> = bridge
            .iter()
            .filter_map(|row| row.model.as_ref())
            .flat_map(|model| model.pools.iter().filter_map(|pool| pool.gateway))
            .collect();
        if gateways.is_empty() {
            let text = "unable to derive the IP value for host-gateway";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(gateways)
    }

    /// Changes the files of a running container as its places changed. What somebody has written there in
    /// the meantime stays: of `hosts` the lines of its own addresses change, `resolv.conf` only when it
    /// is as it was written.
    pub(super) fn rewrite_files(&self, before: &Record, now: &Record) {
        let paths = self.paths(now);
        let done = self
            .rewrite_hosts(&paths.hosts, before, now)
            .and_then(|()| self.rewrite_resolv_conf(&paths.resolv_conf, before, now));
        if let Err(error) = done {
            tracing::warn!(container = now.id, %error, "a container's files were not changed");
        }
    }

    fn rewrite_hosts(&self, path: &Path, before: &Record, now: &Record) -> std::io::Result<()> {
        let line = |record: &Record, address: IpAddr| format!("{address}\t{}", own_names(record));
        let lines = |record: &Record| -> Vec<String> {
            let places = record.places().values();
            places
                .flat_map(|place| place::addresses(place))
                .map(|address| line(record, address))
                .collect()
        };
        let (old, new) = (lines(before), lines(now));
        let text = fs_err::read_to_string(path)?;
        let gone =
            |line: &&str| old.iter().any(|old| old == line) && !new.iter().any(|new| new == line);
        let mut changed: String = text
            .lines()
            .filter(|line| !gone(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        for line in new.iter().filter(|line| !old.contains(line)) {
            changed.push_str(line);
            changed.push('\n');
        }
        // In place: the file is mounted in the container.
        fs_err::write(path, changed)
    }

    fn rewrite_resolv_conf(
        &self,
        path: &Path,
        before: &Record,
        now: &Record,
    ) -> std::io::Result<()> {
        if has_resolver(before) == has_resolver(now) {
            return Ok(());
        }
        if !is_as_written(path)? {
            return Ok(());
        }
        write_resolv_conf(path, &self.resolv_conf(now).text)
    }
}

/// Writes a `resolv.conf`, and beside it what it was, as dockerd does.
fn write_resolv_conf(path: &Path, text: &str) -> std::io::Result<()> {
    // The mark first: whoever is killed in between leaves a file that counts as edited, and stays.
    fs_err::write(mark_of(path), digest(text.as_bytes()))?;
    fs_err::write(path, text)
}

/// Whether nobody has edited it. The host's own, which it came from, may be another by now.
fn is_as_written(path: &Path) -> std::io::Result<bool> {
    match fs_err::read_to_string(mark_of(path)) {
        Ok(mark) => Ok(mark == digest(&fs_err::read(path)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn mark_of(resolv_conf: &Path) -> PathBuf {
    resolv_conf.with_extension("conf.hash")
}

fn digest(text: &[u8]) -> String {
    let bytes: [u8; 32] = sha2::Sha256::digest(text).into();
    hull_spec::Digest::from_sha256(&bytes).to_string()
}

/// Whether it asks the engine's resolver: it is in a network that has names.
fn has_resolver(record: &Record) -> bool {
    record
        .places()
        .values()
        .any(|place| place.dns_names.is_some())
}

/// What its own addresses are called in its `hosts`.
fn own_names(record: &Record) -> String {
    let hostname = &record.effective.hostname;
    match record.config.domainname.as_str() {
        "" => hostname.clone(),
        domain => format!("{hostname}.{domain} {hostname}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_resolv_conf_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        for text in ["nameserver 192.0.2.1\n", "nameserver 127.0.0.11\n"] {
            write_resolv_conf(&path, text).unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
            assert!(is_as_written(&path).unwrap());
        }
        fs_err::write(&path, "nameserver 192.0.2.2\n").unwrap();
        assert!(!is_as_written(&path).unwrap());
        // Nobody knows who has written this one.
        fs_err::remove_file(directory.path().join("resolv.conf.hash")).unwrap();
        assert!(!is_as_written(&path).unwrap());
    }
}
