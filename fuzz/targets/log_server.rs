//! What log servers answer, and their addresses.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_logger::fuzz::answers(bytes));
