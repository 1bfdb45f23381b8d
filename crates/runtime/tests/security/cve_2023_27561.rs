//! `/proc` of the image is a link to a place that a volume covers: the check for links of CVE-2019-19921
//! had been lost again. With AppArmor the label went to a file of the attacker's (CVE-2023-28642); youki
//! mounted procfs and sysfs behind links too (CVE-2025-54867).

use crate::bundle::Container;
use serde_json::json;
use std::path::{Path, PathBuf};

/// A container whose `name` is a link to a directory in a volume.
fn container(test: &str, name: &str, target: &Path) -> Option<Container> {
    let mut container = Container::new(test, &["true"])?;
    let volume = container.path("volume");
    fs_err::create_dir_all(volume.join("place/self/attr")).unwrap();
    fs_err::write(volume.join("place/self/attr/exec"), "untouched").unwrap();
    let mounts = container.spec["mounts"].as_array_mut().unwrap();
    let mount =
        json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"]});
    mounts.insert(0, mount);
    let link = container.inside(name);
    if link.is_dir() {
        fs_err::remove_dir(&link).unwrap();
    }
    fs_err::os::unix::fs::symlink(target, link).unwrap();
    Some(container)
}

#[test]
fn procfs_is_not_mounted_in_a_volume() {
    for target in ["/volume/place", "volume/place", "../../../volume/place"] {
        let Some(container) = container("27561-proc", "proc", Path::new(target)) else {
            return;
        };
        container
            .run()
            .assert_refused("must be mounted on ordinary directory");
        let label = container.path("volume/place/self/attr/exec");
        assert_eq!(fs_err::read_to_string(label).unwrap(), "untouched");
    }
}

/// CVE-2025-54867.
#[test]
fn sysfs_is_not_mounted_behind_a_link_either() {
    for up in [false, true] {
        let target = if up {
            "../".repeat(20)
        } else {
            "/volume/place".to_owned()
        };
        let Some(mut container) = container("27561-sys", "sys", &PathBuf::from(target)) else {
            return;
        };
        container.mount("sysfs", Path::new("sysfs"), "/sys");
        container
            .run()
            .assert_refused("must be mounted on ordinary directory");
    }
}

/// CVE-2023-28642, and CVE-2025-62596 of youki: whether there is AppArmor is not for the image to say,
/// nor where labels are written.
#[test]
fn the_image_does_not_decide_about_security_modules() {
    for (property, reason) in [
        ("apparmorProfile", "apparmor not supported"),
        ("selinuxLabel", "selinux is disabled or not supported"),
    ] {
        let Some(mut container) = Container::new("28642", &["true"]) else {
            return;
        };
        let module = if property == "selinuxLabel" {
            "/sys/fs/selinux/enforce"
        } else {
            "/sys/module/apparmor"
        };
        if Path::new(module).exists() {
            eprintln!("skipped: this host has {module}");
            continue;
        }
        for (path, text) in [
            ("sys/module/apparmor/parameters/enabled", "Y\n"),
            ("sys/kernel/security/apparmor/features", ""),
            ("sys/fs/selinux/enforce", "1"),
            ("proc/self/attr/exec", "untouched"),
        ] {
            let path = container.inside(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        container.without("/proc");
        container.spec["process"][property] = json!("a-label");
        container.run().assert_refused(reason);
        let label = fs_err::read_to_string(container.inside("proc/self/attr/exec"));
        assert_eq!(label.unwrap(), "untouched");
    }
}
