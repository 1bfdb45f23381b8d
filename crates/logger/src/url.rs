//! Addresses, read and refused as Go's `net/url` does.

/// An address in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    /// What stands before `:`; empty when nothing does.
    pub(crate) scheme: String,
    /// Host and port.
    pub(crate) host: String,
    /// The path, its escapes undone.
    pub(crate) path: String,
    /// Whether there is more: `?…`, `#…`.
    pub(crate) more: bool,
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// Go's text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|why| format!("parse {text:?}: {why}"))
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, !query.is_empty()),
            None => (rest, false),
        };
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            more: query || !fragment.is_empty(),
            ..Self::default()
        };
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                return Ok(url); // opaque: neither host nor path
            }
            if rest
                .split('/')
                .next()
                .is_some_and(|part| part.contains(':'))
            {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        let mut path = rest;
        if let Some(after) = rest.strip_prefix("//")
            && (!scheme.is_empty() || !rest.starts_with("///"))
        {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, after) = after.split_at(end);
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            check_host(host)?;
            host.clone_into(&mut url.host);
            path = after;
        }
        url.path = unescaped(path)?;
        Ok(url)
    }

    /// The host without the port, and without brackets.
    pub(crate) fn host_name(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        self.host
            .rsplit_once(':')
            .map_or(&self.host, |(host, _)| host)
    }

    /// The port, empty when there is none.
    pub(crate) fn port(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((_, port)) if !port.contains(']') => port,
            _ => "",
        }
    }
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<(), String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port
        .strip_prefix(':')
        .map(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if !port.is_empty() && digits != Some(true) {
        return Err(format!("invalid port {port:?} after host"));
    }
    let odd = host.chars().find(|c| {
        c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.~!$&'()*+,;=:[]<>\"".contains(*c)
    });
    match odd {
        Some('%') => Err(format!(
            "invalid URL escape {:?}",
            &host[host.find('%').unwrap_or(0)..]
        )),
        Some(odd) => Err(format!(
            "invalid character {:?} in host name",
            odd.to_string()
        )),
        None => Ok(()),
    }
}

fn unescaped(path: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = after
            .get(..2)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(value) = value else {
            let shown = String::from_utf8_lossy(&after[..after.len().min(2)]).into_owned();
            return Err(format!("invalid URL escape {:?}", format!("%{shown}")));
        };
        bytes.push(value);
        rest = &after[2..];
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_and_refused_as_go_does() {
        let url = Url::parse("tcp+tls://[::1]:65/a%20b").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.host_name(), url.port()),
            ("tcp+tls", "::1", "65")
        );
        assert_eq!(url.path, "/a b");
        assert_eq!(Url::parse("unix:///run/x").unwrap().path, "/run/x");
        assert_eq!(Url::parse("foo:123").unwrap().scheme, "foo");
        assert_eq!(Url::parse("foo").unwrap().scheme, "");
        let refused = |text: &str| Url::parse(text).unwrap_err();
        for (text, why) in [
            ("udp://[::1", "missing ']' in host"),
            ("udp://a:b:c", "invalid port \":c\" after host"),
            ("udp://a b", "invalid character \" \" in host name"),
            ("%zz", "invalid URL escape \"%zz\""),
            (":foo", "missing protocol scheme"),
            ("1:2", "first path segment in URL cannot contain colon"),
        ] {
            assert_eq!(refused(text), format!("parse {text:?}: {why}"));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String) {
            let _ = Url::parse(&text).map(|url| (url.host_name().len(), url.port().len()));
        }
    }
}
