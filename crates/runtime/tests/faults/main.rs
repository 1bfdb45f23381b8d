//! The runtime is killed at one of its system calls, again and again at another one: `delete --force`
//! must then leave nothing; nor of a state that was broken in another way. By default some of the calls, others in every run; with
//! `HULL_TEST_EVERY_CALL=1`, all.

#[path = "../kit/mod.rs"]
mod kit;
mod leftovers;

use hull_linux::process::{Stop, Tracee};
use kit::{Host, stderr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many of a command's calls are tried.
const SAMPLES: usize = 10;

/// How long what ends by itself may take.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// A host whose containers and processes can be told from all others.
struct Faults {
    host: Host,
    id: String,
    mark: String,
}

impl Faults {
    fn new(name: &str) -> Option<Self> {
        let host = Host::new()?;
        let id = format!("fault-{name}");
        let mark = host.path("").to_string_lossy().into_owned();
        Some(Self { host, id, mark })
    }

    /// A container that runs for long, and whose process is known by the mark.
    fn configure(&self, script: &str) {
        let mut config = self.host.config("");
        config["process"]["args"] = json!(["sh", "-c", format!("{script}; : {}", self.mark)]);
        self.host.write(config, &self.id);
    }

    fn must(&self, words: &[&str]) {
        let file = || fs_err::File::create(self.host.path("output")).expect("made");
        let status = self
            .host
            .command(words)
            .stdout(file().into_parts().0)
            .stderr(file().into_parts().0)
            .status()
            .expect("runs");
        let said = fs_err::read_to_string(self.host.path("output")).expect("read");
        assert!(status.success(), "{words:?}: {said}");
    }

    /// Runs a command until it has begun or ended so many system calls, then kills it. Gives how many there
    /// were, and whether it ended before.
    fn kill_at(&self, words: &[&str], most: usize) -> (usize, bool) {
        let runtime = self.host.command(words);
        let file = || fs_err::File::create(self.host.path("output")).expect("made");
        // It waits for us before it becomes the runtime.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
            .arg(runtime.get_program())
            .args(runtime.get_args())
            .current_dir(runtime.get_current_dir().expect("set"))
            .stdin(Stdio::null())
            .stdout(file().into_parts().0)
            .stderr(file().into_parts().0)
            .spawn()
            .expect("starts");
        let pid = Pid::from_child(&child);
        let stopped = rustix::process::WaitOptions::UNTRACED;
        rustix::process::waitpid(Some(pid), stopped).expect("stops");
        let tracee = Tracee::seize(pid).expect("may be followed");
        kill_process(pid, Signal::CONT).expect("goes on");
        let mut calls = 0;
        let mut stop = tracee.wait().expect("stands still");
        loop {
            let signal = match stop {
                Stop::Ended(_) => break,
                Stop::Call if calls >= most => {
                    kill_process(pid, Signal::KILL).expect("dies");
                    tracee.wait().expect("ends");
                    break;
                }
                Stop::Call => {
                    calls += 1;
                    0
                }
                Stop::Signal(signal) => signal,
                Stop::Stopped => 0,
            };
            stop = tracee.step(signal).expect("goes on");
        }
        // It was waited for above: this only takes note of it.
        let _ = child.try_wait();
        (calls, matches!(stop, Stop::Ended(_)))
    }

    fn assert_nothing_left(&self, when: &str) {
        let output = self.host.call(&["delete", "--force", &self.id]);
        assert!(output.status.success(), "{when}: {}", stderr(&output));
        assert!(
            !self.host.path("state").join(&self.id).exists(),
            "{when}: state"
        );
        for hierarchy in fs_err::read_dir("/sys/fs/cgroup").expect("listed") {
            let directory = hierarchy.expect("an entry").path().join(self.group());
            assert!(!directory.exists(), "{when}: {}", directory.display());
        }
        for process in self.processes() {
            // A first process that had nobody to listen to ends by itself.
            self.wait_for(process, when);
        }
        assert!(self.processes().is_empty(), "{when}: processes are left");
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").expect("read");
        assert!(!mounts.contains(&self.mark), "{when}: mounts");
    }

    /// Waits until a process has ended.
    fn wait_for(&self, process: Pid, when: &str) {
        if let Ok(pidfd) = pidfd_open(process, PidfdFlags::empty()) {
            let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE));
            assert_eq!(ended, Ok(1), "{when}: process {process} is left");
        }
    }

    /// The control group of the container, in every hierarchy.
    fn group(&self) -> String {
        format!("hull-test/{}-{}", std::process::id(), self.id)
    }

    /// The processes that have the mark on their command line.
    fn processes(&self) -> Vec<Pid> {
        let number = |path: &Path| path.file_name()?.to_str()?.parse().ok();
        let entries = fs_err::read_dir("/proc").expect("listed").flatten();
        let pids = entries.filter_map(|entry| Pid::from_raw(number(&entry.path())?));
        pids.filter(|pid| {
            let line = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.mark)
        })
        .collect()
    }
}

