//! What registries put into headers: challenges, and links to the next page.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    for challenge in hull_registry::parse_challenges(text) {
        assert!(!challenge.scheme.is_empty());
    }
    if let Some(target) = hull_registry::next_link(text) {
        assert!(text.contains(target));
    }
});
