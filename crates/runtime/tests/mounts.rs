//! Mounts: options old and new, id maps, propagation, what is made for them.

mod kit;

use kit::Host;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// Root, place, attributes and optional fields of every mount at or below `/mnt`.
const LIST: &str = "grep ' /mnt' /proc/self/mountinfo | cut -d' ' -f5- | sed 's/ - .*//'";

fn add(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().expect("a list").push(mount);
}

/// Runs a script in a container whose `/mnt` is a bind mount with these options, of a source that the
/// runtime's own mount namespace makes: noexec,nodev,noatime, with a mount below.
fn bound(
    host: &Host,
    id: &str,
    options: &[&str],
    change: impl Fn(&mut Value),
) -> (i32, String, String) {
    bound_after("true", host, id, options, change)
}

/// The same after a command that changes the source's mount, `$SOURCE`.
fn bound_after(
    command: &str,
    host: &Host,
    id: &str,
    options: &[&str],
    change: impl Fn(&mut Value),
) -> (i32, String, String) {
    let source = host.path("source");
    fs::create_dir_all(&source).expect("made");
    fs::create_dir_all(host.path("rootfs/mnt")).expect("made");
    let source = source.to_string_lossy();
    let mut config = host.config(LIST);
    add(
        &mut config,
        json!({"destination": "/mnt", "type": "bind", "source": source, "options": options}),
    );
    change(&mut config);
    host.write(config, id);
    let program = env!("CARGO_BIN_EXE_hull-runtime");
    let script = format!(
        "mount -t tmpfs -o nodev,noexec,noatime,mode=755 tmpfs {source} && mkdir {source}/sub && \
         echo x > {source}/file && mount -t tmpfs -o nosuid,mode=755 tmpfs {source}/sub && \
         SOURCE={source} && {command} && exec {program} --root {} run {id}",
        host.path("state").display()
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .current_dir(host.path(""))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// With a user namespace the runtime opens the sources, outside of the container's mount namespace.
#[test]
fn what_is_mounted_below_a_source_of_the_host_does_not_appear_there() {
    let Some(host) = Host::new() else { return };
    let user = |config: &mut Value| {
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        let namespaces = config["linux"]["namespaces"].as_array_mut();
        namespaces.expect("a list").push(json!({"type": "user"}));
    };
    let change: [&dyn Fn(&mut Value); 2] = [&|_| (), &user];
    for change in change {
        let share = "mount --make-shared $SOURCE";
        let (code, out, err) = bound_after(share, &host, "peer", &["rbind"], change);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("/mnt ") && out.contains(" master:"), "{out}");
        assert!(!out.contains(" shared:"), "{out}");
    }
}

#[test]
fn a_bind_mount_has_the_options_asked_for_and_no_others() {
    let Some(host) = Host::new() else { return };
    let below = "/mnt/sub rw,nosuid,relatime\n";
    for (options, said) in [
        (&["bind"][..], "/mnt rw,nodev,noexec,noatime\n"),
        (&["bind", "ro"], "/mnt ro,noatime\n"),
        (&["bind", "exec"], "/mnt rw,noatime\n"),
        (&["bind", "nosuid", "relatime"], "/mnt rw,nosuid,relatime\n"),
        (&["bind", "strictatime"], "/mnt rw\n"),
        (&["bind", "atime"], "/mnt rw,noatime\n"),
        (&["bind", "nodiratime"], "/mnt rw,nodiratime,relatime\n"),
        (&["bind", "nosymfollow"], "/mnt rw,noatime,nosymfollow\n"),
        (
            &["bind", "sync", "lazytime", "silent"],
            "/mnt rw,nodev,noexec,noatime\n",
        ),
        (&["bind", "shared"], "/mnt rw,nodev,noexec,noatime shared\n"),
        (
            &["bind", "unbindable"],
            "/mnt rw,nodev,noexec,noatime unbindable\n",
        ),
    ] {
        let (code, out, err) = bound(&host, "bind", options, |_| ());
        // The number of the peer group is the kernel's.
        let out = out
            .trim_end()
            .trim_end_matches(|letter: char| letter == ':' || letter.is_ascii_digit());
        assert_eq!((code, out), (0, said.trim_end()), "{options:?} {err}");
    }
    for (options, said) in [
        (&["rbind", "ro"][..], format!("/mnt ro,noatime\n{below}")),
        (
            &["rbind", "rro"],
            "/mnt ro,nodev,noexec,noatime\n/mnt/sub ro,nosuid,relatime\n".into(),
        ),
        (
            &[
                "rbind",
                "rsuid",
                "rexec",
                "rdev",
                "rnoatime",
                "rnosymfollow",
            ],
            "/mnt rw,noatime,nosymfollow\n/mnt/sub rw,noatime,nosymfollow\n".into(),
        ),
        (
            &["rbind", "rstrictatime"],
            "/mnt rw,nodev,noexec\n/mnt/sub rw,nosuid\n".into(),
        ),
        (&["rbind", "ro", "rrw"], format!("/mnt rw,noatime\n{below}")),
    ] {
        let (code, out, err) = bound(&host, "rbind", options, |_| ());
        assert_eq!((code, out), (0, said), "{options:?} {err}");
    }
}

#[test]
fn what_a_user_namespace_has_locked_stays() {
    let Some(host) = Host::new() else { return };
    let with_user = |config: &mut Value| user(config);
    let (code, out, err) = bound(&host, "locked", &["rbind", "ro"], with_user);
    let said = "/mnt ro,nodev,noexec,noatime\n/mnt/sub rw,nosuid,relatime\n";
    assert_eq!((code, out.as_str()), (0, said), "{err}");
}

fn user(config: &mut Value) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    let namespaces = config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list");
    namespaces.push(json!({"type": "user"}));
}

