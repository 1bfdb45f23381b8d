//! `/dev` of the image is a link: what the runtime makes and removes there, it makes and removes on the
//! host.

use crate::bundle::Container;
use std::path::PathBuf;

#[test]
fn links_and_nodes_are_made_inside() {
    for up in [false, true] {
        let Some(mut container) = Container::new("41579", &["true"]) else {
            return;
        };
        let outside = container.outside();
        fs_err::write(outside.join("ptmx"), "the host's").unwrap();
        container.without("/dev");
        fs_err::remove_dir(container.inside("dev")).unwrap();
        let target = if up {
            PathBuf::from("../".repeat(20)).join(outside.strip_prefix("/").unwrap())
        } else {
            outside.clone()
        };
        fs_err::os::unix::fs::symlink(target, container.inside("dev")).unwrap();
        let outcome = container.run();
        let there: Vec<_> = fs_err::read_dir(&outside)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(there, ["ptmx"], "reached the host: {outcome:?}");
        assert_eq!(
            fs_err::read_to_string(outside.join("ptmx")).unwrap(),
            "the host's"
        );
    }
}
