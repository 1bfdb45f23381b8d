//! `hull-runtime`: the OCI runtime of Hull, with runc's command line.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments = arguments.collect();
    if std::path::Path::new(&name).ends_with("docker-init") {
        std::process::exit(hull_runtime::init_main(arguments));
    }
    hull_runtime::main(arguments)
}