/// Kills a command at its calls, each time after `prepare`.
fn kill_everywhere(name: &str, words: &[&str], script: &str, prepare: &[&[&str]]) {
    let Some(faults) = Faults::new(name) else {
        return;
    };
    faults.configure(script);
    let with_id = |words: &[&str]| -> Vec<String> {
        let word = |word: &&str| {
            (*word)
                .replace("ID", &faults.id)
                .replace("MARK", &faults.mark)
        };
        words.iter().map(word).collect()
    };
    let words = with_id(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let attempt = |most| {
        for command in prepare {
            let command = with_id(command);
            faults.must(&command.iter().map(String::as_str).collect::<Vec<_>>());
        }
        faults.kill_at(&words, most)
    };
    let (all, ended) = attempt(usize::MAX);
    assert!(ended);
    faults.assert_nothing_left(&format!("{words:?} ended by itself"));
    assert!(all > SAMPLES, "{words:?} makes {all} system calls");
    let step = if std::env::var_os("HULL_TEST_EVERY_CALL").is_some() {
        1
    } else {
        all / SAMPLES
    };
    let first = usize::try_from(std::process::id()).expect("fits") % step;
    for at in (first..all).step_by(step) {
        attempt(at);
        faults.assert_nothing_left(&format!("{words:?} killed at call {at} of {all}"));
    }
}

const LONG: &str = "sleep 1000";

#[test]
fn create_can_be_killed_anywhere() {
    kill_everywhere("create", &["create", "ID"], LONG, &[]);
}

#[test]
fn start_can_be_killed_anywhere() {
    kill_everywhere("start", &["start", "ID"], LONG, &[&["create", "ID"]]);
}

#[test]
fn run_can_be_killed_anywhere() {
    kill_everywhere("run", &["run", "ID"], "true", &[]);
}

#[test]
fn exec_can_be_killed_anywhere() {
    let exec = ["exec", "ID", "sh", "-c", "true; : MARK"];
    kill_everywhere("exec", &exec, LONG, &[&["run", "--detach", "ID"]]);
}

#[test]
fn a_create_into_a_foreign_group_can_be_killed_anywhere_and_harms_nobody() {
    let Some(faults) = Faults::new("foreign") else {
        return;
    };
    faults.configure(LONG);
    let group = fs_err::read_dir("/sys/fs/cgroup")
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.join("tasks").exists() || path.join("cgroup.type").exists())
        .unwrap_or_else(|| "/sys/fs/cgroup".into())
        .join(faults.group());
    fs_err::create_dir_all(&group).expect("made");
    let mut other = Command::new("sleep").arg("1000").spawn().expect("starts");
    fs_err::write(group.join("cgroup.procs"), other.id().to_string()).expect("moved");
    let (all, ended) = faults.kill_at(&["create", &faults.id], usize::MAX);
    assert!(ended);
    for at in (0..all).step_by(all / SAMPLES) {
        faults.kill_at(&["create", &faults.id], at);
        let output = faults.host.call(&["delete", "--force", &faults.id]);
        assert!(output.status.success(), "at {at}: {}", stderr(&output));
        assert!(
            other.try_wait().expect("asked").is_none(),
            "at {at} of {all}"
        );
    }
    other.kill().expect("killed");
    other.wait().expect("waited for");
    fs_err::remove_dir(&group).expect("removed");
    faults.assert_nothing_left("foreign");
}

#[test]
fn delete_can_be_killed_anywhere() {
    let delete = ["delete", "--force", "ID"];
    kill_everywhere("delete", &delete, LONG, &[&["run", "--detach", "ID"]]);
}

#[test]
fn delete_of_a_paused_container_can_be_killed_anywhere() {
    let before: &[&[&str]] = &[&["run", "--detach", "ID"], &["pause", "ID"]];
    kill_everywhere("frozen", &["delete", "--force", "ID"], LONG, before);
}
