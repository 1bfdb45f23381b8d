//! Layers as they are fetched.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_image::fuzz::compressed_layer(bytes));
