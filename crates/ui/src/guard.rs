//! Who may ask for what.
//!
//! A browser that has the page open also has strangers' pages open, which can make it send requests here. What
//! keeps them out:
//!
//! - the token is no cookie: browsers send cookies to every port of a host, also to one that a container has
//!   published, and with requests that other pages make. The page keeps the token in its own `sessionStorage`, which
//!   belongs to one scheme, host and port, and puts it into a header, which another page's request cannot have;
//! - `Host` must name this machine's loopback: a stranger's name that is made to mean 127.0.0.1 (DNS rebinding) is
//!   told by it;
//! - `Origin` and `Sec-Fetch-Site`, where a browser sends them, must say that the page itself asks.

use crate::assets::{self, Asset};
use crate::token::Token;
use std::net::IpAddr;

/// What replies to the page carry besides their own headers. Scripts and styles come from files of the page only, nothing
/// is loaded from elsewhere, and no other page can show this one in a frame.
pub const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// What paths of the API begin with on the page's listener.
pub const API: &str = "/api/";
/// The subprotocol of the page's websockets, for which browsers let no header be set: the token is offered as another one.
pub const PROTOCOL: &str = "hull";
const TOKEN_PROTOCOL: &str = "hull.token.";

/// What of a request matters here; header values that are not there are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `Sec-WebSocket-Protocol`.
    pub protocols: Option<&'a str>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A file of the page.
    Asset(&'static Asset),
    /// The API may answer.
    Api,
    /// It is refused: a status code, and why.
    Refused(u16, &'static str),
}

/// Judges a request.
#[must_use]
pub fn judge(ask: &Ask<'_>, token: &Token) -> Verdict {
    let Some(host) = ask.host.filter(|host| is_loopback(host)) else {
        return Verdict::Refused(
            421,
            "the page is served to this machine only: ask for 127.0.0.1 or localhost, through ssh -L from elsewhere",
        );
    };
    let own_origin = |origin: &str| origin.strip_prefix("http://") == Some(host);
    let own_site = |site: &str| matches!(site, "same-origin" | "none");
    let is_api = ask.path.starts_with(API);
    // Whoever follows a link to the page comes from another site.
    let strange_site = ask.fetch_site.is_some_and(|site| !own_site(site)) && is_api;
    if ask.origin.is_some_and(|origin| !own_origin(origin)) || strange_site {
        return Verdict::Refused(403, "another page asked");
    }
    if is_api {
        return match given(ask).is_some_and(|given| token.is(given)) {
            true => Verdict::Api,
            false => Verdict::Refused(
                401,
                "the token is missing or wrong: open the address that the daemon has logged",
            ),
        };
    }
    match assets::find(ask.path) {
        Some(_) if !matches!(ask.method, "GET" | "HEAD") => Verdict::Refused(405, "only GET"),
        Some(asset) => Verdict::Asset(asset),
        None => Verdict::Refused(404, "page not found"),
    }
}

/// The token that a request brings.
fn given<'a>(ask: &Ask<'a>) -> Option<&'a str> {
    let offered = || {
        ask.protocols?
            .split(',')
            .find_map(|one| one.trim().strip_prefix(TOKEN_PROTOCOL))
    };
    match ask.authorization {
        Some(value) => value.strip_prefix("Bearer "),
        None => offered(),
    }
}

/// Whether a `Host` means this machine for sure, with any port: a forwarded one has another number.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let address = bare.unwrap_or(name).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new([7; crate::token::BYTES])
    }

    fn verdict(change: impl FnOnce(&mut Ask<'_>)) -> Verdict {
        let authorization = format!("Bearer {}", token().reveal());
        let mut ask = Ask {
            method: "POST",
            path: "/api/containers/x/stop",
            host: Some("127.0.0.1:8080"),
            origin: Some("http://127.0.0.1:8080"),
            fetch_site: Some("same-origin"),
            authorization: None,
            protocols: None,
        };
        ask.authorization = Some(&authorization);
        // The borrow ends with the closure's work.
        let mut ask: Ask<'_> = ask;
        change(&mut ask);
        judge(&ask, &token())
    }

    fn status(verdict: Verdict) -> u16 {
        match verdict {
            Verdict::Refused(status, _) => status,
            _ => 200,
        }
    }

    #[test]
    fn the_page_itself_may() {
        assert_eq!(verdict(|_| {}), Verdict::Api);
        // A script of the user's, which sends no headers of a browser.
        assert_eq!(
            verdict(|ask| (ask.origin, ask.fetch_site) = (None, None)),
            Verdict::Api
        );
        for host in [
            "localhost:9",
            "LOCALHOST",
            "127.1.2.3:8080",
            "[::1]:8080",
            "[::1]",
        ] {
            let origin = format!("http://{host}");
            let seen = judge(
                &Ask {
                    host: Some(host),
                    origin: Some(&origin),
                    method: "GET",
                    path: "/",
                    ..Ask::default()
                },
                &token(),
            );
            assert!(matches!(seen, Verdict::Asset(_)), "{host}: {seen:?}");
        }
    }

    #[test]
    fn without_the_token_there_are_only_the_pages_files() {
        assert_eq!(status(verdict(|ask| ask.authorization = None)), 401);
        assert_eq!(
            status(verdict(|ask| ask.authorization = Some("Bearer "))),
            401
        );
        assert_eq!(
            status(verdict(|ask| ask.authorization = Some("Basic x"))),
            401
        );
        assert_eq!(
            status(verdict(|ask| ask.protocols = Some("hull, hull.token.0"))),
            200
        );
        let offered = format!("hull, hull.token.{}", token().reveal());
        let socket = |protocols: &str| {
            status(judge(
                &Ask {
                    method: "GET",
                    path: "/api/hull/exec/x/ws",
                    host: Some("localhost"),
                    protocols: Some(protocols),
                    ..Ask::default()
                },
                &token(),
            ))
        };
        assert_eq!(
            (
                socket(&offered),
                socket("hull, hull.token.0"),
                socket("hull")
            ),
            (200, 401, 401)
        );
        assert!(matches!(
            verdict(|ask| (ask.method, ask.path, ask.authorization) = ("GET", "/app.js", None)),
            Verdict::Asset(_)
        ));
        assert_eq!(status(verdict(|ask| ask.path = "/")), 405);
        for path in [
            "/containers/json",
            "/api",
            "/../etc/passwd",
            "",
            "/v1.51/api/",
        ] {
            assert_eq!(status(verdict(|ask| ask.path = path)), 404, "{path}");
        }
    }

    #[test]
    fn strangers_pages_are_refused_even_with_the_token() {
        for origin in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:8081",
            "https://127.0.0.1:8080",
            "",
        ] {
            assert_eq!(
                status(verdict(|ask| ask.origin = Some(origin))),
                403,
                "{origin}"
            );
        }
        for site in ["cross-site", "same-site", ""] {
            assert_eq!(
                status(verdict(|ask| ask.fetch_site = Some(site))),
                403,
                "{site}"
            );
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "10.0.0.1:8080",
            "",
            "0.0.0.0",
            "[::]",
            "localhost.",
        ] {
            assert_eq!(status(verdict(|ask| ask.host = Some(host))), 421, "{host}");
        }
        assert_eq!(status(verdict(|ask| ask.host = None)), 421);
    }
}
