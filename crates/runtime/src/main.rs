//! `hull-runtime`: the OCI runtime of Hull, with runc's command line.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    hull_runtime::main(std::env::args_os().skip(1).collect())
}
