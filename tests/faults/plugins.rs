//! A plugin for volumes that hangs.

use hull_tests::client::Client;
use hull_tests::daemon::wait_until;
use hull_tests::setup::with;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

/// Whether unmounting hangs, and how many wait for it.
#[derive(Default)]
struct Gate {
    shut: Mutex<(bool, u32)>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        self.shut.lock().expect("whole").0 = shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.shut.lock().expect("whole");
        state.1 += 1;
        let mut state = self
            .changed
            .wait_while(state, |(shut, _)| *shut)
            .expect("whole");
        state.1 -= 1;
    }

    fn waiting(&self) -> u32 {
        self.shut.lock().expect("whole").1
    }
}

/// Keeps one volume; who unmounts it has to pass the gate.
fn plugin(socket: &Path, (name, directory): (&str, String), gate: Arc<Gate>) {
    fs_err::create_dir_all(socket.parent().expect("has one")).expect("made");
    let listener = UnixListener::bind(socket).expect("listens");
    let name = name.to_owned();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (name, directory) = (name.clone(), directory.clone());
            let gate = Arc::clone(&gate);
            std::thread::spawn(move || answer(connection, (&name, &directory), &gate));
        }
    });
}

fn answer(mut connection: UnixStream, (name, directory): (&str, &str), gate: &Gate) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // An answer is given when all is there that is asked of a volume, or when nothing is.
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(Some(0), |rest| rest.lines().next()?.parse().ok())?;
        (body.len() >= length).then(|| text.to_string())
    };
    let request = loop {
        if let Some(request) = whole(&request) {
            break request;
        }
        match connection.read(&mut buffer) {
            Ok(length @ 1..) => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    };
    let volume = json!({"Name": name, "Mountpoint": directory});
    let answer = match request.split(' ').nth(1).unwrap_or_default() {
        "/Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
        "/VolumeDriver.Mount" => json!({"Mountpoint": directory}),
        "/VolumeDriver.Get" if request.contains(name) => json!({"Volume": volume}),
        "/VolumeDriver.Get" => json!({"Err": "no such volume"}),
        "/VolumeDriver.List" => json!({"Volumes": [volume]}),
        "/VolumeDriver.Unmount" => {
            gate.pass();
            json!({})
        }
        _ => json!({}),
    };
    let answer = answer.to_string();
    let _ = write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    );
}

#[test]
fn a_plugin_that_hangs_does_not_hold_up_the_start() {
    with(Client::Hull, |s| {
        let directory = tempfile::tempdir().unwrap();
        // Others ask every plugin for the volumes they look for.
        let driver = format!("hullhangs{}", std::process::id());
        let volume = driver.as_str();
        let socket = Path::new("/run/docker/plugins").join(format!("{driver}.sock"));
        let gate = Arc::new(Gate::default());
        plugin(
            &socket,
            (volume, directory.path().to_string_lossy().into_owned()),
            Arc::clone(&gate),
        );
        let _ = s.run(&["volume", "create", "-d", &driver, volume]).ok();
        let run = format!("run -d --network none --name user -v {volume}:/v busybox sleep 1000");
        let _ = s.line(&run).ok();
        let pid = s.inspect("user", "/State/Pid").as_i64().unwrap();
        s.daemon.kill();
        gate.set(true);
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        wait_until("its shim ends", || {
            let left = s.daemon.shims();
            left.is_empty().then_some(()).ok_or(left)
        });
        s.daemon.restart();
        // It knows all containers, and the plugin has not answered yet.
        assert_eq!(s.inspect("user", "/State/ExitCode"), 137);
        wait_until("the plugin is asked", || {
            (gate.waiting() == 1).then_some(()).ok_or(())
        });
        let other = [
            "run",
            "--rm",
            "--network",
            "none",
            "busybox",
            "echo",
            "fine",
        ];
        assert_eq!(s.run(&other).ok(), "fine");
        // Only who wants the container itself waits for it.
        let mut start = s.client.command(&s.daemon);
        start.args(["start", "user"]);
        let started = std::thread::spawn(move || hull_tests::command::run(&mut start, &[]));
        gate.set(false);
        assert_eq!(started.join().unwrap().ok(), "user");
        assert_eq!(s.inspect("user", "/State/Running"), true);
        let _ = s.line("rm -f user").ok();
        let _ = s.run(&["volume", "rm", volume]).ok();
        fs_err::remove_file(&socket).unwrap();
    });
}