#[test]
fn ids_are_mapped_by_the_mounts_own_map_or_the_containers() {
    let Some(host) = Host::new() else { return };
    let owners = |config: &mut Value| {
        config["process"]["args"] = json!(["stat", "-c", "%u", "/mnt/file", "/mnt/sub"]);
    };
    let own = json!([{"containerID": 0, "hostID": 70_000, "size": 65536}]);
    let with_own = |config: &mut Value| {
        owners(config);
        let mount = config["mounts"]
            .as_array_mut()
            .expect("a list")
            .last_mut()
            .expect("a mount");
        mount["uidMappings"] = own.clone();
        mount["gidMappings"] = own.clone();
    };
    for (options, said) in [
        (&["rbind"][..], "70000\n0\n"),
        (&["rbind", "idmap"], "70000\n0\n"),
        (&["rbind", "ridmap", "ro"], "70000\n70000\n"),
    ] {
        let (code, out, err) = bound(&host, "mapped", options, with_own);
        if err.contains("support idmap mounts") {
            kit::skip("tmpfs has no id-mapped mounts on this kernel");
            return;
        }
        assert_eq!((code, out.as_str()), (0, said), "{options:?} {err}");
    }
    let (code, out, err) = bound(&host, "mapped", &["rbind", "ridmap"], |config| {
        owners(config);
        user(config);
    });
    assert_eq!((code, out.as_str()), (0, "0\n0\n"), "{err}");
    let (code, out, err) = bound(&host, "mapped", &["rbind", "ridmap"], |config| {
        with_own(config);
        user(config);
    });
    // 70000 is not in the container's own map.
    assert_eq!((code, out.as_str()), (0, "65534\n65534\n"), "{err}");
    let mut config = host.config("true");
    add(
        &mut config,
        json!({"destination": "/mnt", "source": "/proc", "options": ["bind"],
            "uidMappings": own, "gidMappings": own}),
    );
    let (code, _, err) = host.run("mapped", config);
    assert_eq!(code, 1);
    assert!(
        err.contains("failed to set MOUNT_ATTR_IDMAP on /proc: invalid argument (maybe"),
        "{err}"
    );
}

#[test]
fn a_tmpfs_has_its_options_and_the_mode_of_what_it_covers() {
    let Some(host) = Host::new() else { return };
    let covered = host.path("rootfs/covered");
    fs::create_dir_all(&covered).expect("made");
    fs::set_permissions(&covered, fs::Permissions::from_mode(0o1750)).expect("set");
    for (place, options, said) in [
        ("/covered", json!([]), "1750"),
        ("/new/one", json!([]), "1777"),
        ("/covered", json!(["mode=711", "size=1m"]), "711"),
        ("/covered", json!(["size=1m,mode=700"]), "700"),
        (
            "/covered",
            json!(["sync", "dirsync", "lazytime", "mand", "silent", "iversion"]),
            "1750",
        ),
    ] {
        let mut config = host.config(&format!("stat -c %a {place}"));
        add(
            &mut config,
            json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options}),
        );
        let (code, out, err) = host.run("tmpfs", config);
        assert_eq!((code, out.trim()), (0, said), "{options} {err}");
    }
    let mut config = host.config("true");
    let wrong =
        json!({"destination": "/covered", "type": "tmpfs", "source": "t", "options": ["nosuch=1"]});
    add(&mut config, wrong);
    let (code, _, err) = host.run("tmpfs", config);
    assert!(
        code == 1 && err.contains("Unknown parameter 'nosuch'"),
        "{err}"
    );
}

#[test]
fn an_overlay_takes_options_longer_than_fsconfig_does() {
    let Some(host) = Host::new() else { return };
    let mut lower = Vec::new();
    for number in 0..20 {
        let layer = host.path(&format!("layers/{number:04}/with-a-long-name"));
        fs::create_dir_all(&layer).expect("made");
        fs_err::write(layer.join(number.to_string()), "").expect("written");
        lower.push(layer.to_string_lossy().into_owned());
    }
    for layers in [&lower[..2], &lower[..]] {
        let mut config =
            host.config("set -- /mnt/*; echo $#; (: > /mnt/x) 2>/dev/null || echo read-only");
        add(
            &mut config,
            json!({"destination": "/mnt", "type": "overlay", "source": "overlay",
                "options": ["ro", format!("lowerdir={}", layers.join(":"))]}),
        );
        let (code, out, err) = host.run("overlay", config);
        let said = format!("{}\nread-only\n", layers.len());
        assert_eq!((code, out), (0, said), "{err}");
    }
}

