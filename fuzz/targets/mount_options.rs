//! Mount options, divided by commas.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::mount_options(text));
