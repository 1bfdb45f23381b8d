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

/// Why a string is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform `{0}`: expected os/arch[/variant], such as linux/amd64")]
pub struct InvalidPlatform(pub String);

impl Platform {
    /// The platform this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
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
    /// not at all. A missing variant of arm64 means v8, and an exact variant beats a missing one.
    #[must_use]
    pub fn distance(&self, wanted: &Self) -> Option<u8> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let default = |p: &Self| match (p.architecture.as_str(), p.variant.as_deref()) {
            ("arm64", None) => "v8".to_owned(),
            ("arm", None) => "v7".to_owned(),
            (_, variant) => variant.unwrap_or_default().to_owned(),
        };
        match (default(self), default(wanted)) {
            (have, want) if have == want => Some(0),
            (have, _) if have.is_empty() => Some(1),
            // An older ARM runs on a newer one, the closer the better.
            (have, want) if self.architecture.starts_with("arm") && have < want => {
                let number = |v: &str| v.trim_start_matches('v').parse::<u8>().unwrap_or(0);
                Some(1 + number(&want).saturating_sub(number(&have)))
            }
            // `amd64/v2` and above need instructions that plain amd64 does not promise.
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |s: &&str| {
            s.starts_with(|c: char| c.is_ascii_alphanumeric())
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(plain) {
            return Err(invalid());
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [one] if *one == "linux" => ("linux", None, None),
            [architecture] => ("linux", Some(*architecture), None),
            [os, architecture] => (*os, Some(*architecture), None),
            [os, architecture, variant] => (*os, Some(*architecture), Some(*variant)),
            _ => return Err(invalid()),
        };
        let host = Self::host();
        let architecture = match architecture {
            None => host.architecture,
            Some("x86_64" | "x86-64") => "amd64".to_owned(),
            Some("aarch64") => "arm64".to_owned(),
            Some("i386" | "i686") => "386".to_owned(),
            Some("armhf") => "arm".to_owned(),
            Some(other) => other.to_owned(),
        };
        Ok(Self {
            architecture,
            os: os.to_owned(),
            os_version: None,
            variant: variant.map(str::to_owned),
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
        assert!("linux//v8".parse::<Platform>().is_err());
        assert!("../etc".parse::<Platform>().is_err());
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
    }
}
