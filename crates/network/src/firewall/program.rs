//! Packet filter and address translation, in one nftables table of our own.
//!
//! ```text
//!  table ip hull
//!    chain nat-<bridge>      postrouting: what leaves the network for elsewhere gets the host's address
//!    chain forward-<bridge>  forward: out and between endpoints yes; in only what belongs to a
//!                            connection that began inside
//! ```
//!
//! The chains carry the bridge's name, and a change flushes and refills these alone, in one
//! transaction: there is no moment without rules, and other bridges' rules are not touched.

use crate::Error;
use crate::error::file;
use ipnet::Ipv4Net;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

/// The name of our table.
pub const TABLE: &str = "hull";
/// Where `nft` is, also for a daemon whose `PATH` has no directories for administrators.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// Makes the rules of a bridge what they should be, whatever they were.
///
/// # Errors
/// [`Error::NftMissing`], or [`Error::Nft`] with the program's own words.
pub fn ensure(subnet: Ipv4Net, bridge: &str) -> Result<(), Error> {
    run(&rules(subnet, bridge))
}

/// Removes the rules of a bridge.
///
/// # Errors
/// As [`ensure`].
pub fn remove(bridge: &str) -> Result<(), Error> {
    // A chain can only be deleted when it exists and is empty: made and emptied first, it always can.
    let mut text = declare(bridge);
    text.push_str(&format!(
        "delete chain ip {TABLE} nat-{bridge}\ndelete chain ip {TABLE} forward-{bridge}\n"
    ));
    run(&text)
}

/// Removes the whole table, all bridges' rules with it.
///
/// # Errors
/// As [`ensure`].
pub fn remove_table() -> Result<(), Error> {
    run(&format!("add table ip {TABLE}\ndelete table ip {TABLE}\n"))
}

/// Both chains, existing and empty.
fn declare(bridge: &str) -> String {
    format!(
        "add table ip {TABLE}\n\
         add chain ip {TABLE} nat-{bridge} {{ type nat hook postrouting priority srcnat; policy accept; }}\n\
         add chain ip {TABLE} forward-{bridge} {{ type filter hook forward priority filter; policy accept; }}\n\
         flush chain ip {TABLE} nat-{bridge}\n\
         flush chain ip {TABLE} forward-{bridge}\n"
    )
}

fn rules(subnet: Ipv4Net, bridge: &str) -> String {
    let mut text = declare(bridge);
    let rule = |chain: &str, rule: String| format!("add rule ip {TABLE} {chain}-{bridge} {rule}\n");
    for line in [
        rule(
            "nat",
            format!("ip saddr {subnet} oifname != \"{bridge}\" masquerade"),
        ),
        rule("forward", format!("iifname \"{bridge}\" accept")),
        rule(
            "forward",
            format!("oifname \"{bridge}\" ct state established,related accept"),
        ),
        rule("forward", format!("oifname \"{bridge}\" drop")),
    ] {
        text.push_str(&line);
    }
    text
}

fn run(text: &str) -> Result<(), Error> {
    for program in PROGRAMS {
        let spawned = Command::new(program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(file("run", program)(error)),
        };
        // Should nft end before it has read everything, its own words say why.
        let _ = child
            .stdin
            .take()
            .map(|mut input| input.write_all(text.as_bytes()));
        let output = child.wait_with_output().map_err(file("run", program))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Nft(words.trim().to_owned()));
    }
    Err(Error::NftMissing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_one_idempotent_transaction() {
        let text = rules("172.17.0.0/16".parse().unwrap(), "hull0");
        assert!(text.starts_with("add table ip hull\n"));
        assert!(!text.contains("delete"));
        assert!(text.contains(
            "add rule ip hull nat-hull0 ip saddr 172.17.0.0/16 oifname != \"hull0\" masquerade\n"
        ));
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("flush"))
                .count(),
            2
        );
    }
}
