//! Messages of systemd's bus.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::bus_message(text));
