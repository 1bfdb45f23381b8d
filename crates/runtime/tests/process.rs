//! The process: scheduling, memory, limits, capabilities.

mod kit;

use kit::{Host, stderr};
use serde_json::{Value, json};

#[test]
fn scheduling_is_as_asked_for() {
    let Some(host) = Host::new() else { return };
    // Fields 19, 40 and 41 of proc_pid_stat(5): nice value, real time priority, policy.
    let script = "set -- $(cat /proc/self/stat); echo ${19} ${40} ${41}";
    // Where no nice value is asked for it stays what it was.
    let own = rustix::process::getpriority_process(None).expect("read");
    for (scheduler, said) in [
        (
            json!({"policy": "SCHED_OTHER", "nice": own + 3}),
            format!("{} 0 0", own + 3),
        ),
        (
            json!({"policy": "SCHED_BATCH", "nice": own + 5}),
            format!("{} 0 3", own + 5),
        ),
        (json!({"policy": "SCHED_IDLE"}), format!("{own} 0 5")),
        (
            json!({"policy": "SCHED_FIFO", "priority": 7}),
            format!("{own} 7 1"),
        ),
        (
            json!({"policy": "SCHED_RR", "priority": 8, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
            format!("{own} 8 2"),
        ),
    ] {
        let mut config = host.config(&script.replace("self", "1"));
        config["process"]["scheduler"] = scheduler.clone();
        let (code, out, err) = host.run("policy", config);
        if err.contains("error setting scheduler: operation not permitted") {
            kit::skip(&format!("{scheduler} is not permitted here"));
            continue;
        }
        assert_eq!((code, out.trim()), (0, said.as_str()), "{scheduler} {err}");
    }
    let mut config = host.config("true");
    config["process"]["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 99});
    let (code, _, err) = host.run("policy", config);
    let said = "invalid scheduler.nice: 99 when scheduler.policy is SCHED_OTHER";
    assert!(code == 1 && err.contains(said), "{err}");
}

#[test]
fn what_a_process_file_leaves_out_is_as_the_container_has_it() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("exec sleep 1000");
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]);
    config["process"]["user"]["umask"] = json!(0o027);
    host.create("left-out", config);
    assert!(host.call(&["start", "left-out"]).status.success());
    let script = "ulimit -n; umask; grep CapEff /proc/self/status";
    let document = json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]});
    fs_err::write(host.path("process.json"), document.to_string()).expect("written");
    let output = host.call(&["exec", "--process", "process.json", "left-out"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // CAP_CHOWN and CAP_KILL.
    let said = "77\n0027\nCapEff:\t0000000000000021\n";
    assert_eq!(text, said, "{}", stderr(&output));
    assert!(
        host.call(&["delete", "--force", "left-out"])
            .status
            .success()
    );
}

#[test]
fn the_io_priority_is_as_asked_for() {
    let Some(host) = Host::new() else { return };
    for (class, priority, said) in [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        let mut config = host.config("busybox ionice -p 1");
        config["process"]["ioPriority"] = json!({"class": class, "priority": priority});
        let (code, out, err) = host.run("ioprio", config);
        assert_eq!((code, out.trim()), (0, said), "{err}");
    }
}

#[test]
fn memory_comes_from_the_nodes_of_the_policy() {
    let Some(host) = Host::new() else { return };
    let mut config = host
        .config("while read -r at policy rest; do echo $policy; break; done < /proc/1/numa_maps");
    config["linux"]["memoryPolicy"] =
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let (code, out, err) = host.run("nodes", config.clone());
    if err.contains("function not implemented") {
        kit::skip("this kernel has no memory policies");
        return;
    }
    assert_eq!((code, out.trim()), (0, "bind=static:0"), "{err}");
    config["linux"]["memoryPolicy"]["nodes"] = json!("8000");
    let (code, _, err) = host.run("nodes", config);
    assert!(
        code == 1 && err.contains("failed to set memory policy"),
        "{err}"
    );
}

/// What a process that joins sees of its processors, by its document.
fn affinity(host: &Host, document: &Value) -> std::process::Output {
    fs_err::write(host.path("process.json"), document.to_string()).expect("written");
    host.call(&["exec", "--process", "process.json", "cpus"])
}

#[test]
fn a_process_that_joins_runs_on_its_processors() {
    let Some(host) = Host::new() else { return };
    host.create("cpus", host.config("exec sleep 1000"));
    assert!(host.call(&["start", "cpus"]).status.success());
    let mut document = host.config("grep Cpus_allowed_list: /proc/self/status")["process"].clone();
    for (affinities, said) in [
        (json!({"initial": "0"}), "0"),
        (json!({"initial": "0", "final": "1"}), "1"),
        (json!({"final": "0"}), "0"),
    ] {
        document["execCPUAffinity"] = affinities.clone();
        let output = affinity(&host, &document);
        if stderr(&output).contains("CPU affinity: invalid argument") {
            kit::skip("this machine has one processor");
            continue;
        }
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        // Before kernel 6.2 the move to the control group undoes the first choice.
        if affinities.get("final").is_none() && out.trim() != format!("Cpus_allowed_list:\t{said}")
        {
            kit::skip("this kernel resets a process' processors with its control group");
            continue;
        }
        assert_eq!(
            out.trim(),
            format!("Cpus_allowed_list:\t{said}"),
            "{}",
            stderr(&output)
        );
    }
    document["execCPUAffinity"] = json!({"final": "8000"});
    let output = affinity(&host, &document);
    assert_eq!(output.status.code(), Some(255));
    assert!(stderr(&output).contains("error setting final CPU affinity: invalid argument"));
    document["execCPUAffinity"] = json!({"initial": "3-1"});
    assert!(stderr(&affinity(&host, &document)).contains("invalid range: 3-1"));
    assert!(host.call(&["delete", "--force", "cpus"]).status.success());
}

#[test]
fn a_process_that_joins_has_the_containers_execution_domain() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("exec sleep 1000");
    config["linux"]["personality"] = json!({"domain": "LINUX32", "flags": ["none"]});
    host.create("domain", config);
    assert!(host.call(&["start", "domain"]).status.success());
    let output = host.call(&[
        "exec",
        "domain",
        "cat",
        "/proc/1/personality",
        "/proc/self/personality",
    ]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "00000008\n00000008\n",
        "{}",
        stderr(&output)
    );
    assert!(host.call(&["delete", "--force", "domain"]).status.success());
}

