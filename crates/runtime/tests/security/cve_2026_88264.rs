//! Without a mount for `/dev`, the terminal of crun was mounted where the image's links lead.

use crate::bundle::Container;
use serde_json::json;
use std::os::unix::net::UnixListener;
use std::path::Path;

#[test]
fn the_console_is_mounted_inside() {
    for read_only in [false, true] {
        let Some(mut container) = Container::new("88264", &["true"]) else {
            return;
        };
        let outside = container.outside();
        fs_err::write(outside.join("console"), "the host's").unwrap();
        container.without("/dev");
        fs_err::remove_dir(container.inside("dev")).unwrap();
        fs_err::os::unix::fs::symlink(&outside, container.inside("dev")).unwrap();
        container.mount("devpts", Path::new("devpts"), "/dev/pts");
        container.spec["process"]["terminal"] = json!(true);
        container.spec["root"]["readonly"] = json!(read_only);
        let socket = container.path("console");
        let _listener = UnixListener::bind(&socket).unwrap();
        let outcome = container.create_with_console(&socket);
        let there: Vec<_> = fs_err::read_dir(&outside)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(there, ["console"], "reached the host: {outcome:?}");
        let text = fs_err::read_to_string(outside.join("console")).unwrap();
        assert_eq!(text, "the host's", "{outcome:?}");
    }
}
