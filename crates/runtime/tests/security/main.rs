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
mod cve_2016_3697;
mod cve_2016_9962;
mod cve_2019_16884;
mod cve_2019_18837;
mod cve_2019_19921;
mod cve_2019_5736;
mod cve_2021_30465;
mod cve_2021_43784;
mod cve_2022_24769;
mod cve_2023_25809;
mod cve_2023_27561;
mod cve_2024_21626;
mod cve_2024_45310;
mod cve_2025_24965;
mod cve_2025_31133;
mod cve_2025_52565;
mod cve_2025_52881;
mod cve_2025_62161;
mod cve_2026_30892;
mod cve_2026_41579;
mod cve_2026_88264;
mod cve_2026_88265;
mod in_a_chroot;
mod state;
