//! Ignore files, and a path that is looked up in them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_build::fuzz::ignore_file(bytes));
