//! Sends a container's output to log servers, as dockerd's drivers `syslog`, `journald`, `gelf`, `fluentd` and `splunk`
//! do: what options they have ([`options`]), what goes over the wire, and the program `hull-logger` ([`serve()`]).
//!
//! ```text
//!  container ── pipe ──► hull-shim ── socket: Settings, then entries ──► hull-logger ──► log server
//!                            │      ◄─ ready, or why not ─                 queue
//!                            └────► files: what `logs` reads
//! ```
//!
//! One runs for each container with such a driver, started by its shim: it goes on while the daemon is replaced. It has
//! two threads. One reads entries into a bounded queue, the other delivers them, connects anew when the server is gone,
//! and waits longer each time. When the queue is full:
//!
//! | | the server takes entries, slowly | the server is away |
//! |---|---|---|
//! | `mode=blocking` | the container waits | the oldest are dropped; `fluentd` makes it wait, as in Docker |
//! | `mode=non-blocking` | the oldest are dropped | the oldest are dropped |
//!
//! What is dropped is counted, and told in the container's directory ([`Settings::status`]). What was delivered once may
//! be delivered twice when a connection breaks; nothing that a server has acknowledged is lost.
#![forbid(unsafe_code)]

mod connect;
mod entry;
pub mod fields;
mod fluentd;
mod gelf;
mod http;
mod journald;
pub mod options;
mod queue;
mod receiver;
mod serve;
mod settings;
mod splunk;
mod syslog;
mod tls;
mod url;
mod words;

pub use serve::serve;
pub use settings::{About, Driver, Settings};

/// What a fuzzer calls.
#[doc(hidden)]
pub mod fuzz {
    /// Entries as they come from a shim, in two pieces.
    pub fn entries(bytes: &[u8]) {
        let mut decoder = crate::entry::Decoder::default();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for piece in [first, second] {
            decoder.push(piece);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }

    /// What servers answer, and what people write as addresses.
    pub fn answers(bytes: &[u8]) {
        let _ = crate::http::read_answer(&mut &*bytes);
        let _ = crate::fluentd::acknowledged(&mut &*bytes);
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = crate::url::Url::parse(text);
            let _ = crate::words::duration(text);
        }
    }
}