#[test]
fn limits_and_the_memory_killers_score_are_set() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config(
        "grep -E 'Max (open files|core file size|nice)' /proc/self/limits | tr -s ' '; cat /proc/self/oom_score_adj",
    );
    config["process"]["oomScoreAdj"] = json!(432);
    config["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
    ]);
    let (code, out, err) = host.run("limits", config.clone());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Max open files 100 200 files"), "{out}");
    assert!(out.contains("Max core file size 0 4096 bytes"), "{out}");
    assert!(out.ends_with("432\n"), "{out}");
    for (limit, said) in [
        (
            json!({"type": "RLIMIT_X", "soft": 1, "hard": 1}),
            "wrong rlimit value: RLIMIT_X",
        ),
        (
            json!({"type": "RLIMIT_CORE", "soft": 2, "hard": 1}),
            "error setting rlimits for ready process: error setting rlimit type 4: invalid argument",
        ),
    ] {
        config["process"]["rlimits"] = json!([limit]);
        let (code, _, err) = host.run("limits", config.clone());
        assert!(code == 1 && err.contains(said), "{err}");
        assert!(!host.path("state/limits").exists());
    }
}

#[test]
fn capabilities_that_cannot_be_had_are_left_out_with_a_warning() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("grep CapAmb /proc/self/status");
    let kill = json!(["CAP_KILL"]);
    config["process"]["capabilities"] = json!({"bounding": ["CAP_NOSUCH", "CAP_KILL", "CAP_ANY"],
        "effective": kill, "permitted": kill, "inheritable": kill, "ambient": kill});
    let (code, out, err) = host.run("caps", config.clone());
    assert_eq!(
        (code, out.as_str()),
        (0, "CapAmb:\t0000000000000020\n"),
        "{err}"
    );
    assert!(
        err.contains("ignoring unknown or unavailable capabilities: [CAP_ANY CAP_NOSUCH]"),
        "{err}"
    );
    config["process"]["capabilities"]["inheritable"] = json!([]);
    let (code, out, err) = host.run("caps", config);
    assert_eq!(
        (code, out.as_str()),
        (0, "CapAmb:\t0000000000000000\n"),
        "{err}"
    );
    assert!(err.contains("can't raise ambient capability CAP_KILL: operation not permitted"));
}

#[test]
fn labels_need_a_kernel_that_knows_them() {
    let Some(host) = Host::new() else { return };
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        kit::skip("this kernel has SELinux");
        return;
    }
    let mut config = host.config("true");
    config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
    let (code, _, err) = host.run("label", config);
    let said = "selinux label is specified in config, but selinux is disabled or not supported";
    assert!(code == 1 && err.contains(said), "{err}");
    let mut config = host.config("true");
    config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0");
    let (code, _, err) = host.run("label", config);
    assert!(
        code == 1 && err.contains("mount label is specified in config"),
        "{err}"
    );
}

#[test]
fn cache_allocation_needs_a_machine_that_has_it() {
    let Some(host) = Host::new() else { return };
    if std::path::Path::new("/sys/fs/resctrl").exists() {
        kit::skip("this machine has resctrl");
        return;
    }
    let mut config = host.config("true");
    config["linux"]["intelRdt"] = json!({"closID": "gold"});
    let (code, _, err) = host.run("rdt", config);
    let said = "intelRdt is specified in config, but Intel RDT is not enabled";
    assert!(code == 1 && err.contains(said), "{err}");
}
