//! A container from its bundle to its end, without the program: `lifecycle BUNDLE` (as root).
//!
//! The bundle's root file system needs a `/bin/sh`.
#![forbid(unsafe_code)]

use hull_runtime::{Error, Options, Runtime, protect_executable};
use hull_spec::runtime::{ContainerStatus, Process};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(bundle) = std::env::args_os().nth(1) else {
        say("usage: lifecycle BUNDLE");
        return ExitCode::FAILURE;
    };
    match protect_executable(0).and_then(|()| live(Path::new(&bundle))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.chain());
            ExitCode::FAILURE
        }
    }
}

/// One life, told on standard output.
pub(crate) fn live(bundle: &Path) -> Result<(), Error> {
    let runtime = Runtime::at(bundle.join("state"))?;
    let id = "example";
    runtime.create(id, bundle, Options::default())?;
    let lived = in_life(&runtime, id);
    // Whatever has happened, it is not left behind.
    runtime.delete(id, true)?;
    lived
}

fn in_life(runtime: &Runtime, id: &str) -> Result<(), Error> {
    tell(runtime, id)?;
    runtime.start(id)?;
    tell(runtime, id)?;
    let process = Process {
        args: ["sh", "-c", "exit 7"].map(String::from).to_vec(),
        env: vec!["PATH=/bin".to_owned()],
        cwd: "/".to_owned(),
        ..Process::default()
    };
    let code = runtime.exec(id, &process, Options::default())?.wait()?;
    say(&format!("exec: {code}"));
    runtime.kill(id, 9)?;
    while runtime.state(id)?.status != ContainerStatus::Stopped {
        std::thread::yield_now();
    }
    tell(runtime, id)
}

fn tell(runtime: &Runtime, id: &str) -> Result<(), Error> {
    let state = runtime.state(id)?;
    say(&format!("{}: {:?}", state.id, state.status));
    Ok(())
}

fn say(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stdout(), "{text}");
}
