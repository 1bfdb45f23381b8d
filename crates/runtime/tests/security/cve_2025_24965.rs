//! crun's krun handler wrote a file of its own into the image, through a link of the image.

use crate::bundle::Container;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs_err::read_dir(directory).unwrap();
    let name = |entry: std::io::Result<fs_err::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}

/// This runtime writes no file of its own into an image, whatever handler an annotation names.
#[test]
fn nothing_is_written_through_links_of_the_image() {
    for handler in ["krun", "wasm", "crun"] {
        let Some(mut container) = Container::new("24965", &["true"]) else {
            return;
        };
        let victim = container.outside().join("victim");
        for link in [
            ".krun_config.json",
            "krun_config.json",
            "config.json",
            "state.json",
        ] {
            fs_err::os::unix::fs::symlink(&victim, container.inside(link)).unwrap();
        }
        container.spec["annotations"] =
            json!({"run.oci.handler": handler, "run.oci.mount_context_type": "x"});
        let before = names(&container.inside(""));
        container.run().assert_succeeded();
        assert!(!victim.exists(), "{handler}: written outside");
        assert_eq!(names(&container.inside("")), before);
    }
}
