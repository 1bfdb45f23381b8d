//! The library half, by its example: run for real, in a process of one thread.

mod kit;
#[path = "../examples/lifecycle.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod lifecycle;

use kit::Host;
use serde_json::json;
use std::process::{Command, Stdio};

/// Given to this program when it is to be the example.
const EXAMPLE: &str = "--example";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, example, bundle] = words.as_slice()
        && example == EXAMPLE
    {
        hull_runtime::protect_executable(0).expect("protected");
        lifecycle::live(bundle.as_ref()).expect("a life");
        return;
    }
    // What cargo asks of every test program.
    if words.iter().any(|word| word == "--list") {
        return;
    }
    let Some(host) = Host::new() else { return };
    a_life_is_told(&host);
    a_process_with_threads_is_refused(&host);
}

fn a_life_is_told(host: &Host) {
    let mut config = host.config("");
    config["process"]["args"] = json!(["sleep", "1000"]);
    host.write(config, "library");
    let output = host.path("told");
    let file = fs_err::File::create(&output).expect("made").into_parts().0;
    let status = Command::new(std::env::current_exe().expect("known"))
        .arg(EXAMPLE)
        .arg(host.path(""))
        .stdin(Stdio::null())
        .stdout(file)
        .status()
        .expect("runs");
    assert!(status.success());
    let told = fs_err::read_to_string(output).expect("read");
    assert_eq!(
        told,
        "example: Created\nexample: Running\nexec: 7\nexample: Stopped\n"
    );
    assert!(!host.path("state/example").exists());
}

fn a_process_with_threads_is_refused(host: &Host) {
    let runtime = hull_runtime::Runtime::at(host.path("state")).expect("a directory");
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || ended.recv().is_ok());
    let refused = runtime.create("threads", &host.path(""), hull_runtime::Options::default());
    drop(end);
    other.join().expect("ended");
    let text = refused.expect_err("refused").chain();
    assert!(text.contains("this one has 2"), "{text}");
}
