//! `config.json`: whatever is read is written so that it reads the same.

#![no_main]

use hull_spec::runtime::Spec;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let Ok(spec) = serde_json::from_slice::<Spec>(text) else {
        return;
    };
    let written = serde_json::to_vec(&spec).expect("serialises");
    let again: Spec = serde_json::from_slice(&written).expect("parses");
    assert_eq!(again, spec);
});
