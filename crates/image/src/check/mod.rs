//! Verifies that everything is there, is what it should be, and belongs to something.
//!
//! ```text
//! documents   each has the digest it is named for
//! layers      blobs have their digests; a directory has its archive's files, an archive its digest
//!             and its index
//! rows        names → images → layers; snapshots → layers
//! snapshots   have their directories
//! files       belong to a row
//! ```
//!
//! Others use the store meanwhile: what is wrong counts when it still is at a second look, and what
//! belongs to nothing only when it is not young. Nothing is locked while files are read.

mod content;
mod repair;
mod rows;
mod strays;
#[cfg(test)]
mod tests;

use crate::remove::{Removed, User};
use crate::store::{Error, Store};
use std::time::Duration;

/// What is younger may be on its way into the store.
const GRACE: Duration = Duration::from_secs(60);

/// How to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions<'a> {
    /// Put right what can be.
    pub repair: bool,
    /// Count also what is young and belongs to nothing: for when nobody else uses the store.
    pub young: bool,
    /// The containers there are. Nothing is done that one of them would notice.
    pub users: &'a [User],
    /// How the names of snapshots begin that nobody writes to any more, so that they need no work directory; empty: there
    /// are none.
    pub finished: &'a str,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Something refers to it, and it is not there.
    Missing,
    /// It is not what it was.
    Damaged,
    /// Nothing refers to it.
    Unowned,
}

impl Problem {
    /// A word for people and for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Unowned => "unowned",
        }
    }
}

/// What became of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing: it was not asked for.
    None,
    /// This was done.
    Done(String),
    /// It was not done, for this reason.
    Not(String),
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong with it.
    pub problem: Problem,
    /// What kind of object it is: `layer`, `blob`, `document`, `image`, `name`, `snapshot`, `file`.
    pub object: &'static str,
    /// Which one.
    pub id: String,
    /// More about it.
    pub detail: String,
    /// What was done about it.
    pub repair: Repair,
    /// Names and images that went with the repair.
    pub removed: Vec<Removed>,
}

impl Finding {
    /// A finding about which nothing was done.
    #[must_use]
    pub fn new(
        problem: Problem,
        object: &'static str,
        id: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            problem,
            object,
            id: id.into(),
            detail: detail.into(),
            repair: Repair::None,
            removed: Vec::new(),
        }
    }
}

/// Word from a check.
#[derive(Clone, Debug)]
pub enum Report {
    /// How many bytes were verified, and of how many.
    Progress(u64, u64),
    /// Something is wrong.
    Found(Finding),
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes that were read and verified.
    pub bytes: u64,
}

/// A check under way.
struct Check<'a> {
    store: &'a Store,
    options: CheckOptions<'a>,
    tell: &'a mut dyn FnMut(Report) -> bool,
    checked: Checked,
    total: u64,
}

/// Why a check ended early.
#[derive(Debug)]
enum Stop {
    /// Whoever asked does not listen any more.
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Step<T = ()> = Result<T, Stop>;

impl Store {
    /// Checks the store and gives what it finds to `tell`, which returns `false` to end it. `None`
    /// when it was ended so.
    ///
    /// # Errors
    /// Failures of the database, and of the file system where they are no findings.
    pub fn check(
        &self,
        options: CheckOptions<'_>,
        tell: &mut dyn FnMut(Report) -> bool,
    ) -> Result<Option<Checked>, Error> {
        let mut check = Check {
            store: self,
            options,
            tell,
            checked: Checked::default(),
            total: 0,
        };
        match check.run() {
            Ok(()) => Ok(Some(check.checked)),
            Err(Stop::Cancelled) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

impl Check<'_> {
    fn run(&mut self) -> Step {
        self.documents()?;
        self.layers()?;
        self.rows()?;
        self.snapshots()?;
        self.strays()
    }

    fn found(&mut self, finding: Finding) -> Step {
        tracing::warn!(
            problem = finding.problem.as_str(),
            object = finding.object,
            id = finding.id,
            detail = finding.detail,
            repair = ?finding.repair,
            "check"
        );
        self.say(Report::Found(finding))
    }

    /// Counts verified bytes.
    fn read(&mut self, bytes: u64) -> Step {
        self.checked.bytes += bytes;
        self.say(Report::Progress(
            self.checked.bytes,
            self.total.max(self.checked.bytes),
        ))
    }

    fn say(&mut self, report: Report) -> Step {
        if (self.tell)(report) {
            Ok(())
        } else {
            Err(Stop::Cancelled)
        }
    }
}
