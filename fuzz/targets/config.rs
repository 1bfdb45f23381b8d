//! `config.json`, from its text to the plan.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::config(text));
