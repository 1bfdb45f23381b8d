//! Contexts that are not the client's directory: git repositories, archives and Dockerfiles behind URLs.

use super::Error;
use super::git::{self, Git};
use super::options::Options;
use crate::graph::{
    Action, Change, CopyFiles, Files, Graph, HttpSource, Metadata, Op, Source, Tree as At,
};
use crate::solve::{Context, Solution, Solver};
use std::io::Read as _;
use std::sync::Arc;

/// The name that the file behind a URL gets.
const FILE: &str = "context";
/// Enough to know an archive by.
const HEAD: u64 = 1024;

/// Such a context. Its files stay as long as this.
pub(super) struct Remote {
    /// What brings it, each from the one before.
    pub(super) steps: Vec<(Op, Metadata)>,
    /// The Dockerfile's name, where the context is nothing else.
    pub(super) filename: Option<&'static str>,
    pub(super) files: Solution,
}

/// Brings the context that the client names; `None` when that is its directory.
pub(super) fn bring(
    options: &Options,
    solver: &Solver,
    context: &Context,
) -> Result<Option<Remote>, Error> {
    let name = options.context.as_str();
    if let Some(git) = repository(name)? {
        let keep = git.keep_git_dir.unwrap_or(options.keep_git_dir);
        let mut source = git.source;
        source.keep_git_dir = keep;
        let title = format!("[internal] load git source {}", git::shown(name));
        let steps = vec![(Op::Source(Source::Git(source)), Metadata::named(title))];
        let files = solve(&steps, solver, context)
            .map_err(|error| error.within("failed to read dockerfile"))?;
        return Ok(Some(Remote {
            steps,
            filename: None,
            files,
        }));
    }
    match name.starts_with("http://") || name.starts_with("https://") {
        true => by_url(name, solver, context).map(Some),
        false => Ok(None),
    }
}

/// A repository; also `github.com/…`, which in other places would be a path.
fn repository(name: &str) -> Result<Option<Git>, Error> {
    match name.starts_with("github.com/") {
        true => git::parse_remote(&format!("https://{name}")).map(Some),
        false => git::parse(name),
    }
}

fn by_url(url: &str, solver: &Solver, context: &Context) -> Result<Remote, Error> {
    let source = Source::Http(HttpSource {
        url: url.to_owned(),
        filename: FILE.to_owned(),
        ..HttpSource::default()
    });
    let title = "[internal] load remote build context";
    let mut steps = vec![(Op::Source(source), Metadata::named(title))];
    let within = |error: Error| error.within("failed to read downloaded context");
    let mut files = solve(&steps, solver, context).map_err(within)?;
    let head = solver.world().read_file(&files.tree, FILE, HEAD);
    let head = head.map_err(|why| within(Error::new(why.full_message())))?;
    let archive = is_archive(&head.unwrap_or_default());
    if archive {
        steps.push((unpacked(), Metadata::default()));
        files = solve(&steps, solver, context)
            .map_err(|error| error.within("failed to read dockerfile"))?;
    }
    Ok(Remote {
        steps,
        filename: (!archive).then_some(FILE),
        files,
    })
}

fn unpacked() -> Op {
    let copy = CopyFiles {
        source: format!("/{FILE}"),
        dest: "/".to_owned(),
        unpack: true,
        ..CopyFiles::default()
    };
    Op::File(Files {
        actions: vec![Action {
            base: At::Empty,
            from: At::Input(0),
            output: Some(0),
            change: Change::Copy(Box::new(copy)),
        }],
    })
}

/// Makes the last of these steps' files.
fn solve(steps: &[(Op, Metadata)], solver: &Solver, context: &Context) -> Result<Solution, Error> {
    let mut graph = Graph::new();
    let mut last = None;
    for (op, metadata) in steps {
        let inputs = last.into_iter().collect();
        let added = graph.output(op.clone(), inputs, None, metadata.clone());
        last = Some(added.map_err(|why| Error::new(why.to_string()))?);
    }
    let targets: Vec<_> = last.into_iter().collect();
    let solved = solver.solve(&Arc::new(graph), &targets, context);
    let solved = solved.map_err(|why| Error::new(why.source.full_message()))?;
    let missing = || Error::new("the context was not brought");
    solved.into_iter().next().ok_or_else(missing)
}

/// Whether a file begins as those do that are unpacked: bzip2, gzip, xz, zstd, or the header of an entry of tar.
fn is_archive(head: &[u8]) -> bool {
    let packed: [&[u8]; 4] = [
        b"BZh",
        &[0x1f, 0x8b, 0x08],
        &[0xfd, b'7', b'z', b'X', b'Z', 0],
        &[0x28, 0xb5, 0x2f, 0xfd],
    ];
    if packed.iter().any(|magic| head.starts_with(magic)) {
        return true;
    }
    let mut magic = [0; 5];
    let mut rest = head.get(257..).unwrap_or_default();
    rest.read_exact(&mut magic).is_ok() && &magic == b"ustar"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_dockerfiles() {
        assert!(is_archive(b"BZh9"));
        assert!(is_archive(&[0x1f, 0x8b, 8, 0]));
        assert!(!is_archive(b"FROM busybox\n"));
        let mut header = [0; 512];
        header[257..262].copy_from_slice(b"ustar");
        assert!(is_archive(&header));
        assert!(!is_archive(&header[..260]));
    }

    #[test]
    fn repositories_may_leave_out_their_scheme() {
        let read = |text: &str| {
            let git = repository(text).unwrap()?;
            Some((git.source.remote, git.source.reference, git.source.subdir))
        };
        let wanted = (
            "https://github.com/a/b".to_owned(),
            "c".to_owned(),
            "d".to_owned(),
        );
        assert_eq!(read("github.com/a/b#c:d"), Some(wanted));
        assert_eq!(read("./github.com/a"), None);
    }
}
