//! Templates of `--format`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_template::fuzz::template(text));
