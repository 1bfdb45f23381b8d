//! Limits of processes, as Docker reads them in flags and files: its library go-units.

/// The names of limits: what follows `RLIMIT_` in setrlimit(2), in small letters.
const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Why a text is no limit. The words are go-units'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUlimit {
    /// No `name=value`.
    #[error("invalid ulimit argument: {0}")]
    Argument(String),
    /// A name that there is not.
    #[error("invalid ulimit type: {0}")]
    Name(String),
    /// More than `soft:hard`.
    #[error("too many limit value arguments - {0}, can only have up to two, `soft[:hard]`")]
    Many(String),
    /// No number.
    #[error("strconv.ParseInt: parsing \"{0}\": invalid syntax")]
    Number(String),
    /// No soft limit below a hard one.
    #[error(
        "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {0}"
    )]
    Unlimited(i64),
    /// A soft limit above the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    Above {
        /// The soft one.
        soft: i64,
        /// The hard one.
        hard: i64,
    },
}

/// Reads `name=soft[:hard]` as name, soft and hard limit; -1 is no limit.
///
/// # Errors
/// [`InvalidUlimit`].
pub fn parse_ulimit(text: &str) -> Result<(&str, i64, i64), InvalidUlimit> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| InvalidUlimit::Argument(text.to_owned()))?;
    check_name(name)?;
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| InvalidUlimit::Number(text.to_owned()))
    };
    let (soft, hard) = match values.split_once(':') {
        Some((_, hard)) if hard.contains(':') => {
            return Err(InvalidUlimit::Many(values.to_owned()));
        }
        // The order of the complaints is go-units', too.
        Some((soft, hard)) => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        None => (number(values)?, number(values)?),
    };
    check_values(soft, hard)?;
    Ok((name, soft, hard))
}

/// Checks a limit that was not read from one text.
///
/// # Errors
/// [`InvalidUlimit`].
pub fn check_ulimit(name: &str, soft: i64, hard: i64) -> Result<(), InvalidUlimit> {
    check_name(name)?;
    check_values(soft, hard)
}

fn check_name(name: &str) -> Result<(), InvalidUlimit> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    Err(InvalidUlimit::Name(name.to_owned()))
}

fn check_values(soft: i64, hard: i64) -> Result<(), InvalidUlimit> {
    match (soft, hard) {
        (_, -1) => Ok(()),
        (-1, _) => Err(InvalidUlimit::Unlimited(hard)),
        _ if soft > hard => Err(InvalidUlimit::Above { soft, hard }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        assert_eq!(parse_ulimit("nofile=1024:2048"), Ok(("nofile", 1024, 2048)));
        assert_eq!(parse_ulimit("core=0"), Ok(("core", 0, 0)));
        assert_eq!(parse_ulimit("core=-1"), Ok(("core", -1, -1)));
        assert_eq!(parse_ulimit("core=5:-1"), Ok(("core", 5, -1)));
        for (text, why) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("x=1", "invalid ulimit type: x"),
            (
                "core=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            (
                "core=a:b",
                "strconv.ParseInt: parsing \"b\": invalid syntax",
            ),
            (
                "core=-1:5",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5",
            ),
            (
                "core=3:2",
                "ulimit soft limit must be less than or equal to hard limit: 3 > 2",
            ),
        ] {
            assert_eq!(parse_ulimit(text).unwrap_err().to_string(), why);
        }
    }
}
