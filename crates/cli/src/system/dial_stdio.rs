//! `hull system dial-stdio`: what `ssh` runs at the other end of `ssh://` addresses.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::Matches;
use std::io::{self, Read, Write};
use std::net::Shutdown;

pub(crate) static COMMAND: Command = Command {
    words: &["system dial-stdio"],
    usage: "",
    about: "Connect standard input and output to the daemon",
    flags: &[],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, _: &Matches) -> Outcome {
    let client = cli.client()?;
    let mut daemon = cli.block_on(client.dial())?;
    let mut input = daemon.try_clone()?;
    // Ends with the process at the latest: standard input may never end.
    std::thread::spawn(move || {
        let copied = copy(&mut io::stdin().lock(), &mut input);
        // The other end has nothing more to say; the daemon may have.
        let _ = input.shutdown(if copied.is_ok() {
            Shutdown::Write
        } else {
            Shutdown::Both
        });
    });
    Ok(copy(&mut daemon, &mut io::stdout().lock())?)
}

/// Copies, and passes on at once what has come.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..count])?;
        to.flush()?;
    }
}
