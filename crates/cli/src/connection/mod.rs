//! How the daemon is reached: addresses, TLS, `ssh`.

mod ssh;
mod tls;

pub(crate) use tls::Material;

use crate::failure::Failure;
use hull_api::client::{Client, Dialer, Endpoint, InvalidEndpoint};
use std::env;

/// dockerd's port for TLS.
const TLS_PORT: &str = "2376";

/// The variable `HULL_…` or, where that is not set or the program is called `docker`, `DOCKER_…`. Empty ones are as none.
pub(crate) fn variable(name: &str) -> Option<String> {
    let read = |prefix: &str| {
        let value = env::var(format!("{prefix}_{name}")).ok();
        value.filter(|value| !value.is_empty())
    };
    if crate::command::is_docker() {
        return read("DOCKER");
    }
    read("HULL").or_else(|| read("DOCKER"))
}

/// A daemon's address, and what of TLS it takes.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Option<Material>,
}

impl Place {
    /// Reads an address; `tls` says that TLS is spoken there.
    pub(crate) fn new(host: &str, tls: Option<Material>) -> Result<Self, Failure> {
        let endpoint: Endpoint = host
            .parse()
            .map_err(|error| match error {
                InvalidEndpoint::Scheme(text) => Failure::new(format!(
                    "Failed to initialize: unable to resolve docker endpoint: invalid bind address format: {text}"
                )),
                error => Failure::new(error.to_string()),
            })?;
        let endpoint = match endpoint {
            // Only the port that nobody has written is another one.
            Endpoint::Tcp(authority) if tls.is_some() && !host.contains(authority.as_str()) => {
                let (name, _) = authority.rsplit_once(':').unwrap_or((&authority, ""));
                Endpoint::Tcp(format!("{name}:{TLS_PORT}"))
            }
            other => other,
        };
        Ok(Self { endpoint, tls })
    }

    /// Gives a client the connections that its endpoint needs.
    pub(crate) fn equip(&self, client: Client) -> Result<Client, Failure> {
        let dialer: Option<Dialer> = match (&self.endpoint, &self.tls) {
            (Endpoint::Ssh(place), _) => Some(ssh::dialer(place)?),
            (Endpoint::Tcp(authority), Some(material)) => Some(tls::dialer(authority, material)?),
            _ => None,
        };
        Ok(match dialer {
            Some(dialer) => client.dialing(dialer),
            None => client,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_has_a_port_of_its_own() {
        let place = |host: &str| {
            let place = Place::new(host, Some(Material::default())).unwrap();
            place.endpoint.to_string()
        };
        assert_eq!(place("tcp://h"), "tcp://h:2376");
        assert_eq!(place("tcp://h:2375"), "tcp://h:2375");
        assert_eq!(place("tcp://[::1]:7"), "tcp://[::1]:7");
        let plain = Place::new("tcp://h", None).unwrap();
        assert_eq!(plain.endpoint.to_string(), "tcp://h:2375");
    }
}
