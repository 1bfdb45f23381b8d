//! The real `docker compose` on a dozen files as people have them: web servers, databases, caches and
//! workers of Debian's packages.
//!
//! `HULL_TEST_REFERENCE=unix:///run/docker.sock` runs the same against dockerd.
#![forbid(unsafe_code)]

mod options;
mod services;
mod stage;

use hull_tests::host::Host;
use stage::{Project, Stage};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Scenario = (&'static str, fn(&Project<'_>));

/// A file and what must hold of it.
const SCENARIOS: &[Scenario] = &[
    ("stack", services::a_shop_works),
    ("scale", services::several_are_found_by_name),
    ("profiles", services::profiles_choose_services),
    ("sharing", services::namespaces_are_shared),
    ("restart", services::what_ends_is_started_again),
    ("logging", services::what_is_written_can_be_read),
    ("watch", services::changed_files_are_copied),
    ("secrets", options::secrets_and_configs_are_files),
    ("networks", options::addresses_and_names_are_as_asked_for),
    ("volumes", options::volumes_are_mounted),
    ("limits", options::limits_and_rights_hold),
    ("inherit", options::what_the_client_merges_arrives),
];

#[test]
fn compose_files_work() {
    let Some(provisions) = stage::provisions() else {
        return;
    };
    let only = std::env::var("HULL_TEST_SCENARIO").ok();
    let host = Host::start();
    // One daemon for all: the images are large.
    let stage = Stage::set(&host, provisions);
    let mut failed = Vec::new();
    for (name, holds) in SCENARIOS {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let tried = catch_unwind(AssertUnwindSafe(|| holds(&stage.project(name))));
        if tried.is_err() {
            failed.push(*name);
        }
    }
    assert!(
        failed.is_empty(),
        "these compose files do not work: {failed:?}"
    );
}
