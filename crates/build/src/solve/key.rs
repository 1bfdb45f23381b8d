//! By what a step's result is found.

use crate::graph::{Change, CopyFiles, Exec, Files, Mount, MountKind, Op, Source, Tree, digest_of};
use crate::world::Selection;
use hull_spec::{Digest, Platform};
use serde::Serialize;
use std::net::Ipv4Addr;

/// Counted up when keys of before mean something else now.
const VERSION: u32 = 1;

/// What a step is made from at one of its inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) enum Part {
    /// What made it.
    Result(String),
    /// What is in it.
    Content(Vec<Digest>),
}

/// The key of a step.
pub(super) fn of(op: &Op, platform: &Platform, parts: &[Part]) -> Digest {
    digest_of(&(VERSION, relevant(op), platform, parts))
}

/// The step without what changes nothing.
fn relevant(op: &Op) -> Op {
    match op {
        Op::Exec(exec) => Op::Exec(Box::new(Exec {
            proxy: None,
            // Which names there are matters, not where they lead today.
            extra_hosts: exec
                .extra_hosts
                .iter()
                .map(|(name, _)| (name.clone(), Ipv4Addr::UNSPECIFIED.into()))
                .collect(),
            ..(**exec).clone()
        })),
        other => other.clone(),
    }
}

/// The key of a source with this content.
pub(super) fn of_source(platform: &Platform, source: &Source, content: &str) -> Digest {
    // Where an image came from does not matter, its layers do.
    let kind = match source {
        Source::Image(_) | Source::OciLayout(_) => "image",
        Source::Local(_) => "local",
        Source::Git(_) => "git",
        Source::Http(_) => "http",
    };
    match source {
        Source::Image(_) | Source::OciLayout(_) => digest_of(&(VERSION, kind, content)),
        _ => digest_of(&(VERSION, kind, platform, content)),
    }
}

/// The files of an input that matter, if not all of it does.
pub(super) fn selections(op: &Op, input: usize) -> Option<Vec<Selection>> {
    match op {
        Op::File(files) => of_files(files, input),
        Op::Exec(exec) => of_mounts(&exec.mounts, input),
        _ => None,
    }
}

/// What is only copied from.
fn of_files(files: &Files, input: usize) -> Option<Vec<Selection>> {
    let mut selections = Vec::new();
    for action in &files.actions {
        let uses = action
            .trees()
            .filter(|tree| *tree == Tree::Input(input))
            .count();
        match &action.change {
            _ if uses == 0 => {}
            Change::Copy(copy) if uses == 1 && action.from == Tree::Input(input) => {
                selections.push(of_copy(copy));
            }
            _ => return None,
        }
    }
    Some(selections).filter(|all| !all.is_empty())
}

fn of_copy(copy: &CopyFiles) -> Selection {
    Selection {
        path: copy.source.clone(),
        wildcard: copy.wildcard,
        follow: copy.follow_symlink,
        include: copy.include.clone(),
        exclude: copy.exclude.clone(),
    }
}

/// What is only looked at.
fn of_mounts(mounts: &[Mount], input: usize) -> Option<Vec<Selection>> {
    let mut selections = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.input == Some(input)) {
        let looks = mount.kind == MountKind::Bind
            && mount.dest != "/"
            && (mount.readonly || mount.output.is_none());
        if !looks || mount.content_cache == Some(false) {
            return None;
        }
        selections.push(Selection {
            path: mount.selector.clone(),
            follow: true,
            ..Selection::default()
        });
    }
    Some(selections).filter(|all| !all.is_empty())
}

/// What a vertex without a name is called.
pub(super) fn described(op: &Op) -> String {
    match op {
        Op::Source(Source::Image(image)) => format!("docker-image://{}", image.reference),
        Op::Source(Source::Local(local)) => format!("local://{}", local.name),
        Op::Source(Source::Git(git)) => format!("git://{}#{}", git.remote, git.reference),
        Op::Source(Source::Http(http)) => http.url.clone(),
        Op::Source(Source::OciLayout(layout)) => format!("oci-layout://{}", layout.reference),
        Op::Exec(exec) => exec.args.join(" "),
        Op::File(files) => {
            let names = files.actions.iter().map(|action| match &action.change {
                Change::Copy(copy) => format!("copy {} {}", copy.source, copy.dest),
                Change::MakeFile(file) => format!("mkfile {}", file.path),
                Change::MakeDir(dir) => format!("mkdir {}", dir.path),
                Change::Symlink(link) => format!("symlink {} -> {}", link.path, link.target),
                Change::Remove(remove) => format!("rm {}", remove.path),
            });
            names.collect::<Vec<_>>().join(", ")
        }
        Op::Merge { .. } => "merge".to_owned(),
        Op::Diff { .. } => "diff".to_owned(),
    }
}
