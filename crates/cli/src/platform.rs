//! Platforms as users write them.

use crate::failure::Failure;

/// Names that alone mean an operating system, as Go calls them.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];
/// Names that alone mean an architecture.
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

/// A platform (`os[/arch[/variant]]`, or an architecture alone) as the API has it with archives and
/// pushes: JSON; empty stays empty.
///
/// # Errors
/// What is no platform, in Docker's words.
pub(crate) fn json(text: &str) -> Result<String, Failure> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let invalid = |why: &str| Failure::new(format!("invalid platform: {why}: invalid argument"));
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 {
        let why = format!("{text:?}: cannot parse platform specifier");
        return Err(invalid(&why));
    }
    let fits = |part: &&&str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        !part.is_empty() && part.bytes().all(allowed)
    };
    if let Some(part) = parts.iter().find(|part| !fits(part)) {
        return Err(invalid(&format!(
            "{part:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\""
        )));
    }
    let first = parts[0].to_ascii_lowercase();
    let os = if first == "macos" { "darwin" } else { &first };
    let (os, (architecture, variant)) = match parts.as_slice() {
        [_] if SYSTEMS.contains(&os) => (os, normalized(std::env::consts::ARCH, "")),
        [_] => {
            let found = normalized(os, "");
            if !ARCHITECTURES.contains(&found.0.as_str()) {
                let why = format!("{text:?}: unknown operating system or architecture");
                return Err(invalid(&why));
            }
            ("linux", found)
        }
        [_, architecture, rest @ ..] => {
            let variant = rest.first().copied().unwrap_or_default();
            (os, normalized(architecture, variant))
        }
        [] => return Ok(String::new()),
    };
    let mut platform = serde_json::json!({"architecture": architecture, "os": os});
    if !variant.is_empty() {
        platform["variant"] = variant.into();
    }
    Ok(platform.to_string())
}

/// Go's names for an architecture and its variant.
fn normalized(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8") => ("arm64", "v8"),
        ("aarch64", variant) => ("arm64", variant),
        ("i386" | "i686" | "x86", variant) => ("386", variant),
        ("armhf", "") => ("arm", "v7"),
        ("armel", "") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "7") => ("arm", "v7"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_become_json() {
        assert_eq!(json("").unwrap(), "");
        for (text, expected) in [
            (
                "linux/arm64/v8",
                r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#,
            ),
            (
                "linux/arm/7",
                r#"{"architecture":"arm","os":"linux","variant":"v7"}"#,
            ),
            (
                "armhf",
                r#"{"architecture":"arm","os":"linux","variant":"v7"}"#,
            ),
            ("linux/x86_64", r#"{"architecture":"amd64","os":"linux"}"#),
            ("s390x", r#"{"architecture":"s390x","os":"linux"}"#),
        ] {
            assert_eq!(json(text).unwrap(), expected, "{text}");
        }
        let (own, _) = normalized(std::env::consts::ARCH, "");
        let expected = format!(r#"{{"architecture":"{own}","os":"linux"}}"#);
        assert_eq!(json("linux").unwrap(), expected);
    }

    #[test]
    fn what_is_no_platform_is_refused_in_dockers_words() {
        for (text, expected) in [
            ("foo", "\"foo\": unknown operating system or architecture"),
            ("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier"),
            ("linux/", "\"\" is an invalid component of \"linux/\""),
        ] {
            let error = json(text).unwrap_err().message().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
