//! A user that is a number is looked up as a name, so that an image's passwd(5) makes it root.

use crate::bundle::Container;
use serde_json::json;

#[test]
fn a_number_is_a_number_whatever_passwd_says() {
    let Some(mut container) = Container::new("3697", &["busybox", "id", "-u"]) else {
        return;
    };
    fs_err::create_dir_all(container.inside("etc")).unwrap();
    let passwd = "1000:x:0:0:root:/root:/bin/sh\n0:x:0:0:root:/root:/bin/sh\n";
    fs_err::write(container.inside("etc/passwd"), passwd).unwrap();
    container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let outcome = container.run();
    outcome.assert_succeeded();
    assert_eq!(outcome.text, "1000\n");
    container.spec["process"]["args"] = json!(["sleep", "1000"]);
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    let outcome = container.exec(&["--user", "1000"], &["busybox", "id", "-u"]);
    assert_eq!(outcome.text, "1000\n");
    container
        .exec(&["--user", "root"], &["true"])
        .assert_refused("bad uid: strconv.Atoi: parsing");
}

/// What the file is asked for at all is a home directory. A pipe in its place does not stop the start,
/// and a link through procfs does not lead to the host's.
#[test]
fn a_passwd_that_is_no_file_is_none() {
    for name in ["3697-pipe", "3697-link"] {
        let Some(container) = Container::new(name, &["sh", "-c", "echo $HOME"]) else {
            return;
        };
        fs_err::create_dir_all(container.inside("etc")).unwrap();
        let passwd = container.inside("etc/passwd");
        if name == "3697-pipe" {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, &passwd, kind, mode, 0).unwrap();
        } else {
            fs_err::write(container.inside("real"), "r:x:0:0::/elsewhere:\n").unwrap();
            fs_err::os::unix::fs::symlink("/proc/self/root/real", &passwd).unwrap();
        }
        let outcome = container.run();
        outcome.assert_succeeded();
        assert_eq!(outcome.text, "/\n", "{name}");
    }
}
