//! `state.json`, what the runtime keeps of a container.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::state(text));
