//! A working directory or program below a descriptor of the host that the runtime left open.

use crate::bundle::{Container, copy};
use serde_json::json;
use std::path::Path;

/// More descriptors than the runtime ever has open.
const DESCRIPTORS: std::ops::Range<u32> = 3..24;

#[test]
fn the_working_directory_is_not_on_the_host() {
    for descriptor in DESCRIPTORS {
        let Some(mut container) = Container::new("21626-cwd", &["ls", "-di", "."]) else {
            return;
        };
        container.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{descriptor}"));
        container.run().assert_refused("");
        fs_err::os::unix::fs::symlink(
            format!("/proc/self/fd/{descriptor}"),
            container.inside("cwd"),
        )
        .unwrap();
        container.spec["process"]["cwd"] = json!("/cwd");
        container.run().assert_refused("");
    }
}

#[test]
fn the_working_directory_of_a_later_process_is_not_on_the_host() {
    let Some(container) = Container::new("21626-exec", &["sleep", "1000"]) else {
        return;
    };
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    container
        .exec(&["--cwd", "/bin"], &["ls", "busybox"])
        .assert_succeeded();
    for descriptor in DESCRIPTORS {
        let directory = format!("/proc/self/fd/{descriptor}");
        container
            .exec(&["--cwd", &directory], &["ls", "-di", "."])
            .assert_refused("");
        let up = format!("{directory}/../..");
        container
            .exec(&["--cwd", &up], &["ls", "-di", "."])
            .assert_refused("");
    }
}

/// Programs of the host that a descriptor could lead to: from a directory upwards, or from a procfs
/// through another process' root.
fn programs(container: &Container, descriptor: u32) -> [String; 2] {
    let program = container.outside().join("true");
    let program = program.display();
    [
        format!("/proc/self/fd/{descriptor}/{}{program}", "../".repeat(12)),
        format!("/proc/self/fd/{descriptor}/1/root{program}"),
    ]
}

/// All capabilities, so that nothing but a closed descriptor is in the way.
fn all_powerful(container: &mut Container) {
    let all = json!([
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_SETUID"
    ]);
    container.spec["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all});
}

#[test]
fn the_program_is_not_on_the_host() {
    for descriptor in DESCRIPTORS {
        for which in 0..2 {
            let Some(mut container) = Container::new("21626-program", &[]) else {
                return;
            };
            all_powerful(&mut container);
            copy(Path::new("/bin/busybox"), &container.outside().join("true"));
            let program = programs(&container, descriptor)[which].clone();
            container.spec["process"]["args"] = json!([program]);
            let outcome = container.run();
            assert!(!outcome.succeeded, "{program} was executed");
        }
    }
}

#[test]
fn the_program_of_a_later_process_is_not_on_the_host() {
    let Some(mut container) = Container::new("21626-later", &["sleep", "1000"]) else {
        return;
    };
    all_powerful(&mut container);
    copy(Path::new("/bin/busybox"), &container.outside().join("true"));
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    for descriptor in DESCRIPTORS {
        for program in programs(&container, descriptor) {
            let outcome = container.exec(&[], &[&program]);
            assert!(!outcome.succeeded, "{program} was executed");
        }
    }
}

/// A script of the image can name its interpreter: no configuration is needed for this one.
#[test]
fn the_interpreter_of_a_script_is_not_on_the_host() {
    use std::os::unix::fs::PermissionsExt;
    for descriptor in DESCRIPTORS {
        let Some(container) = Container::new("21626-script", &["/script"]) else {
            return;
        };
        copy(Path::new("/bin/busybox"), &container.outside().join("true"));
        let [interpreter, _] = programs(&container, descriptor);
        let script = container.inside("script");
        fs_err::write(&script, format!("#!{interpreter}\n")).unwrap();
        fs_err::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let outcome = container.run();
        assert!(!outcome.succeeded, "{interpreter} was executed");
    }
}

/// Numbers that nobody passed are the runtime's own.
#[test]
fn what_was_not_passed_is_not_preserved() {
    let Some(container) = Container::new("21626-preserve", &["sleep", "1000"]) else {
        return;
    };
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    container
        .exec(&["--preserve-fds", "9"], &["true"])
        .assert_refused("unable to stat preserved-fd");
}

/// What a program inherits: its three streams and nothing else.
#[test]
fn no_descriptor_is_left_open() {
    let list = ["ls", "/proc/self/fd"];
    let Some(mut container) = Container::new("21626-open", &list) else {
        return;
    };
    // The fourth is that of the listing itself.
    let expected = ["0", "1", "2", "3"];
    let descriptors = |text: &str| {
        let mut names: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    };
    let outcome = container.run();
    outcome.assert_succeeded();
    assert_eq!(descriptors(&outcome.text), expected, "run");
    // What the caller has open is not the container's either.
    let open = r#"exec "$@" 3</etc/passwd 4</etc 9</ 2>&1"#;
    let outcome = container.run_by(open, &[]);
    outcome.assert_succeeded();
    assert_eq!(
        descriptors(&outcome.text),
        expected,
        "run by a careless caller"
    );
    container.spec["process"]["args"] = json!(["sh", "-c", "ls /proc/self/fd >/seen; sleep 1000"]);
    fs_err::write(container.inside("seen"), "").unwrap();
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    let outcome = container.exec(&[], &list);
    outcome.assert_succeeded();
    assert_eq!(descriptors(&outcome.text), expected, "exec");
    // The first process wrote its list before it could be joined, or soon after.
    let wait = "until grep -q 3 /seen; do :; done; cat /seen";
    let outcome = container.exec(&[], &["sh", "-c", wait]);
    assert_eq!(descriptors(&outcome.text), expected, "create and start");
}

/// `--preserve-fds` preserves as many as it says.
#[test]
fn no_more_is_preserved_than_was_asked_for() {
    let Some(container) = Container::new("21626-exact", &["ls", "/proc/self/fd"]) else {
        return;
    };
    let open = r#"exec "$@" 3</etc/passwd 4</etc 5</ 2>&1"#;
    for (number, expected) in [("1", "0 1 2 3 4"), ("2", "0 1 2 3 4 5"), ("0", "0 1 2 3")] {
        let outcome = container.run_by(open, &["--preserve-fds", number]);
        outcome.assert_succeeded();
        let descriptors: Vec<_> = outcome.text.split_whitespace().collect();
        // One more than was preserved, for the listing.
        assert_eq!(descriptors.join(" "), expected, "{number}");
    }
}
