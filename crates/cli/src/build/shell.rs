//! `--on-fail shell`: a shell in what a failing step has left.

use crate::context::Cli;
use crate::failure::{Failure, Outcome};

/// Runs a shell in a container of the image, which goes with it.
pub(super) fn open(cli: &Cli, image: &str, step: &str) -> Outcome {
    crate::say(&format!(
        "\nA shell in what this step has left, without its mounts; its end ends the command:\n > {step}"
    ));
    let ran = crate::container::run_shell(cli, image);
    let client = cli.client()?;
    let removed = cli.block_on(client.remove_image(image, true, false, &[]));
    match ran {
        // However the shell ends: the build has failed.
        Ok(()) | Err(Failure::Exit(_)) => {}
        Err(failure) => crate::say(&failure.message().unwrap_or_default()),
    }
    removed?;
    Ok(())
}
