//! `POST /containers/create`, through to what the engine is asked for.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_daemon::fuzz::create_container(bytes));
