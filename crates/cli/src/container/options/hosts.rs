//! `--add-host`, `--dns`, `--dns-search`: names and addresses.

use std::net::IpAddr;

/// `--add-host`: `name:address` or `name=address`, where `host-gateway` is an address too.
pub(super) fn check_host(text: &str) -> Result<(), String> {
    let bad = || format!("bad format for add-host: \"{text}\"");
    let (name, address) = split_host(text).ok_or_else(bad)?;
    if name.is_empty() || name.contains(':') {
        return Err(bad());
    }
    if address == "host-gateway" || bare(address).trim().parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(format!(
        "invalid IP address in add-host: \"{}\"",
        bare(address)
    ))
}

/// `name:address` as the API has it: `=` becomes `:`, brackets go.
pub(super) fn host(text: &str) -> String {
    match split_host(text) {
        Some((name, address)) => format!("{name}:{}", bare(address)),
        None => text.to_owned(),
    }
}

fn split_host(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').or_else(|| text.split_once(':'))
}

fn bare(address: &str) -> &str {
    let inner = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.filter(|inner| !inner.is_empty()).unwrap_or(address)
}

/// An address, without more.
pub(super) fn check_ip(text: &str) -> Result<(), String> {
    match text.trim().parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// An address as it is usually written.
pub(super) fn ip(text: &str) -> String {
    text.trim()
        .parse::<IpAddr>()
        .map_or_else(|_| text.to_owned(), |ip| ip.to_string())
}

/// `--dns-search`: a domain, or `.` for none.
pub(super) fn check_domain(text: &str) -> Result<(), String> {
    let domain = text.trim();
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let labels = domain.strip_suffix('.').unwrap_or(domain);
    let fits = domain.len() < 255
        && domain.bytes().any(|b| b.is_ascii_alphabetic())
        && labels.split('.').all(label);
    if domain == "." || fits {
        Ok(())
    } else {
        Err(format!("{domain} is not a valid domain"))
    }
}
