//! Platforms as users write them, as the API has them.

use crate::failure::Failure;
use hull_api::client::encoded;
use hull_api::image::Platform;

/// Reads `os[/arch[/variant]]`, or an operating system or architecture alone.
///
/// # Errors
/// What is no platform, in the words of Docker's client.
pub(crate) fn parse(text: &str) -> Result<Platform, Failure> {
    let read = text.parse::<hull_spec::Platform>();
    let read = read.map_err(|error| Failure::new(format!("invalid platform: {error}")))?;
    Ok(Platform {
        architecture: read.architecture,
        os: read.os,
        variant: read.variant.unwrap_or_default(),
    })
}

/// As [`parse`], in JSON; empty stays empty.
///
/// # Errors
/// As [`parse`].
pub(crate) fn json(text: &str) -> Result<String, Failure> {
    if text.is_empty() {
        return Ok(String::new());
    }
    Ok(encoded(&parse(text)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_become_json() {
        assert_eq!(json("").unwrap(), "");
        assert_eq!(
            json("linux/arm/7").unwrap(),
            r#"{"architecture":"arm","os":"linux","variant":"v7"}"#
        );
        assert_eq!(
            json("linux/x86_64").unwrap(),
            r#"{"architecture":"amd64","os":"linux"}"#
        );
        let error = json("foo").unwrap_err().message().unwrap();
        assert!(
            error.contains("invalid platform: \"foo\": unknown operating system or architecture"),
            "{error}"
        );
    }
}
