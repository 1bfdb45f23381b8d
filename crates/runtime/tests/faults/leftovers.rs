//! States that no command leaves behind: broken by hand, by another version, by an unclean end.

use crate::Faults;
use crate::kit::stderr;

/// A running container, broken, then deleted.
fn broken(name: &str, breaks: impl Fn(&Faults)) {
    let Some(faults) = Faults::new(name) else {
        return;
    };
    faults.configure("sleep 1000");
    faults.must(&["run", "--detach", &faults.id]);
    breaks(&faults);
    faults.assert_nothing_left(name);
    // It is as if there had never been one.
    faults.must(&["run", "--detach", &faults.id]);
    faults.assert_nothing_left(name);
}

fn state(faults: &Faults, name: &str) -> std::path::PathBuf {
    faults.host.path("state").join(&faults.id).join(name)
}

#[test]
fn a_record_that_is_cut_off_is_no_hindrance() {
    broken("cut", |faults| {
        let path = state(faults, "state.json");
        let text = fs_err::read(&path).expect("read");
        fs_err::write(&path, &text[..text.len() / 2]).expect("written");
        let output = faults.host.call(&["state", &faults.id]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("read the state"), "{output:?}");
        let output = faults.host.call(&["list", "--quiet"]);
        assert!(output.status.success() && output.stdout.is_empty());
        let told = format!("load container {}: read the state", faults.id);
        assert!(stderr(&output).contains(&told), "{output:?}");
    });
}

#[test]
fn a_record_of_another_version_is_no_hindrance() {
    broken("version", |faults| {
        let text = r#"{"version":"9","initProcessPid":"many"}"#;
        fs_err::write(state(faults, "state.json"), text).expect("written");
    });
}

#[test]
fn a_record_that_is_gone_is_no_hindrance() {
    broken("record", |faults| {
        fs_err::remove_file(state(faults, "state.json")).expect("removed");
        let output = faults.host.call(&["delete", &faults.id]);
        assert!(stderr(&output).contains("container does not exist"));
    });
}

#[test]
fn a_configuration_or_bundle_that_is_gone_is_no_hindrance() {
    broken("config", |faults| {
        fs_err::remove_file(state(faults, "config.json")).expect("removed");
    });
    let Some(faults) = Faults::new("bundle") else {
        return;
    };
    faults.configure("sleep 1000");
    faults.must(&["run", "--detach", &faults.id]);
    fs_err::remove_dir_all(faults.host.path("rootfs")).expect("removed");
    fs_err::remove_file(faults.host.path("config.json")).expect("removed");
    faults.assert_nothing_left("bundle");
}

#[test]
fn a_process_or_group_that_is_gone_is_no_hindrance() {
    broken("process", |faults| {
        faults.must(&["kill", &faults.id, "KILL"]);
        for process in faults.processes() {
            faults.wait_for(process, "killed");
        }
        for hierarchy in fs_err::read_dir("/sys/fs/cgroup").expect("listed") {
            let group = hierarchy.expect("an entry").path().join(faults.group());
            // Not every entry is a hierarchy.
            let _ = fs_err::remove_dir(group);
        }
    });
}

#[test]
fn a_directory_alone_is_removed() {
    let Some(faults) = Faults::new("directory") else {
        return;
    };
    faults.configure("sleep 1000");
    fs_err::create_dir_all(state(&faults, "")).expect("made");
    fs_err::write(state(&faults, "state.json.new"), "{").expect("written");
    let output = faults.host.call(&["create", &faults.id]);
    assert!(stderr(&output).contains("container with given ID already exists"));
    faults.assert_nothing_left("a directory alone");
}

#[test]
fn a_link_in_the_place_of_a_state_is_not_followed() {
    let Some(faults) = Faults::new("link") else {
        return;
    };
    faults.configure("sleep 1000");
    let elsewhere = faults.host.path("elsewhere");
    fs_err::create_dir_all(&elsewhere).expect("made");
    fs_err::write(elsewhere.join("precious"), "x").expect("written");
    fs_err::create_dir_all(faults.host.path("state")).expect("made");
    let link = faults.host.path("state").join(&faults.id);
    fs_err::os::unix::fs::symlink(&elsewhere, &link).expect("made");
    let output = faults.host.call(&["delete", "--force", &faults.id]);
    assert!(output.status.success(), "{output:?}");
    assert!(elsewhere.join("precious").exists());
}

#[test]
fn processes_without_a_pid_namespace_end_too() {
    let Some(faults) = Faults::new("shared") else {
        return;
    };
    let mut config = faults.host.config("");
    // It is about to start more of them while the signal goes round.
    let script = format!(
        "for n in $(seq 200); do (sleep 1000; : {0}) & done; sleep 1000; : {0}",
        faults.mark
    );
    config["process"]["args"] = serde_json::json!(["sh", "-c", script]);
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("there");
    namespaces.retain(|namespace| namespace["type"] != "pid");
    faults.host.write(config, &faults.id);
    faults.must(&["run", "--detach", &faults.id]);
    // Signals for all: the shells die of this one, and all sleeps do.
    faults.must(&["kill", "--all", &faults.id, "SIGRTMIN+1"]);
    for process in faults.processes() {
        faults.wait_for(process, "kill --all");
    }
    faults.must(&["delete", &faults.id]);
    faults.must(&["run", "--detach", &faults.id]);
    faults.assert_nothing_left("without a PID namespace");
}
