//! The process that stays with one container, and the handle on it.
#![forbid(unsafe_code)]
