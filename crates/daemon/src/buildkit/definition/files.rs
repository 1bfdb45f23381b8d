//! Changes of files. A definition numbers what an action works on: first the inputs, then earlier actions.

use super::{invalid, number, optional, place};
use bollard_buildkit_proto::pb;
use hull_engine::build::graph::{
    Account, Action, Change, CopyFiles, Files, MakeDir, MakeFile, Mode, Owner, Remove, Symlink,
    Tree,
};
use pb::file_action::Action as Kind;
use pb::user_opt::User;
use tonic::Status;

/// Changes of a definition's.
///
/// # Errors
/// `InvalidArgument` for what makes no sense.
pub(super) fn read(op: pb::FileOp, inputs: usize) -> Result<Files, Status> {
    let tree = |input: i64| match place(input) {
        None => Tree::Empty,
        Some(place) if place < inputs => Tree::Input(place),
        Some(place) => Tree::Action(place - inputs),
    };
    let one = |action: pb::FileAction| {
        let kind = action.action;
        let kind = kind.ok_or_else(|| invalid("a change of files of no kind"))?;
        let from = match kind {
            Kind::Copy(_) => tree(action.secondary_input),
            _ => Tree::Empty,
        };
        Ok(Action {
            base: tree(action.input),
            from,
            output: place(action.output),
            change: change(kind, &tree)?,
        })
    };
    let actions = op.actions.into_iter().map(one);
    Ok(Files {
        actions: actions.collect::<Result<_, Status>>()?,
    })
}

fn change(kind: Kind, tree: &impl Fn(i64) -> Tree) -> Result<Change, Status> {
    let bits = |mode: i32| u32::try_from(mode).map_err(|_| invalid(format!("mode {mode}")));
    Ok(match kind {
        Kind::Copy(copy) => Change::Copy(Box::new(CopyFiles {
            owner: owner(copy.owner, tree)?,
            mode: match (copy.mode_str.as_str(), u32::try_from(copy.mode)) {
                ("", bits) => bits.ok().map(Mode::Bits),
                (words, _) => Some(Mode::Words(words.to_owned())),
            },
            source: copy.src,
            dest: copy.dest,
            follow_symlink: copy.follow_symlink,
            contents: copy.dir_copy_contents,
            unpack: copy.attempt_unpack_docker_compatibility,
            create_dest: copy.create_dest_path,
            wildcard: copy.allow_wildcard,
            empty_wildcard: copy.allow_empty_wildcard,
            timestamp: time(copy.timestamp),
            include: copy.include_patterns,
            exclude: copy.exclude_patterns,
            replace: copy.always_replace_existing_dest_paths,
            required: copy.required_paths,
        })),
        Kind::Mkfile(file) => Change::MakeFile(MakeFile {
            mode: bits(file.mode)?,
            owner: owner(file.owner, tree)?,
            path: file.path,
            data: file.data,
            timestamp: time(file.timestamp),
        }),
        Kind::Mkdir(dir) => Change::MakeDir(MakeDir {
            mode: bits(dir.mode)?,
            owner: owner(dir.owner, tree)?,
            path: dir.path,
            parents: dir.make_parents,
            timestamp: time(dir.timestamp),
        }),
        Kind::Symlink(link) => Change::Symlink(Symlink {
            owner: owner(link.owner, tree)?,
            target: link.oldpath,
            path: link.newpath,
            timestamp: time(link.timestamp),
        }),
        Kind::Rm(remove) => Change::Remove(Remove {
            path: remove.path,
            allow_missing: remove.allow_not_found,
            wildcard: remove.allow_wildcard,
        }),
    })
}

fn time(timestamp: i64) -> Option<i64> {
    (timestamp != -1).then_some(timestamp)
}

