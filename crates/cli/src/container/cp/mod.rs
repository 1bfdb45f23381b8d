//! `hull cp`.

mod pack;
mod path;
mod unpack;

pub(crate) use unpack::below as unpack_below;

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::format::human_size;
use crate::{terminal, transfer};
use hull_api::client::{Client, upload};
use hull_api::container::archive::mode;
use path::{Info, Prepared, is_absolute, prepare, split};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// How many pieces of an archive wait at most.
const WAITING: usize = 4;

static FLAGS: &[Flag] = &[
    flag("archive", "Archive mode (copy all uid/gid information)").short('a'),
    flag("follow-link", "Always follow symlinks in SRC_PATH").short('L'),
    flag(
        "quiet",
        "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
    )
    .short('q'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container cp", "cp"],
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\thull cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

/// One copy, in either direction.
struct Copy<'c> {
    client: &'c Client,
    container: &'c str,
    source: &'c str,
    target: &'c str,
    follow: bool,
    archive: bool,
    /// Bytes of archive so far.
    copied: Arc<AtomicU64>,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (source, target) = (matches.args[0].as_str(), matches.args[1].as_str());
    if source.is_empty() {
        return Err(Failure::new("source can not be empty"));
    }
    if target.is_empty() {
        return Err(Failure::new("destination can not be empty"));
    }
    let quiet = match matches.changed("quiet") {
        true => matches.bool("quiet"),
        false => !terminal::stdout_is_terminal(),
    };
    let (from, source) = of_container(source);
    let (to, target) = of_container(target);
    let (container, into) = match (from, to) {
        (Some(_), Some(_)) => {
            return Err(Failure::new("copying between containers is not supported"));
        }
        (Some(from), None) => (from, false),
        (None, Some(to)) => (to, true),
        (None, None) => {
            return Err(Failure::new("must specify at least one container source"));
        }
    };
    let copy = Copy {
        client: cli.client()?,
        container,
        source,
        target,
        follow: matches.bool("follow-link"),
        archive: matches.bool("archive"),
        copied: Arc::default(),
    };
    let target = cli.block_on(async {
        match into {
            true => copy.send_in().await.map(Some),
            false => copy.fetch_out().await,
        }
    })?;
    if let Some(target) = target.filter(|_| !quiet) {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let copied = human_size(copy.copied.load(Ordering::Relaxed) as f64, 3);
        crate::say(&format!("Successfully copied {copied} to {target}"));
    }
    Ok(())
}

/// `container:path`; what begins with a dot or a slash is a local path whatever follows.
fn of_container(text: &str) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((container, path))
            if !is_absolute(text) && !container.starts_with('.') && !container.is_empty() =>
        {
            (Some(container), path)
        }
        _ => (None, text),
    }
}

