//! `--add-host`, `--dns`, `--ip`: names and addresses.

use std::net::IpAddr;

/// `--add-host`: `name:address` or `name=address`, where `host-gateway` is an address too.
pub(super) fn check_host(text: &str) -> Result<(), String> {
    let bad = || format!("bad format for add-host: \"{text}\"");
    let (name, address) = split_host(text).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    if address == "host-gateway" || is_address(address) {
        return Ok(());
    }
    Err(format!("invalid IP address in add-host: \"{address}\""))
}

/// `name:address` as the API has it: `=` becomes `:`, brackets go.
pub(super) fn host(text: &str) -> String {
    match split_host(text) {
        Some((name, address)) => {
            let address = address
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .unwrap_or(address);
            format!("{name}:{address}")
        }
        None => text.to_owned(),
    }
}

fn split_host(text: &str) -> Option<(&str, &str)> {
    match (text.split_once('='), text.split_once(':')) {
        (Some(pair), _) => Some(pair),
        (None, pair) => pair,
    }
}

fn is_address(text: &str) -> bool {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>().is_ok()
}

/// An address, without more.
pub(super) fn check_ip(text: &str) -> Result<(), String> {
    match text.trim().parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_name_and_an_address() {
        for (text, api) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("a=::1", "a:::1"),
            ("a:[::1]", "a:::1"),
            ("a:host-gateway", "a:host-gateway"),
        ] {
            assert_eq!(check_host(text), Ok(()), "{text}");
            assert_eq!(host(text), api);
        }
        for bad in ["a", ":1.2.3.4", "a:b", "a="] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }
}
