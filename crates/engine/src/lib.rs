//! What Docker means.
#![forbid(unsafe_code)]
