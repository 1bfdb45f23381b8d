//! The Docker Engine API on the wire.
#![forbid(unsafe_code)]
