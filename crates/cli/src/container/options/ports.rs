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

/// `target=80,published=8080,protocol=tcp` as the short form.
fn long(text: &str) -> Result<String, String> {
    let mut target = "";
    let mut published = "";
    let mut protocol = "tcp";
    for field in text.split(',') {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field {field}"))?;
        match name.trim().to_lowercase().as_str() {
            "target" => target = value,
            "published" => published = value,
            "protocol" => protocol = value,
            "mode" if matches!(value, "ingress" | "host") => {}
            "mode" => return Err(format!("invalid publish mode value: {value}")),
            _ => return Err(format!("invalid field key {name}")),
        }
    }
    if target.is_empty() {
        return Err(format!("missing mandatory field \"target\": {text}"));
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// `[ip:][host:]container[/protocol]`, each part possibly a range.
fn short_form(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let (address, protocol) = split_protocol(text)?;
    let (ip, host, container) = split_parts(address);
    let ip = ip
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(ip);
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(format!("Invalid ip address: {ip}"));
    }
    if container.is_empty() {
        return Err(format!("No port specified: {text}<empty>"));
    }
    let (first, last) =
        range(container).ok_or_else(|| format!("Invalid containerPort: {container}"))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("Invalid hostPort: {host}"))?),
    };
    if let Some((host_first, host_last)) = hosts
        && last - first != host_last - host_first
        && first != last
    {
        return Err(format!(
            "Invalid ranges specified for container and host Ports: {container} and {host}"
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
                host_ip: ip.to_owned(),
                host_port,
            };
            (format!("{port}/{protocol}"), binding)
        })
        .collect())
}

fn split_protocol(text: &str) -> Result<(&str, String), String> {
    let (address, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = if protocol.is_empty() {
        "tcp".to_owned()
    } else {
        protocol.to_lowercase()
    };
    if matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        Ok((address, protocol))
    } else {
        Err(format!("Invalid proto: {protocol}"))
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

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
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
        let (ports, protocol) = split_protocol(text)
            .map_err(|error| format!("invalid range format for --expose: {error}"))?;
        let (first, last) =
            range(ports).ok_or_else(|| format!("invalid range format for --expose: {text}"))?;
        all.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str) -> Result<Vec<String>, String> {
        let bindings = publish(&[text.to_owned()])?;
        Ok(bindings
            .into_iter()
            .flat_map(|(port, bindings)| {
                bindings
                    .unwrap_or_default()
                    .into_iter()
                    .map(move |b| format!("{}|{}|{port}", b.host_ip, b.host_port))
            })
            .collect())
    }

    #[test]
    fn publish_in_all_its_forms() {
        for (text, want) in [
            ("80", vec!["||80/tcp"]),
            ("8080:80", vec!["|8080|80/tcp"]),
            ("127.0.0.1:8080:80/UDP", vec!["127.0.0.1|8080|80/udp"]),
            ("127.0.0.1::80", vec!["127.0.0.1||80/tcp"]),
            ("[::1]:8080:80", vec!["::1|8080|80/tcp"]),
            ("8000-8001:80-81", vec!["|8000|80/tcp", "|8001|81/tcp"]),
            ("8000-8009:80", vec!["|8000-8009|80/tcp"]),
            (
                "published=8080,target=80,protocol=udp",
                vec!["|8080|80/udp"],
            ),
            ("target=80", vec!["||80/tcp"]),
        ] {
            assert_eq!(published(text).unwrap(), want, "{text}");
        }
        for (text, error) in [
            ("foo", "Invalid containerPort: foo"),
            ("x:80", "Invalid hostPort: x"),
            ("300.1.1.1:1:80", "Invalid ip address: 300.1.1.1"),
            ("80/foo", "Invalid proto: foo"),
            ("80:", "No port specified: 80:<empty>"),
            ("70000", "Invalid containerPort: 70000"),
            (
                "1-2:3-5",
                "Invalid ranges specified for container and host Ports: 3-5 and 1-2",
            ),
        ] {
            assert_eq!(published(text).unwrap_err(), error);
        }
    }

    #[test]
    fn expose_takes_ranges() {
        let ports = exposed(&["1-2/udp".to_owned()], &Bindings::new()).unwrap();
        assert_eq!(ports.keys().collect::<Vec<_>>(), ["1/udp", "2/udp"]);
        assert!(exposed(&["x".to_owned()], &Bindings::new()).is_err());
    }
}
