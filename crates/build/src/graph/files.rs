//! Changes of files.

use super::{InvalidVertex, MAX_PARTS};
use serde::{Deserialize, Serialize};

/// Changes of files, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The changes.
    pub actions: Vec<Action>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is changed.
    pub base: Tree,
    /// From where a copy comes; ignored by the others.
    pub from: Tree,
    /// The output that the result becomes, from 0 without gaps.
    pub output: Option<usize>,
    /// The change.
    pub change: Change,
}

/// A tree that an action uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// An empty one.
    #[default]
    Empty,
    /// An input of the vertex.
    Input(usize),
    /// What an earlier action made.
    Action(usize),
}

/// A change of files. Paths are inside the trees; links are never followed out of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Copies.
    Copy(Box<CopyFiles>),
    /// Writes a file.
    MakeFile(MakeFile),
    /// Makes a directory.
    MakeDir(MakeDir),
    /// Makes a symbolic link.
    Symlink(Symlink),
    /// Removes.
    Remove(Remove),
}

/// A copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyFiles {
    /// What.
    pub source: String,
    /// Where; with a slash at the end, into it.
    pub dest: String,
    /// Whose it becomes; `None`: as it was.
    pub owner: Option<Owner>,
    /// The mode it gets: octal, or chmod's words; `None`: as it was.
    pub mode: Option<Mode>,
    /// Whether a link at `source` is followed.
    pub follow_symlink: bool,
    /// Whether of a directory what is in it is copied.
    pub contents: bool,
    /// Whether archives are unpacked.
    pub unpack: bool,
    /// Whether the directories above `dest` are made.
    pub create_dest: bool,
    /// Whether `source` is a pattern.
    pub wildcard: bool,
    /// Whether a pattern may match nothing.
    pub empty_wildcard: bool,
    /// The time of change that all get, nanoseconds since 1970; `None`: as it was.
    pub timestamp: Option<i64>,
    /// Only these, in `.dockerignore`'s notation; none is all.
    pub include: Vec<String>,
    /// Without these.
    pub exclude: Vec<String>,
    /// Whether what is at `dest` goes, also where one is a directory and the other is none.
    pub replace: bool,
    /// Paths that must be there.
    pub required: Vec<String>,
}

/// The mode that copied files get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// These bits.
    Bits(u32),
    /// chmod's words, such as `u+x,go-w`.
    Words(String),
}

/// A new file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeFile {
    /// Where.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// What is in it.
    pub data: Vec<u8>,
    /// Whose; `None` is root's.
    pub owner: Option<Owner>,
    /// Its time of change, nanoseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

/// A new directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeDir {
    /// Where.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Whether those above it are made, and it may exist.
    pub parents: bool,
    /// Whose; `None` is root's.
    pub owner: Option<Owner>,
    /// Its time of change, nanoseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

/// A new symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink {
    /// What it says.
    pub target: String,
    /// Where it is.
    pub path: String,
    /// Whose; `None` is root's.
    pub owner: Option<Owner>,
    /// Its time of change, nanoseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

/// A removal, of directories with all that is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// What.
    pub path: String,
    /// Whether it may be missing.
    pub allow_missing: bool,
    /// Whether it is a pattern.
    pub wildcard: bool,
}

/// Whose a file is to be. `None` of the group: the group of that number or the user's own, as `chown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub user: Option<Account>,
    /// The group.
    pub group: Option<Account>,
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    /// A number.
    Id(u32),
    /// A name, looked up in this tree's `/etc/passwd` or `/etc/group`.
    Name {
        /// The name.
        name: String,
        /// Where it is looked up: an input, or what an action changes.
        tree: Tree,
    },
}

impl Files {
    pub(super) fn check(&self, inputs: usize) -> Result<(), InvalidVertex> {
        if self.actions.len() > MAX_PARTS {
            return Err(InvalidVertex::TooLarge);
        }
        let mut outputs = Vec::new();
        for (place, action) in self.actions.iter().enumerate() {
            for tree in action.trees() {
                match tree {
                    Tree::Input(input) if input >= inputs => {
                        return Err(InvalidVertex::Place(input, inputs));
                    }
                    Tree::Action(other) if other >= place => {
                        return Err(InvalidVertex::Action(place, "names one after it"));
                    }
                    _ => {}
                }
            }
            outputs.extend(action.output);
        }
        outputs.sort_unstable();
        if outputs.is_empty() || !outputs.iter().copied().eq(0..outputs.len()) {
            let last = self.actions.len().saturating_sub(1);
            return Err(InvalidVertex::Action(last, "outputs have gaps"));
        }
        Ok(())
    }
}

impl Action {
    /// The trees it uses, its owner's included.
    pub fn trees(&self) -> impl Iterator<Item = Tree> + '_ {
        let owner = self.change.owner().into_iter();
        let accounts = owner.flat_map(|owner| owner.user.iter().chain(&owner.group));
        let named = accounts.filter_map(|account| match account {
            Account::Name { tree, .. } => Some(*tree),
            Account::Id(_) => None,
        });
        [self.base, self.from].into_iter().chain(named)
    }
}

impl Change {
    /// Whose the files become.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Copy(copy) => copy.owner.as_ref(),
            Self::MakeFile(file) => file.owner.as_ref(),
            Self::MakeDir(dir) => dir.owner.as_ref(),
            Self::Symlink(link) => link.owner.as_ref(),
            Self::Remove(_) => None,
        }
    }
}
