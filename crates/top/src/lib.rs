//! `hull top`: a daemon's containers at work, and what else it keeps, on the whole screen.
//!
//! ```text
//! terminal ── keys ──►┐                 ┌── commands ──► daemon: requests
//!                     ├──► state ───────┤
//! daemon ── messages ►┘      │          └──► this program: a shell, the end
//!                            ▼
//!                          view ──► terminal, a few times a second and only after a change
//! ```
//!
//! It speaks Docker's API alone, so that it shows dockerd just as well. The state is pure and drawn on buffers,
//! which is how it is tested.
#![forbid(unsafe_code)]

mod daemon;
mod input;
mod message;
mod run;
mod screen;
mod state;
mod text;
mod theme;
mod view;

pub use run::{Ended, Error, Options, run};
