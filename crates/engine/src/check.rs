//! `system check`: the store, the containers' files, and mounts that nobody needs.

use crate::stream::{pieces_of, told_by};
use crate::{Engine, Error, ErrorKind, Result};
use futures_util::stream::BoxStream;
use hull_image::{Finding as Found, Problem, Repair, Report, Snapshotter as _, User};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// What is younger may belong to a container that is being made.
const GRACE: Duration = Duration::from_secs(60);
/// How often progress is told.
const STEP: Duration = Duration::from_millis(200);
/// ioprio_set(2): only when nobody else wants the disk.
const IDLE: i32 = 3;

/// How to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Put right what can be.
    pub repair: bool,
    /// Count also what is young and belongs to nothing: for when nobody else uses the engine.
    pub young: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `missing`, `damaged` or `unowned`.
    pub problem: &'static str,
    /// What kind of object it is.
    pub object: &'static str,
    /// Which one.
    pub id: String,
    /// More about it.
    pub detail: String,
    /// Whether it was put right.
    pub repaired: bool,
    /// What was done, or why nothing was; empty when that was not asked for.
    pub repair: String,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Containers.
    pub containers: u64,
    /// Bytes that were read and verified.
    pub bytes: u64,
}

/// Word from a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckItem {
    /// How many bytes were verified, and of how many.
    Progress(u64, u64),
    /// Something is wrong.
    Found(Finding),
    /// It is over.
    Done(Checked),
}

impl Engine {
    /// Checks everything. Findings come as they are made; dropping the stream ends it.
    ///
    /// # Errors
    /// `Conflict` while another check runs.
    pub fn check(
        self: &Arc<Self>,
        options: CheckOptions,
    ) -> Result<BoxStream<'static, Result<CheckItem>>> {
        let turn = crate::prune::Running::claim(&self.check, "a check is already running")?;
        let (told, items) = mpsc::channel(64);
        let engine = Arc::clone(self);
        let (end, ended) = oneshot::channel();
        let work = move || {
            let _turn = turn;
            // Refused it is only less polite.
            let _ = hull_linux::process::set_io_priority(IDLE, 0);
            if let Err(error) = engine.check_blocking(options, &told) {
                // The error means that nobody listens.
                let _ = told.blocking_send(Err(error));
            }
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("check".to_owned());
        thread.spawn(work).map_err(|error| {
            Error::new(ErrorKind::Internal, "could not start the check").caused_by(error)
        })?;
        let ended = async {
            let failed = |e| Error::new(ErrorKind::Internal, "the check failed").caused_by(e);
            ended.await.map_err(failed)
        };
        Ok(told_by(pieces_of(items), ended))
    }

    fn check_blocking(&self, options: CheckOptions, told: &Told) -> Result<()> {
        let users = self.users();
        let store_options = hull_image::CheckOptions {
            repair: options.repair,
            young: options.young,
            users: &users,
            finished: crate::build::PREFIX,
        };
        let mut shown = Instant::now();
        let checked = self.store.check(store_options, &mut |report| match report {
            Report::Progress(done, total) => {
                if shown.elapsed() < STEP {
                    return !told.is_closed();
                }
                shown = Instant::now();
                told.blocking_send(Ok(CheckItem::Progress(done, total)))
                    .is_ok()
            }
            Report::Found(found) => {
                self.tell_removed(&found.removed);
                tell(told, found)
            }
        });
        let Some(checked) = checked.map_err(crate::image::store_error)? else {
            return Ok(());
        };
        for found in self.container_findings(options)? {
            if !tell(told, found) {
                return Ok(());
            }
        }
        let done = CheckItem::Done(Checked {
            images: checked.images,
            layers: checked.layers,
            containers: users.len() as u64,
            bytes: checked.bytes,
        });
        // The error means that nobody listens.
        let _ = told.blocking_send(Ok(done));
        Ok(())
    }

    /// The containers, as far as they stand in an image's way.
    pub(crate) fn users(&self) -> Vec<User> {
        let containers = self.containers();
        let user = |container: &Arc<crate::container::live::Container>| {
            container.read(|record| {
                Some(User {
                    container: record.id.clone(),
                    image: record.image_id.parse().ok()?,
                    running: record.is_running(),
                })
            })
        };
        containers.iter().filter_map(user).collect()
    }

    /// What is wrong with containers' files and mounts.
    fn container_findings(&self, options: CheckOptions) -> Result<Vec<Found>> {
        let mut findings = Vec::new();
        let snapshots = self
            .snapshots
            .keys()
            .map_err(crate::image::snapshot_error)?;
        for container in self.containers() {
            // Made before its container is, and removed after it.
            if !snapshots.contains(&container.id) && self.is_container(&container.id) {
                let detail = "its snapshot is not there";
                let mut found = Found::new(Problem::Missing, "container", &*container.id, detail);
                if options.repair {
                    found.repair = Repair::Not("containers are left as they are: remove it".into());
                }
                findings.push(found);
            }
        }
        for key in snapshots {
            let dir = self.store.root().join("snapshots").join(&key);
            // That of an image which a container has mounted is `<id>-image-<n>`.
            let owner = key.split('-').next().unwrap_or(&key);
            if !self.is_container(owner)
                && !self.builds.owns(&key)
                && (options.young || is_old(&dir))
            {
                let detail = "no container has it";
                let mut found = Found::new(Problem::Unowned, "snapshot", &*key, detail);
                if options.repair {
                    let removed = self.snapshots.remove(&key);
                    found.repair = outcome(removed, "removed");
                }
                findings.push(found);
            }
        }
        self.stray_directories(options, &mut findings);
        self.stray_mounts(options, &mut findings);
        Ok(findings)
    }