impl Copy<'_> {
    /// Where it went; `None` for standard output.
    async fn fetch_out(&self) -> Result<Option<String>, Failure> {
        let to_stdout = self.target == "-";
        let target = match to_stdout {
            true => self.target.to_owned(),
            false => path::absolute(self.target)?,
        };
        path::check_output(&target).map_err(Failure::new)?;
        let mut source = Info {
            path: self.source.to_owned(),
            exists: true,
            ..Info::default()
        };
        if self.follow
            && let Ok(stat) = self.client.path_stat(self.container, self.source).await
            && stat.mode & mode::SYMLINK != 0
        {
            let link = beside(self.source, &stat.link_target);
            (source.path, source.rebase) = path::rebase(self.source, link);
        }
        let (stat, mut body) = self.client.copy_from(self.container, &source.path).await?;
        if to_stdout {
            transfer::received(body, "").await?;
            return Ok(None);
        }
        source.is_directory = stat.mode & mode::DIRECTORY != 0;
        let (send, pieces) = mpsc::channel::<io::Result<Vec<u8>>>(WAITING);
        let place = target.clone();
        let unpacking = tokio::task::spawn_blocking(move || unpack::into(&source, &place, pieces));
        loop {
            let piece = match body.chunk().await {
                Ok(Some(piece)) => Ok(Vec::from(piece)),
                Ok(None) => break,
                Err(error) => Err(io::Error::other(error)),
            };
            let length = piece.as_ref().map_or(0, Vec::len);
            self.copied.fetch_add(length as u64, Ordering::Relaxed);
            let failed = piece.is_err();
            // It has what it wants, or has failed and says why below.
            if send.send(piece).await.is_err() || failed {
                break;
            }
        }
        drop(send);
        joined(unpacking.await)?;
        Ok(Some(target))
    }

    /// Where it went.
    async fn send_in(&self) -> Result<String, Failure> {
        let target = self.destination().await?;
        let shown = format!("{}:{}", self.container, target.path);
        let (send, pieces) = mpsc::channel(WAITING);
        if self.source == "-" {
            if !target.is_directory {
                let text = format!(
                    "destination \"{}:{}\" must be a directory",
                    self.container, self.target
                );
                return Err(Failure::new(text));
            }
            let archive = transfer::sent(io::stdin());
            self.client
                .copy_into(self.container, &target.path, self.archive, archive)
                .await?;
            return Ok(shown);
        }
        let source = path::local_source(&path::absolute(self.source)?, self.follow)?;
        let Prepared { directory, rename } = prepare(&source, &target).map_err(Failure::new)?;
        let name = match rename {
            Some((_, new)) => new,
            None if source.rebase.is_empty() => split(&source.path).1,
            None => source.rebase.clone(),
        };
        let copied = Arc::clone(&self.copied);
        let packing =
            tokio::task::spawn_blocking(move || pack::all(&source.path, &name, send, &copied));
        let sent = self
            .client
            .copy_into(self.container, &directory, self.archive, upload(pieces))
            .await;
        // Why an archive broke off is worth more than that it did.
        joined(packing.await)?;
        sent?;
        Ok(shown)
    }

    /// What is there already, in the container.
    async fn destination(&self) -> Result<Info, Failure> {
        let mut target = Info {
            path: self.target.to_owned(),
            ..Info::default()
        };
        let Ok(mut stat) = self.client.path_stat(self.container, self.target).await else {
            // It may come into being; if its directory is not there either, that is told then.
            return Ok(target);
        };
        if stat.mode & mode::SYMLINK != 0 {
            target.path = beside(self.target, &stat.link_target);
            match self.client.path_stat(self.container, &target.path).await {
                Ok(found) => stat = found,
                Err(_) => return Ok(target),
            }
        }
        if stat.mode & mode::DEVICE != 0 {
            let text = format!(
                "destination \"{}:{}\" must be a directory or a regular file: got a device",
                self.container, self.target
            );
            return Err(Failure::new(text));
        }
        target.exists = true;
        target.is_directory = stat.mode & mode::DIRECTORY != 0;
        Ok(target)
    }
}

/// A link's target as seen from the link.
fn beside(link: &str, target: &str) -> String {
    if is_absolute(target) {
        return target.to_owned();
    }
    path::clean(&format!("{}/{target}", split(link).0))
}

fn joined<T>(work: Result<Result<T, String>, tokio::task::JoinError>) -> Result<T, Failure> {
    match work {
        Ok(result) => result.map_err(Failure::new),
        Err(panic) => Err(Failure::new(panic.to_string())),
    }
}

/// An error of a local file as Go words it.
fn told(operation: &str, path: &Path, error: &io::Error) -> String {
    let text = error.to_string();
    let why = text.split(" (os error").next().unwrap_or_default();
    format!("{operation} {}: {}", path.display(), why.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_from_paths() {
        for (text, container, path) in [
            ("c:/x", Some("c"), "/x"),
            ("c:", Some("c"), ""),
            ("./a:b", None, "./a:b"),
            ("/a:b", None, "/a:b"),
            ("plain", None, "plain"),
            ("-", None, "-"),
        ] {
            assert_eq!(of_container(text), (container, path), "{text}");
        }
    }
}