#[test]
fn places_are_made_as_the_source_is() {
    let Some(host) = Host::new() else { return };
    fs_err::write(host.path("file"), "content").expect("written");
    let mut config =
        host.config("cat /made/here/file; stat -c '%F %t:%T' /made/null; ls -d /relative");
    for (place, source) in [("/made/here/file", "file"), ("/made/null", "/dev/null")] {
        add(
            &mut config,
            json!({"destination": place, "source": source, "options": ["bind", "ro"]}),
        );
    }
    add(
        &mut config,
        json!({"destination": "relative", "type": "tmpfs", "source": "tmpfs"}),
    );
    let (code, out, err) = host.run("places", config);
    let said = "contentcharacter special file 1:3\n/relative\n";
    assert_eq!((code, out.as_str()), (0, said), "{err}");
    assert!(
        err.contains("mount destination relative is not absolute"),
        "{err}"
    );
    let made = fs::metadata(host.path("rootfs/made/here/file")).expect("stat");
    assert!(made.is_file() && made.size() == 0);
    for place in ["/", "/.", "/mnt/.."] {
        let mut config = host.config("true");
        add(
            &mut config,
            json!({"destination": place, "type": "tmpfs", "source": "tmpfs"}),
        );
        let (code, _, err) = host.run("places", config);
        assert!(code == 1 && err.contains("on the top of rootfs"), "{err}");
    }
}

#[test]
fn the_usual_file_systems_are_there() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config(
        "for place in /dev/pts /dev/shm /dev/mqueue /sys; do \
         cut -d' ' -f5,6 /proc/self/mountinfo | grep \"^$place \"; done; stat -c %a /dev/shm; ls /sys/class/net",
    );
    let safe = ["nosuid", "noexec", "nodev"];
    add(
        &mut config,
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
    );
    add(
        &mut config,
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe}),
    );
    add(
        &mut config,
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    let (code, out, err) = host.run("usual", config);
    let said = "/dev/pts rw,relatime\n/dev/shm rw,nosuid,nodev,noexec,relatime\n\
                /dev/mqueue rw,nosuid,nodev,noexec,relatime\n/sys ro,nosuid,nodev,noexec,relatime\n1777\nlo\n";
    assert_eq!((code, out.as_str()), (0, said), "{err}");
}

#[test]
fn a_container_sees_no_control_groups_but_its_own() {
    let Some(host) = Host::new() else { return };
    for own in [true, false] {
        let mut config = host.config(
            "set -- $(grep -v ' - tmpfs' /proc/self/mountinfo | grep ' /sys/fs/cgroup'); \
             for place in $(grep ' /sys/fs/cgroup' /proc/self/mountinfo | grep -v ' - tmpfs ' | cut -d' ' -f5); do \
             grep -qx $$ $place/cgroup.procs || echo not in $place; done; \
             (mkdir /sys/fs/cgroup/new || mkdir /sys/fs/cgroup/pids/new) 2>/dev/null && echo WRITTEN; echo done",
        );
        if !own {
            let namespaces = config["linux"]["namespaces"]
                .as_array_mut()
                .expect("a list");
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        }
        add(
            &mut config,
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}),
        );
        add(
            &mut config,
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "ro"]}),
        );
        let (code, out, err) = host.run("groups", config);
        assert_eq!((code, out.as_str()), (0, "done\n"), "{own} {err}");
    }
}

#[test]
fn the_roots_propagation_is_as_asked_for() {
    let Some(host) = Host::new() else { return };
    for (word, said) in [
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("slave", ""),
        ("rslave", ""),
        ("private", ""),
        ("rprivate", ""),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let mut config = host.config(
            "while read -r a b c d place f optional rest; do \
            [ $place = / ] && echo $optional; done < /proc/self/mountinfo; true",
        );
        config["linux"]["rootfsPropagation"] = json!(word);
        let (code, out, err) = host.run("propagation", config);
        assert_eq!(code, 0, "{word} {err}");
        let found = out.lines().last().unwrap_or_default();
        let right = match said {
            "" => found == "-" || found.starts_with("master:"),
            said => found.starts_with(said),
        };
        assert!(right, "{word} {out}");
    }
}

#[test]
fn a_mount_is_changed_by_remount() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("grep ' /mnt ' /proc/self/mountinfo | sed 's/.* .mnt //'");
    for options in [
        json!(["size=1m"]),
        json!(["remount", "ro", "nosuid", "size=2m"]),
    ] {
        add(
            &mut config,
            json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options}),
        );
    }
    let (code, out, err) = host.run("again", config);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("ro,nosuid,relatime - tmpfs tmpfs rw,size=2048k"),
        "{out}"
    );
}
