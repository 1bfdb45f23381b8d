//! Hull as a user meets it: every test runs with Hull's own command line and with the real `docker`.
//!
//! `HULL_TEST_REFERENCE=unix:///run/docker.sock` runs the same tests against dockerd.
#![forbid(unsafe_code)]

mod archives;
mod attach_ws;
mod build;
mod build_reach;
mod build_stream;
mod buildx;
mod bundle;
mod create;
mod dropin;
mod events;
mod exec;
mod files;
mod health;
mod images;
mod inspect;
mod lifecycle;
mod login;
mod logs;
mod look;
mod manifest;
mod metrics;
mod network;
mod own_build;
mod page;
mod platforms;
mod push;
mod run;
mod search;
mod terminal;
mod trust;
mod upkeep;
mod volumes;
