//! `--platform` of commands that send it as an object. The daemon is the judge of what it has.

use crate::failure::Failure;
use hull_api::image::Platform;

/// Reads `os[/arch[/variant]]`; a word alone is an operating system or an architecture.
///
/// # Errors
/// More parts than three, or none, in the words of Docker's client.
pub(crate) fn parse(text: &str) -> Result<Platform, Failure> {
    let refused = |why: &str| Failure::new(format!("\"{text}\": {why}: invalid argument"));
    let lower = text.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) || parts.len() > 3 {
        return Err(refused("cannot parse platform specifier"));
    }
    let host = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    let (os, architecture) = match parts.as_slice() {
        ["linux"] => ("linux", host),
        ["macos" | "darwin"] => ("darwin", host),
        ["windows" | "freebsd" | "solaris" | "openbsd" | "netbsd"] => (parts[0], host),
        [architecture] => ("linux", *architecture),
        [os, architecture, ..] => (*os, *architecture),
        [] => return Err(refused("cannot parse platform specifier")),
    };
    let architecture = match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        other => other,
    };
    let variant = parts.get(2).copied().unwrap_or_default();
    let known = [
        "386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x",
    ];
    if parts.len() == 1 && os == "linux" && !known.contains(&architecture) {
        return Err(refused("unknown operating system or architecture"));
    }
    Ok(Platform {
        architecture: architecture.to_owned(),
        os: os.to_owned(),
        variant: if (architecture, variant) == ("amd64", "v1") {
            String::new()
        } else {
            variant.to_owned()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_as_typed() {
        let shown = |text: &str| {
            parse(text)
                .map(|p| format!("{}/{}/{}", p.os, p.architecture, p.variant))
                .map_err(|error| error.message().unwrap_or_default().to_owned())
        };
        assert_eq!(shown("linux/ARM/v7").unwrap(), "linux/arm/v7");
        assert_eq!(shown("s390x").unwrap(), "linux/s390x/");
        assert_eq!(shown("linux/amd64/v1").unwrap(), "linux/amd64/");
        assert_eq!(
            shown("a/b/c/d").unwrap_err(),
            "\"a/b/c/d\": cannot parse platform specifier: invalid argument"
        );
        assert!(
            shown("bogus")
                .unwrap_err()
                .contains("unknown operating system")
        );
    }
}
