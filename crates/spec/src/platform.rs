//! Platforms: operating system, architecture and variant, as the image index names them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A platform such as `linux/arm64/v8` (image-spec, "Image Index", property `platform`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Go's GOARCH: `amd64`, `arm64`, `386`, …
    pub architecture: String,
    /// Go's GOOS: `linux`.
    pub os: String,
    /// The operating system's version; Windows images only.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// The processor's variant, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a string is not a platform. The texts are dockerd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlatform {
    /// One word that is neither.
    #[error("\"{0}\": unknown operating system or architecture: invalid argument")]
    Unknown(String),
    /// A part that is empty or has other characters.
    #[error(
        "\"{part}\" is an invalid component of \"{text}\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component {
        /// The part.
        part: String,
        /// The whole.
        text: String,
    },
    /// A star.
    #[error("\"{0}\": wildcards not yet supported: invalid argument")]
    Wildcard(String),
    /// More than three parts.
    #[error("\"{0}\": cannot parse platform specifier: invalid argument")]
    Parts(String),
}

impl Platform {
    /// The platform this program runs on; of amd64 with the level of the processor's instructions
    /// (x86-64 psABI, "Micro-Architecture Levels") when that is above the first.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", amd64_level()),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            os_version: None,
            variant: variant.map(str::to_owned),
        }
    }

    /// How well an image for `self` serves a host that wants `wanted`: lower is better, `None` is
    /// not at all. An older ARM's or amd64's image runs on a newer one, the closer the better. A
    /// missing variant of arm64 means v8, of arm v7, of amd64 v1.
    #[must_use]
    pub fn distance(&self, wanted: &Self) -> Option<u8> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let variant = |p: &Self| match (p.architecture.as_str(), p.variant.as_deref()) {
            ("arm64", None) => "v8".to_owned(),
            ("arm", None) => "v7".to_owned(),
            ("amd64", None) => "v1".to_owned(),
            (_, variant) => variant.unwrap_or_default().to_owned(),
        };
        let (have, want) = (variant(self), variant(wanted));
        let graded = matches!(self.architecture.as_str(), "arm" | "arm64" | "amd64");
        let number = |variant: &str| variant.strip_prefix('v')?.parse::<u8>().ok();
        match (number(&have), number(&want)) {
            _ if have == want => Some(0),
            (Some(have), Some(want)) if graded => Some(want.checked_sub(have)?.saturating_add(1)),
            _ if have.is_empty() => Some(1),
            _ => None,
        }
    }
}

/// The level of an x86-64 processor, `None` for the first.
fn amd64_level() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! has {
            ($($feature:tt),+) => { $(std::arch::is_x86_feature_detected!($feature))&&+ };
        }
        let second = has!("cmpxchg16b", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3");
        let third = has!(
            "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe"
        );
        let fourth = has!("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl");
        match (second, third, fourth) {
            (true, true, true) => return Some("v4"),
            (true, true, false) => return Some("v3"),
            (true, false, _) => return Some("v2"),
            _ => {}
        }
    }
    None
}

/// Names that alone mean an operating system.
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

/// Go's names for an architecture and its variant.
fn normalized(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let variant = variant.map(str::to_ascii_lowercase);
    let architecture = architecture.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", Some("8")) => ("arm64", Some("v8")),
        ("aarch64", variant) => ("arm64", variant),
        ("i386" | "i686", variant) => ("386", variant),
        ("armhf", None) => ("arm", Some("v7")),
        ("armel", None) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("7")) => ("arm", Some("v7")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        (other, variant) => (other, variant),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        if text.contains('*') {
            return Err(InvalidPlatform::Wildcard(text.to_owned()));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 {
            return Err(InvalidPlatform::Parts(text.to_owned()));
        }
        let first = parts.first().copied().unwrap_or_default();
        // `windows(10.0.17763)`: the version is of no use to us.
        let first = match first.split_once('(') {
            Some((os, rest)) if rest.ends_with(')') => os,
            _ => first,
        };
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let mut named = std::iter::once(&first).chain(parts.get(1..).unwrap_or_default());
        if let Some(part) = named.find(|part| !plain(part)) {
            return Err(InvalidPlatform::Component {
                part: (*part).to_owned(),
                text: text.to_owned(),
            });
        }
        let os = match first.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let host = Self::host();
        let (os, (architecture, variant)) = match parts.as_slice() {
            [_] if SYSTEMS.contains(&os.as_str()) => (os, (host.architecture, None)),
            [_] => {
                let found = normalized(&os, None);
                if !ARCHITECTURES.contains(&found.0.as_str()) {
                    return Err(InvalidPlatform::Unknown(text.to_owned()));
                }
                (host.os, found)
            }
            [_, architecture] => (os, normalized(architecture, None)),
            [_, architecture, variant, ..] => (os, normalized(architecture, Some(variant))),
            [] => return Err(InvalidPlatform::Unknown(text.to_owned())),
        };
        Ok(Self {
            architecture,
            os,
            os_version: None,
            variant,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn aliases_become_go_names() {
        assert_eq!(platform("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(platform("aarch64").to_string(), "linux/arm64");
        assert_eq!(platform("linux/arm/v6").to_string(), "linux/arm/v6");
        assert_eq!(platform("LINUX/ARM/7").to_string(), "linux/arm/v7");
        assert_eq!(platform("linux/amd64/v1").to_string(), "linux/amd64");
        assert_eq!(platform("macos").os, "darwin");
        assert_eq!(platform("s390x").to_string(), "linux/s390x");
        assert_eq!(platform("windows(10.0.17763)/amd64").os, "windows");
    }

    #[test]
    fn mistakes_are_told_in_dockerds_words() {
        let text = |text: &str| text.parse::<Platform>().unwrap_err().to_string();
        assert_eq!(
            text("linux/"),
            r#""" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument"#
        );
        assert_eq!(
            text("a/b/c/d"),
            r#""a/b/c/d": cannot parse platform specifier: invalid argument"#
        );
        assert_eq!(
            text("bogus"),
            r#""bogus": unknown operating system or architecture: invalid argument"#
        );
        assert_eq!(
            text("linux/*"),
            r#""linux/*": wildcards not yet supported: invalid argument"#
        );
        assert!(
            "../etc".parse::<Platform>().is_ok(),
            "dots are allowed, it is no path"
        );
    }

    #[test]
    fn the_nearest_variant_wins() {
        let host = platform("linux/arm/v7");
        assert_eq!(platform("linux/arm/v7").distance(&host), Some(0));
        assert!(
            platform("linux/arm/v6").distance(&host) < platform("linux/arm/v5").distance(&host)
        );
        assert_eq!(platform("linux/arm64").distance(&host), None);
        assert_eq!(
            platform("linux/arm64/v8").distance(&platform("linux/arm64")),
            Some(0)
        );
        assert_eq!(
            platform("linux/amd64/v3").distance(&platform("linux/amd64")),
            None
        );
        let (wide, plain) = (platform("linux/amd64/v4"), platform("linux/amd64"));
        assert!(platform("linux/amd64/v3").distance(&wide) < plain.distance(&wide));
        assert_eq!(plain.distance(&plain), Some(0));
        assert!(
            platform("linux/ppc64le")
                .distance(&Platform {
                    variant: Some("x".into()),
                    ..platform("linux/ppc64le")
                })
                .is_some()
        );
    }
}
