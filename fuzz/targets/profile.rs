//! System call filters as documents.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::profile(text));
