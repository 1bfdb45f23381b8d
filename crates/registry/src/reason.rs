//! Go's words for what `reqwest` tells, since Docker's users know (and grep for) those.

use crate::Error;
use std::error::Error as _;
use std::io::ErrorKind;
use url::Url;

/// Makes the error of a request that got no answer.
pub(crate) fn transport(verb: &'static str, url: &Url, error: &reqwest::Error) -> Error {
    let (reason, certificate) = reason(url, error);
    Error::Transport {
        verb,
        url: without_secrets(url),
        reason,
        transient: !certificate,
        connect: error.is_connect(),
    }
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// The words, and whether the connection failed for what the server is (its certificate, its lack
/// of TLS) and not for the moment.
fn reason(url: &Url, error: &reqwest::Error) -> (String, bool) {
    if error.is_timeout() {
        let text = if error.is_connect() {
            format!("dial tcp {}: i/o timeout", authority(url))
        } else {
            "net/http: timeout awaiting response headers".to_owned()
        };
        return (text, false);
    }
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause);
        source = cause.source();
        // An io::Error hides the error in it from the chain when it only wraps it.
        let mut inner = hidden(cause);
        while let Some(error) = inner {
            causes.push(error);
            inner = hidden(error);
        }
    }
    for cause in &causes {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return (tls_reason(tls), true);
        }
    }
    for cause in &causes {
        let Some(io) = cause.downcast_ref::<std::io::Error>() else {
            continue;
        };
        let text = match io.kind() {
            ErrorKind::ConnectionRefused => "connect: connection refused",
            ErrorKind::NetworkUnreachable => "connect: network is unreachable",
            ErrorKind::HostUnreachable => "connect: no route to host",
            ErrorKind::ConnectionReset => {
                return ("read: connection reset by peer".to_owned(), false);
            }
            ErrorKind::UnexpectedEof => return ("EOF".to_owned(), false),
            _ => continue,
        };
        return (format!("dial tcp {}: {text}", authority(url)), false);
    }
    let last = causes
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string);
    if causes
        .iter()
        .any(|cause| cause.to_string().contains("dns error"))
    {
        let host = url.host_str().unwrap_or_default();
        return (format!("dial tcp: lookup {host}: {}", lookup(&last)), false);
    }
    (last, false)
}

fn hidden<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    Some(inner)
}

fn lookup(text: &str) -> &str {
    if text.contains("not known") || text.contains("No address") {
        "no such host"
    } else {
        text.rsplit(": ").next().unwrap_or(text)
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    use rustls::{CertificateError as C, Error as E};
    match error {
        E::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".to_owned(),
        E::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
                .to_owned()
        }
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
                .to_owned()
        }
        E::InvalidCertificate(other) => {
            format!("tls: failed to verify certificate: x509: {other}")
        }
        other => format!("tls: {other}"),
    }
}

fn authority(url: &Url) -> String {
    format!(
        "{}:{}",
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default()
    )
}
