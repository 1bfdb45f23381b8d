//! `hull-logger ID`, started by a shim with a socket as its standard input. The argument is for those who read process
//! lists.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match hull_logger::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // already told to the shim
    }
}
