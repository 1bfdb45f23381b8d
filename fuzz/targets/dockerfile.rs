//! Dockerfiles, up to their graphs.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_build::fuzz::dockerfile(bytes));
