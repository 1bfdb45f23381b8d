//! Words with variables.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_build::fuzz::shell_word(bytes));