fn owner(
    given: Option<pb::ChownOpt>,
    tree: &impl Fn(i64) -> Tree,
) -> Result<Option<Owner>, Status> {
    let account = |one: Option<pb::UserOpt>| match one.and_then(|one| one.user) {
        None => Ok(None),
        Some(User::ById(id)) => Ok(Some(Account::Id(id))),
        Some(User::ByName(named)) if named.name.is_empty() => Err(invalid("an owner of no name")),
        Some(User::ByName(named)) => Ok(Some(Account::Name {
            name: named.name,
            tree: tree(named.input),
        })),
    };
    given
        .map(|given| {
            Ok(Owner {
                user: account(given.user)?,
                group: account(given.group)?,
            })
        })
        .transpose()
}

/// Changes as definitions have them.
pub(super) fn write(files: &Files, inputs: usize) -> pb::FileOp {
    let tree = |tree: Tree| match tree {
        Tree::Empty => -1,
        Tree::Input(place) => number(place),
        Tree::Action(place) => number(place.saturating_add(inputs)),
    };
    let actions = files.actions.iter().map(|action| pb::FileAction {
        input: tree(action.base),
        secondary_input: tree(action.from),
        output: optional(action.output),
        action: Some(write_change(&action.change, &tree)),
    });
    pb::FileOp {
        actions: actions.collect(),
    }
}

fn write_change(change: &Change, tree: &impl Fn(Tree) -> i64) -> Kind {
    let bits = |mode: u32| i32::try_from(mode).unwrap_or(i32::MAX);
    let time = |timestamp: Option<i64>| timestamp.unwrap_or(-1);
    let owner = |owner: &Option<Owner>| owner.as_ref().map(|owner| write_owner(owner, tree));
    match change {
        Change::Copy(copy) => Kind::Copy(pb::FileActionCopy {
            src: copy.source.clone(),
            dest: copy.dest.clone(),
            owner: owner(&copy.owner),
            mode: match &copy.mode {
                Some(Mode::Bits(mode)) => bits(*mode),
                _ => -1,
            },
            mode_str: match &copy.mode {
                Some(Mode::Words(words)) => words.clone(),
                _ => String::new(),
            },
            follow_symlink: copy.follow_symlink,
            dir_copy_contents: copy.contents,
            attempt_unpack_docker_compatibility: copy.unpack,
            create_dest_path: copy.create_dest,
            allow_wildcard: copy.wildcard,
            allow_empty_wildcard: copy.empty_wildcard,
            timestamp: time(copy.timestamp),
            include_patterns: copy.include.clone(),
            exclude_patterns: copy.exclude.clone(),
            always_replace_existing_dest_paths: copy.replace,
            required_paths: copy.required.clone(),
        }),
        Change::MakeFile(file) => Kind::Mkfile(pb::FileActionMkFile {
            path: file.path.clone(),
            mode: bits(file.mode),
            data: file.data.clone(),
            owner: owner(&file.owner),
            timestamp: time(file.timestamp),
        }),
        Change::MakeDir(dir) => Kind::Mkdir(pb::FileActionMkDir {
            path: dir.path.clone(),
            mode: bits(dir.mode),
            make_parents: dir.parents,
            owner: owner(&dir.owner),
            timestamp: time(dir.timestamp),
        }),
        Change::Symlink(link) => Kind::Symlink(pb::FileActionSymlink {
            oldpath: link.target.clone(),
            newpath: link.path.clone(),
            owner: owner(&link.owner),
            timestamp: time(link.timestamp),
        }),
        Change::Remove(remove) => Kind::Rm(pb::FileActionRm {
            path: remove.path.clone(),
            allow_not_found: remove.allow_missing,
            allow_wildcard: remove.wildcard,
        }),
    }
}

fn write_owner(owner: &Owner, tree: &impl Fn(Tree) -> i64) -> pb::ChownOpt {
    let account = |account: &Option<Account>| {
        account.as_ref().map(|account| pb::UserOpt {
            user: Some(match account {
                Account::Id(id) => User::ById(*id),
                Account::Name { name, tree: of } => User::ByName(pb::NamedUserOpt {
                    name: name.clone(),
                    input: tree(*of),
                }),
            }),
        })
    };
    pb::ChownOpt {
        user: account(&owner.user),
        group: account(&owner.group),
    }
}
