//! `hull-dns SOCKET`, started by the daemon: answers the names that containers ask for.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match hull_network::dns::serve(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // already told to whoever started us
    }
}
