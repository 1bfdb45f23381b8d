//! Layers' archives, as entries.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_image::fuzz::tar(bytes));
