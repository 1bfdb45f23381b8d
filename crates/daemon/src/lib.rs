//! The daemon: HTTP in, engine calls out.
//!
//! ```text
//! listen ─► server ─► transport ─ hyper ─► app ─► router ─► routes ─► convert ─► engine
//!                         │                                   │
//!                         └───────────── hijack ◄─────────────┘   attach, exec: bytes both ways
//! ```
//!
//! This crate decides status codes, headers and texts of protocol errors, and nothing else: what a
//! container is, is the engine's business.
#![forbid(unsafe_code)]

mod access;
mod app;
mod buildkit;
mod config;
mod convert;
mod daemon;
mod detach;
mod error;
pub mod fuzz;
#[cfg(test)]
mod golden;
mod hijack;
mod human;
mod listen;
mod metrics;
mod notify;
mod pidfile;
mod plugin;
mod query;
mod reframe;
mod reply;
mod request;
mod router;
mod routes;
mod server;
mod target;
mod transport;
mod ui;
mod version;

pub use config::Program;
pub use daemon::run;
