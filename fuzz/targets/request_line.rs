//! The first line of a client's request.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_daemon::fuzz::request_line(bytes));
