//! The JSON bodies of clients' requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_daemon::fuzz::request_body(bytes));
