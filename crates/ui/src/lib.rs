//! The web page of the daemon, without the HTTP: its files, who may ask for what, and the history that its
//! charts are drawn from.
//!
//! ```text
//! browser ──► daemon's listener ──► guard: Host, Origin, token ──┬──► assets: the page's files, for anybody
//!                                                                └──► the API's handlers, with the token only
//! engine's counters ──► meter: rates ──► history: 24 hours in memory and in one file ──► charts
//! ```
#![forbid(unsafe_code)]

pub mod assets;
pub mod guard;
pub mod history;
pub mod meter;
mod small;
pub mod token;
