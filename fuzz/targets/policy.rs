//! Trust policies: any text is read or refused.

#![no_main]

use hull_engine::trust::Policy;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Err(error) = Policy::parse(text) {
        assert!(!error.to_string().is_empty());
    }
});
