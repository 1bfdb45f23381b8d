//! Image references: what is read is written so that it reads the same.

#![no_main]

use hull_spec::Reference;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    let written = reference.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&reference), "{written}");
    // The short form is for people. As in Docker, `docker.io/r.io/x` reads `r.io/x`: not the same again.
    assert!(!reference.familiar().is_empty());
    let tagged = reference.clone().with_default_tag();
    assert!(tagged.tag().is_some() || tagged.digest().is_some());
});
