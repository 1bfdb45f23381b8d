//! Id maps, from the document to what the kernel reads.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| hull_runtime::fuzz::id_map(text));
