//! Layers' archives, as indexes that hold together.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_image::fuzz::erofs(bytes));
