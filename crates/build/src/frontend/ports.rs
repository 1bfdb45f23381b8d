//! `EXPOSE`: ports, ranges and protocols.

use crate::dockerfile::{Error, Lines, Linter, Rule};
use std::net::IpAddr;

/// The ports of a word, as an image's config has them.
pub(super) fn ports(word: &str, lines: Lines, linter: &mut Linter) -> Result<Vec<String>, Error> {
    let (ip, host, container) = split(word);
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    let invalid = |why: &str| Error::new(format!("invalid port: {word:?}: {why}"));
    if ports.is_empty() {
        return Err(invalid("no port specified"));
    }
    let lower = match protocol.to_lowercase() {
        none if none.is_empty() => "tcp".to_owned(),
        known if matches!(known.as_str(), "tcp" | "udp" | "sctp") => known,
        _ => return Err(invalid(&format!("invalid proto: {protocol}"))),
    };
    if protocol != protocol.to_lowercase() {
        let message =
            format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
        linter.warn(Rule::ExposeProtoCasing, lines, message);
    }
    if !ip.is_empty() || !host.is_empty() {
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
        );
        linter.warn(Rule::ExposeInvalidFormat, lines, message);
    }
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
    let bare = bare.unwrap_or(&ip);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(Error::new(format!("invalid IP address: {bare}")));
    }
    let (first, last) =
        range(ports).ok_or_else(|| Error::new(format!("invalid containerPort: {ports}")))?;
    if !host.is_empty() {
        let (low, high) =
            range(host).ok_or_else(|| Error::new(format!("invalid hostPort: {host}")))?;
        if last - first != high - low && last != first {
            return Err(Error::new(format!(
                "invalid ranges specified for container and host Ports: {ports} and {host}"
            )));
        }
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{lower}"))
        .collect())
}

/// Address, port of the host, and the rest.
fn split(word: &str) -> (String, &str, &str) {
    let parts: Vec<&str> = word.split(':').collect();
    match parts.as_slice() {
        [container] => (String::new(), "", container),
        [host, container] => (String::new(), host, container),
        [ip @ .., host, container] => (ip.join(":"), host, container),
        [] => (String::new(), "", ""),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_and_refused_as_buildkit_does() {
        let read = |word| ports(word, Lines::default(), &mut Linter::default());
        assert_eq!(read("80").unwrap(), ["80/tcp"]);
        assert_eq!(read("80-82/UDP").unwrap(), ["80/udp", "81/udp", "82/udp"]);
        assert_eq!(read("[::1]:90:80").unwrap(), ["80/tcp"]);
        let refused = |word| read(word).unwrap_err().message;
        assert_eq!(refused("x"), "invalid containerPort: x");
        assert_eq!(
            refused("80/icmp"),
            "invalid port: \"80/icmp\": invalid proto: icmp"
        );
        assert_eq!(refused("/tcp"), "invalid port: \"/tcp\": no port specified");
        assert_eq!(refused("82-80"), "invalid containerPort: 82-80");
        assert_eq!(refused("x:1:80"), "invalid IP address: x");
        assert_eq!(refused("99999"), "invalid containerPort: 99999");
        let mut linter = Linter::default();
        ports("1:80/TCP", Lines::default(), &mut linter).unwrap();
        assert_eq!(linter.warnings.len(), 2);
    }
}
