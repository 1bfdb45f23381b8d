//! The query of a client's request, and headers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_daemon::fuzz::request_query(bytes));
