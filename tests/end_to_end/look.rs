//! What Hull has for people who look after containers and Docker has not: `top`, `explain`, `debug`.

use hull_tests::client::Client;
use hull_tests::command::{Finished, converse};
use hull_tests::setup::{Setup, with};

#[test]
fn people_look_after_containers() {
    if !Client::available().contains(&Client::Hull) {
        return;
    }
    with(Client::Hull, |s| {
        let line = "run -d --name served -p 127.0.0.1:8089:80 busybox";
        let script = "echo marked > /marker; echo begun; exec sleep 1000";
        let _ = s.script(line, script).ok();
        the_view(s);
        reasons(s);
        tools(s);
    });
}

/// A conversation with a command on a terminal of 100 columns.
fn on_terminal(s: &Setup<'_>, command: &str, steps: &[(&str, &str)]) -> Finished {
    let hull = s.client.command(&s.daemon);
    let program = hull.get_program().display();
    let line = format!("stty rows 30 cols 100; exec {program} {command}");
    let mut script = std::process::Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("HULL_HOST");
    for (key, value) in hull.get_envs() {
        if let Some(value) = value {
            script.env(key, value);
        }
    }
    converse(&mut script, steps)
}

/// A terminal, keys, and the terminal as it was.
fn the_view(s: &Setup<'_>) {
    // Only what changes is drawn: words that are waited for are where nothing was before.
    let steps = [("served", "?"), ("Delete", "x"), ("", "\r"), ("begun", "q")];
    let seen = on_terminal(s, "top", &steps);
    assert_eq!(seen.code, 0, "{seen:?}");
    let back = seen
        .stdout
        .rfind("\x1b[?1049l")
        .expect("the first screen again");
    assert!(seen.stdout.rfind("\x1b[?1049h").expect("a second screen") < back);
    // Without a terminal it is Docker's command, with a container missing.
    let refused = s.line("top");
    assert!(
        refused.fails(1).contains("requires at least 1 argument"),
        "{refused:?}"
    );
    assert!(s.line("top served").ok().contains("sleep 1000"));
}

fn reasons(s: &Setup<'_>) {
    let explain = |name: &str| s.run(&["explain", name]).ok().to_owned();
    let silent = explain("served");
    assert!(
        silent.contains("Port 80 is published, and nothing in the container"),
        "{silent}"
    );
    assert_ne!(s.line("run --name absent busybox ehco").code, 0);
    let absent = explain("absent");
    assert!(absent.contains("There is no program ehco"), "{absent}");
    let failed = s.script(
        "run --read-only --name failed busybox",
        "touch /x || exit 3",
    );
    assert_eq!(failed.code, 3, "{failed:?}");
    let failed = explain("failed");
    assert!(
        failed.contains("with code 3\n") && failed.contains("--read-only"),
        "{failed}"
    );
    let file = s.daemon.path("script");
    fs_err::write(&file, "#!/bin/bash\r\necho\r\n").expect("write a script");
    let _ = s.line("create --name windows busybox /script").ok();
    let _ = s
        .run(&["cp", &file.display().to_string(), "windows:/script"])
        .ok();
    assert_ne!(s.line("start -a windows").code, 0);
    let windows = explain("windows");
    assert!(windows.contains("may not be executed"), "{windows}");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs_err::set_permissions(&file, mode).expect("make it executable");
    let _ = s
        .run(&["cp", &file.display().to_string(), "windows:/script"])
        .ok();
    assert_ne!(s.line("start -a windows").code, 0);
    let windows = explain("windows");
    assert!(windows.contains("lines end as on Windows"), "{windows}");
    let json = s.line("explain --format {{.Container}} windows");
    assert_eq!(json.ok(), "windows");
}

fn tools(s: &Setup<'_>) {
    // Process 1 is the other's, its files are there, and so is its address.
    let inside =
        "cat marker; ls -l /target; tr '\\0' ' ' </proc/1/cmdline; ip -o -4 address show eth0";
    let seen = s.script("debug served", inside);
    let address = s.inspect("served", "/NetworkSettings/Networks/bridge/IPAddress");
    let address = address.as_str().expect("an address");
    for part in ["marked", "/proc/1/root", "sleep 1000", address] {
        assert!(seen.ok().contains(part), "{part}: {seen:?}");
    }
    // One that has ended is looked at, too, and nothing stays.
    let _ = s.line("rm -f served").ok();
    let _ = s
        .script("run --name ended busybox", "echo kept > /marker")
        .ok();
    assert_eq!(s.line("debug ended cat marker").ok(), "kept");
    let left = s.line("images -q hull-debug");
    assert_eq!(left.ok(), "");
    assert_eq!(s.line("ps -aq --filter label=hull.debug").ok(), "");
}
