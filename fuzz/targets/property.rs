//! Properties of a systemd unit, as annotations write them.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::property(text));
