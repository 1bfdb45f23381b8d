//! The text of a container's `/etc/hosts` and `/etc/resolv.conf`, as dockerd 28.5 writes them, comments
//! included; only the engine's name in them is ours.
//!
//! dockerd writes both anew at every start of a container, whatever was done to them. While the container
//! runs, a change of its networks changes its own lines in `hosts`, and `resolv.conf` only if it is as it
//! was written.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

/// `/etc/hosts`: localhost, then `extra` (address, names; of `--add-host`, then of links), then the
/// container's own addresses with its names.
#[must_use]
pub fn hosts(own: &[(IpAddr, String)], extra: &[(IpAddr, String)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (address, names) in extra.iter().chain(own) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

/// What a user sets with `--dns`, `--dns-search` and `--dns-option`; empty means the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains; one `.` alone means none at all.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// Whom a container's programs ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The host's servers: the container has the host's network.
    Host,
    /// The host's servers that can be reached from elsewhere: no network, or the default one.
    Reachable {
        /// Whether the container has IPv6.
        ipv6: bool,
    },
    /// The engine ([`crate::dns`]), at 127.0.0.11.
    Engine,
}

/// The host's own file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The servers that systemd-resolved itself asks: resolved.conf(5).
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const RESOLVED: &str = "127.0.0.53";

impl HostFile {
    /// Reads the file that those who ask `asked` are given. Where `/etc/resolv.conf` has nobody but
    /// systemd-resolved, who cannot be reached from elsewhere, that is the file of the servers behind it.
    /// A file that cannot be read counts as empty.
    #[must_use]
    pub fn read(asked: Asked) -> Self {
        let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
        let text = read(RESOLV_CONF);
        let is_resolved_alone = || Parsed::of(&text).servers == [RESOLVED];
        if matches!(asked, Asked::Reachable { .. }) && is_resolved_alone() {
            return Self {
                path: BEHIND_RESOLVED.into(),
                text: read(BEHIND_RESOLVED),
            };
        }
        Self {
            path: RESOLV_CONF.into(),
            text,
        }
    }
}

/// A container's `/etc/resolv.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// What is in it.
    pub text: String,
    /// Whether the user or the host has set the option `ndots`: see [`crate::dns::Sandbox::ndots`].
    pub ndots: bool,
}

/// Used when the host has none that a container can reach, as in Docker.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
const ENGINE: &str = "127.0.0.11";
const NDOTS: &str = "ndots:";

impl ResolvConf {
    /// What the host has, but for what the user says, for programs that ask `asked`.
    #[must_use]
    pub fn new(host: &HostFile, dns: &Dns, asked: Asked) -> Self {
        let mut parsed = Parsed::of(&host.text);
        let overrides = parsed.replace(dns);
        let mut ndots = match has_ndots(&parsed.options) {
            true if dns.options.is_empty() => Some("host"),
            true => Some("override"),
            false => None,
        };
        let is_set = ndots.is_some();
        let mut comments = Vec::new();
        match asked {
            Asked::Host => {}
            Asked::Reachable { ipv6 } => {
                if dns.servers.is_empty() {
                    parsed.servers.retain(|server| is_reachable(server, ipv6));
                }
                if parsed.servers.is_empty() {
                    parsed.servers = FALLBACK.map(str::to_owned).to_vec();
                    comments.push("Used default nameservers.".to_owned());
                }
            }
            Asked::Engine => {
                comments.push(parsed.ask_engine(dns.servers.is_empty()));
                if ndots.is_none() {
                    parsed.options.push(format!("{NDOTS}0"));
                    ndots = Some("internal");
                }
            }
        }
        if !parsed.invalid.is_empty() {
            comments.push(format!(
                "Invalid nameservers: [{}]",
                parsed.invalid.join(" ")
            ));
        }
        comments.push(format!("Overrides: [{}]", overrides.join(" ")));
        comments.extend(ndots.map(|from| format!("Option ndots from: {from}")));
        let kind = match asked {
            Asked::Host => "",
            Asked::Reachable { .. } => " (legacy)",
            Asked::Engine => " (internal resolver)",
        };
        let source = format!("Based on host file: '{}'{kind}", host.path.display());
        comments.insert(0, source);
        Self {
            text: parsed.write(&comments),
            ndots: is_set,
        }
    }
}

/// resolv.conf(5), in parts.
#[derive(Debug, Default)]
struct Parsed {
    servers: Vec<String>,
    invalid: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
    /// Lines that are passed on.
    other: Vec<String>,
}

impl Parsed {
    fn of(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => {
                    let server = words.next().unwrap_or_default();
                    match is_address(&server) {
                        true => found.servers.push(server),
                        false => found.invalid.push(server),
                    }
                }
                // As for the resolver, the last one counts.
                Some("search" | "domain") => found.search = words.collect(),
                Some("options") => found.options.extend(words),
                Some(word) if !word.starts_with(['#', ';']) => found.other.push(line.to_owned()),
                _ => {}
            }
        }
        found
    }

    /// The user's word counts. Tells what it was about.
    fn replace(&mut self, dns: &Dns) -> Vec<&'static str> {
        let mut overrides = Vec::new();
        let parts = [
            (&mut self.servers, &dns.servers, "nameservers"),
            (&mut self.search, &dns.search, "search"),
            (&mut self.options, &dns.options, "options"),
        ];
        for (found, set, name) in parts {
            if !set.is_empty() {
                set.clone_into(found);
                overrides.push(name);
            }
        }
        if self.search == ["."] {
            self.search.clear();
        }
        overrides
    }

    /// Puts the engine in the place of the servers, and tells whom it asks.
    fn ask_engine(&mut self, from_host: bool) -> String {
        let servers = std::mem::replace(&mut self.servers, vec![ENGINE.to_owned()]);
        if servers.is_empty() {
            return "NO EXTERNAL NAMESERVERS DEFINED".to_owned();
        }
        let named = servers.iter().map(|server| match from_host {
            true => format!("host({server})"),
            false => server.clone(),
        });
        format!("ExtServers: [{}]", named.collect::<Vec<_>>().join(" "))
    }

    fn write(&self, comments: &[String]) -> String {
        let mut text = String::from(
            "# Generated by Hull.\n\
             # This file can be edited; Hull will not make further changes once it\n\
             # has been modified.\n\n",
        );
        for server in &self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        for line in &self.other {
            let _ = writeln!(text, "{line}");
        }
        text.push('\n');
        for comment in comments {
            let _ = writeln!(text, "# {comment}");
        }
        text
    }
}

fn has_ndots(options: &[String]) -> bool {
    options.iter().any(|option| option.starts_with(NDOTS))
}

/// An address, of IPv6 also one of a device's own network (`fe80::1%eth0`).
fn is_address(text: &str) -> bool {
    let zoned = |(address, zone): (&str, &str)| {
        !zone.is_empty() && address.parse::<std::net::Ipv6Addr>().is_ok()
    };
    text.parse::<IpAddr>().is_ok() || text.split_once('%').is_some_and(zoned)
}

/// Whether a server of the host's can be reached from a container.
fn is_reachable(server: &str, ipv6: bool) -> bool {
    let address = server
        .split_once('%')
        .map_or(server, |(address, _)| address);
    address
        .parse::<IpAddr>()
        .is_ok_and(|address| !address.is_loopback() && (ipv6 || address.is_ipv4()))
}
