//! The local image store.
#![forbid(unsafe_code)]
