//! Attacks that other runtimes fell for, tried on this one: real containers of a static busybox. Each
//! file is named after the vulnerability whose return it would notice.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests, and what they share"
)]

mod bundle;
mod cve_2019_16884;
mod cve_2019_5736;
mod cve_2021_30465;
mod cve_2024_21626;
mod cve_2025_31133;
mod cve_2025_52565;
mod cve_2025_52881;
