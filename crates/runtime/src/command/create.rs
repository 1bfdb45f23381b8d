//! `create`: a container whose first process waits for `start`.

use super::{Context, only_argument};
use crate::arguments::Arguments;
use crate::error::{Error, said};
use crate::launch::{self, Wishes};
use crate::plan::Bundle;
use crate::protect;
use hull_linux::process;

/// Makes the container and ends while its first process waits.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Error> {
    let id = only_argument("create", arguments)?;
    protect::executable(preserved(arguments)?)?;
    let bundle = Bundle::read(arguments.value("bundle"))?;
    let wishes = Wishes {
        fifo: true,
        ..wishes(arguments, terminal(&bundle))?
    };
    launch::create(&context.root, &id, &bundle, &wishes, &context.report)?;
    Ok(())
}

/// Whether the first process gets a terminal.
pub(super) fn terminal(bundle: &Bundle) -> bool {
    bundle
        .spec
        .process
        .as_ref()
        .is_some_and(|process| process.terminal)
}

/// What the options say, for `create` and `run`.
pub(super) fn wishes(arguments: &Arguments, terminal: bool) -> Result<Wishes, Error> {
    let socket = arguments.value("console-socket");
    if socket.is_some() && !terminal {
        return Err(said(
            "cannot use console socket if runc will not detach or allocate tty",
        ));
    }
    Ok(Wishes {
        console: launch::console_socket(socket)?,
        pid_file: arguments.value("pid-file").map(Into::into),
        preserved: preserved(arguments)?,
        no_pivot: arguments.is_set("no-pivot"),
        no_new_keyring: arguments.is_set("no-new-keyring"),
        fifo: false,
    })
}

/// Descriptors the program keeps: `--preserve-fds` and what socket activation (sd_listen_fds(3)) passed.
///
/// Numbers that nobody passed would be descriptors of our own.
pub(super) fn preserved(arguments: &Arguments) -> Result<u32, Error> {
    let listening = std::env::var("LISTEN_FDS")
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    let wanted = arguments.number("preserve-fds")?;
    let most = wanted.saturating_add(listening.unwrap_or(0));
    let mut passed = 0;
    while passed < most && process::is_inherited(passed.saturating_add(3)) {
        passed += 1;
    }
    if passed < wanted {
        return Err(said(format!(
            "unable to stat preserved-fd {} (of {most})",
            passed + 1
        )));
    }
    Ok(passed)
}
