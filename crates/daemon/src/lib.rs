//! The daemon: HTTP in, engine calls out.
#![forbid(unsafe_code)]