    fn is_container(&self, id: &str) -> bool {
        self.find(id).is_ok_and(|found| found.id == id)
    }

    fn stray_directories(&self, options: CheckOptions, findings: &mut Vec<Found>) {
        let parent = self.config.data_root.join("containers");
        for entry in fs_err::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if self.is_container(&name) || !(options.young || is_old(&path)) || !path.exists() {
                continue;
            }
            let id = format!("containers/{name}");
            let mut found = Found::new(Problem::Unowned, "file", id, "no container has it");
            if options.repair {
                let removed = if path.is_dir() {
                    fs_err::remove_dir_all(&path)
                } else {
                    fs_err::remove_file(&path)
                };
                found.repair = outcome(removed, "removed");
            }
            findings.push(found);
        }
    }

    /// Mounts below our directories that no container needs: those of containers are in mount
    /// namespaces of their own, but for the files that keep network namespaces.
    fn stray_mounts(&self, options: CheckOptions, findings: &mut Vec<Found>) {
        let (exec_root, data_root) = (&self.config.exec_root, &self.config.data_root);
        let strays =
            |path: &PathBuf| is_stray(path, exec_root, data_root, |id| self.is_container(id));
        let mounts = mount_points();
        for path in mounts.into_iter().rev().filter(|path| strays(path)) {
            // Its container may be gone with it by now, or only just have come.
            if !mount_points().contains(&path) || !strays(&path) {
                continue;
            }
            let id = path.display().to_string();
            let mut found = Found::new(Problem::Unowned, "mount", id, "no container needs it");
            if options.repair {
                let flags = rustix::mount::UnmountFlags::DETACH;
                let unmounted = rustix::mount::unmount(&path, flags);
                found.repair = outcome(unmounted, "unmounted");
            }
            findings.push(found);
        }
    }
}

type Told = mpsc::Sender<Result<CheckItem>>;

/// Whether anybody still listens.
fn tell(told: &Told, found: Found) -> bool {
    let (repaired, repair) = match found.repair {
        Repair::None => (false, String::new()),
        Repair::Done(what) => (true, what),
        Repair::Not(why) => (false, why),
    };
    let finding = Finding {
        problem: found.problem.as_str(),
        object: found.object,
        id: found.id,
        detail: found.detail,
        repaired,
        repair,
    };
    told.blocking_send(Ok(CheckItem::Found(finding))).is_ok()
}

fn outcome<E: std::error::Error>(result: std::result::Result<(), E>, done: &str) -> Repair {
    match result {
        Ok(()) => Repair::Done(done.to_owned()),
        Err(error) => Repair::Not(error.to_string()),
    }
}

fn is_old(path: &Path) -> bool {
    let changed = fs_err::symlink_metadata(path).and_then(|found| found.modified());
    let age = changed.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    // What is gone again is nobody's.
    age.is_ok_and(|age| age > GRACE)
}

/// Whether a mount point is ours to answer for and of no use. Whatever else is mounted below the data
/// root, an administrator has put there.
fn is_stray(path: &Path, exec_root: &Path, data_root: &Path, known: impl Fn(&str) -> bool) -> bool {
    let words = |root: &Path| -> Option<Vec<String>> {
        let rest = path.strip_prefix(root).ok()?;
        let words = rest.iter().map(|word| word.to_string_lossy().into_owned());
        Some(words.collect())
    };
    if let Some(words) = words(exec_root) {
        return match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["netns" | "layers"] => false,
            // The store mounts layers, and looks after them itself.
            ["layers", _] => false,
            ["netns", id] => !known(id),
            _ => true,
        };
    }
    let Some(words) = words(data_root) else {
        return false;
    };
    let ours = ["containers", "layers", "snapshots", "ingest", "trash"];
    words.len() > 1 && ours.contains(&words[0].as_str())
}

/// All mount points of our namespace, in the order of mounting. proc_pid_mountinfo(5).
fn mount_points() -> Vec<PathBuf> {
    let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let point = |line: &str| Some(PathBuf::from(unescape(line.split(' ').nth(4)?)));
    table.lines().filter_map(point).collect()
}

/// Blanks, tabs, line feeds and backslashes are written as octal numbers.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (written, meant) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        plain = plain.replace(written, meant);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_are_told_from_what_belongs_there() {
        let stray = |path: &str| {
            is_stray(
                Path::new(path),
                Path::new("/run/h"),
                Path::new("/var/h"),
                |id| id == "abc",
            )
        };
        for path in [
            "/run/h",
            "/run/h/netns",
            "/run/h/netns/abc",
            "/run/h/layers/0f",
            "/var/h",
            "/var/h/layers",
            "/var/h/volumes/x/_data",
            "/elsewhere",
            "/run/hull/x",
        ] {
            assert!(!stray(path), "{path}");
        }
        for path in [
            "/run/h/netns/gone",
            "/run/h/containers/abc/rootfs",
            "/var/h/snapshots/x/merged",
            "/var/h/ingest/y",
        ] {
            assert!(stray(path), "{path}");
        }
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
