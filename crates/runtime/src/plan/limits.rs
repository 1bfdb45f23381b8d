//! Resource limits by name.

use crate::error::{Error, said};

/// Limits of setrlimit(2) by number (`asm-generic/resource.h`; the same on every architecture we build for).
const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// The number of a limit.
pub(crate) fn number(name: &str) -> Result<u32, Error> {
    let number = NAMES.iter().position(|known| *known == name);
    number
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| said(format!("wrong rlimit value: {name}")))
}
