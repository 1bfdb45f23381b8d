//! `--docker host=…,ca=…`: the address of a context as it is typed.

use super::store::{self, Address, DEFAULT, Files, TLS_FILES};
use crate::context::Cli;
use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::Path;

/// What the flag must look like.
pub(super) fn check(text: &str) -> Result<(), String> {
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        if !pair.contains('=') {
            return Err(format!("{pair} must be formatted as key=value"));
        }
    }
    Ok(())
}

/// The pairs of all the flags.
pub(super) fn pairs(typed: &[String]) -> BTreeMap<&str, &str> {
    let pairs = typed.iter().flat_map(|text| text.split(','));
    pairs.filter_map(|pair| pair.split_once('=')).collect()
}

/// The address and the files of TLS that the pairs ask for.
pub(super) fn read(cli: &Cli, pairs: &BTreeMap<&str, &str>) -> Result<(Address, Files), Failure> {
    let failed =
        |what: String| Failure::new(format!("unable to create docker endpoint config: {what}"));
    const KNOWN: &[&str] = &["from", "host", "ca", "cert", "key", "skip-tls-verify"];
    if let Some(key) = pairs.keys().find(|key| !KNOWN.contains(key)) {
        return Err(failed(format!("unrecognized config key: {key}")));
    }
    let value = |key: &str| pairs.get(key).copied().unwrap_or_default();
    let from = value("from");
    if !from.is_empty() {
        return copied(cli, from);
    }
    let host = value("host");
    let skip = match value("skip-tls-verify") {
        "" => false,
        text => text.parse().map_err(|_| {
            let reason = format!("strconv.ParseBool: parsing \"{text}\": invalid syntax");
            failed(format!("skip-tls-verify: {reason}"))
        })?,
    };
    let mut files = Files::new();
    for (key, file) in TLS_FILES {
        let path = value(key);
        if path.is_empty() {
            continue;
        }
        let bytes = store::read(Path::new(path)).map_err(|error| {
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            failed(format!("open {path}: {reason}"))
        })?;
        files.insert((*file).to_owned(), bytes);
    }
    if files.contains_key("cert.pem") != files.contains_key("key.pem") {
        return Err(failed(
            "a certificate needs its key, and a key its certificate".to_owned(),
        ));
    }
    let address = Address {
        host: host.to_owned(),
        skip_tls_verify: skip,
    };
    Ok((address, files))
}

/// The address of another context.
pub(super) fn copied(cli: &Cli, from: &str) -> Result<(Address, Files), Failure> {
    let store = cli.contexts();
    if from == DEFAULT {
        return Ok((cli.default_address(), Files::new()));
    }
    Ok((store.get(from)?.address(), store.tls(from)?))
}
