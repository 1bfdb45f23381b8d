//! Entries as a shim sends them to the program that delivers logs.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_logger::fuzz::entries(bytes));
