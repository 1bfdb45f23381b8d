//! crun took `exec --user 1` for root.

use crate::bundle::Container;

#[test]
fn the_user_of_a_later_process_is_the_one_that_was_named() {
    let Some(container) = Container::new("30892", &["sleep", "1000"]) else {
        return;
    };
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    let id = ["sh", "-c", "busybox id -u; busybox id -g"];
    for (user, expected) in [
        ("1", "1\n0\n"),
        ("1:1", "1\n1\n"),
        ("0:1", "0\n1\n"),
        ("1000", "1000\n0\n"),
        ("10:20", "10\n20\n"),
    ] {
        assert_eq!(
            container.exec(&["--user", user], &id).text,
            expected,
            "{user}"
        );
        assert_eq!(
            container.exec(&["-u", user], &id).text,
            expected,
            "-u {user}"
        );
    }
    for wrong in ["-1", "1:", ":1", "4294967296", "1:2:3", "0x1"] {
        let outcome = container.exec(&["--user", wrong], &id);
        assert!(!outcome.succeeded, "{wrong:?} was taken: {outcome:?}");
    }
}
