//! `--publish` and `--expose`.

use hull_api::container::{Empty, PortBinding};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Ports by `number/protocol`.
pub(super) type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Reads all `--publish`, short and long.
pub(super) fn publish(texts: &[String]) -> Result<Bindings, String> {
    let mut bindings = Bindings::new();
    for text in texts {
        let short = if text.contains('=') {
            long(text)?
        } else {
            text.clone()
        };
        for (port, binding) in short_form(&short)? {
            bindings
                .entry(port)
                .or_insert_with(|| Some(Vec::new()))
                .get_or_insert_default()
                .push(binding);
        }
    }
    Ok(bindings)
}

/// `target=80,published=8080,protocol=tcp` as the short form; other names are passed over, as Docker does.
fn long(text: &str) -> Result<String, String> {
    let mut target = "";
    let mut published = "";
    let mut protocol = "tcp";
    for field in text.split(',') {
        let (name, value) = field
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| {
                format!("invalid publish opts format (should be name=value but got '{field}')")
            })?;
        match name {
            "target" => target = value,
            "published" => published = value,
            "protocol" => protocol = value,
            _ => {}
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// `[ip:][host:]container[/protocol]`, each part possibly a range.
fn short_form(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let (ip, host, container) = split_parts(text);
    let (protocol, container) = split_protocol(container);
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let ip = address(ip)?;
    let (first, last) =
        range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    if let Some((host_first, host_last)) = hosts
        && last - first != host_last - host_first
        && first != last
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    Ok((first..=last)
        .map(|port| {
            let host_port = match hosts {
                None => String::new(),
                // One port of the container may take any of several on the host.
                Some((host_first, host_last)) if first == last && host_first != host_last => {
                    format!("{host_first}-{host_last}")
                }
                Some((host_first, _)) => (host_first + (port - first)).to_string(),
            };
            let binding = PortBinding {
                host_ip: ip.clone(),
                host_port,
            };
            (format!("{port}/{protocol}"), binding)
        })
        .collect())
}

/// An address of the host's, possibly in brackets.
fn address(text: &str) -> Result<String, String> {
    let bare = match text.strip_prefix('[') {
        None => text,
        Some(rest) => match rest.strip_suffix(']') {
            Some(inner) if !inner.contains([']', '[']) => inner,
            Some(_) => {
                return Err(format!(
                    "invalid IP address {text}: address {text}:: unexpected bracket in address"
                ));
            }
            None => {
                return Err(format!(
                    "invalid IP address {text}: address {text}:: missing ']' in address"
                ));
            }
        },
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    Ok(bare.to_owned())
}

/// The protocol and what is before it.
fn split_protocol(text: &str) -> (&str, &str) {
    let mut parts = text.split('/');
    let port = parts.next().unwrap_or_default();
    match parts.next() {
        None | Some("") => ("tcp", port),
        Some(protocol) => (protocol, port),
    }
}

/// Address, port on the host, port in the container; IPv6 addresses have colons of their own.
fn split_parts(text: &str) -> (&str, &str, &str) {
    let Some((front, container)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match front.rsplit_once(':') {
        Some((ip, host)) => (ip, host, container),
        None => ("", front, container),
    }
}

/// A port, or the first and the last of several; errors as Go words them.
fn range(text: &str) -> Result<(u16, u16), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

fn number(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let why = if digits {
        "value out of range"
    } else {
        "invalid syntax"
    };
    let read = text.parse().ok().filter(|_| digits);
    read.ok_or_else(|| format!("strconv.ParseUint: parsing \"{text}\": {why}"))
}

/// Reads all `--expose`, and adds what is published.
pub(super) fn exposed(
    texts: &[String],
    published: &Bindings,
) -> Result<BTreeMap<String, Empty>, String> {
    let mut all: BTreeMap<String, Empty> = published
        .keys()
        .map(|port| (port.clone(), Empty {}))
        .collect();
    for text in texts {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (protocol, ports) = split_protocol(text);
        let (first, last) = range(ports).map_err(|error| {
            format!("invalid range format for --expose: {text}, error: {error}")
        })?;
        all.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
    }
    Ok(all)
}
