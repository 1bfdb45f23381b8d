//! Command lines; words are divided by zeroes.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::arguments(text));
