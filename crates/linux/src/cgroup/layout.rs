//! Which hierarchies a host has.

use super::Error;
use super::read;
use std::path::{Path, PathBuf};

/// Where distributions and systemd mount control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Whether its files are those of v2.
    pub v2: bool,
    /// Its controllers; empty for named hierarchies and where v2 is the only one.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
}

impl Hierarchy {
    /// The name of its directory below the common root: `memory`, `cpu,cpuacct`, `systemd`.
    #[must_use]
    pub fn name(&self) -> String {
        self.mount
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

/// The hierarchies of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    v2: bool,
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Finds out what this host has.
    ///
    /// The mount table is not read: it grows with the number of containers. The hierarchies that
    /// `/proc/self/cgroup` lists are where cgroups(7) says they are.
    ///
    /// # Errors
    /// [`Error::NoHierarchy`] when nothing is mounted at `/sys/fs/cgroup`.
    pub fn detect() -> Result<Self, Error> {
        let root = Path::new(ROOT);
        // CGROUP2_SUPER_MAGIC, statfs(2).
        let v2 = rustix::fs::statfs(root).is_ok_and(|fs| fs.f_type == 0x6367_7270);
        if v2 {
            return Ok(Self::v2_at(root));
        }
        Self::v1_at(root, &read(Path::new("/proc/self/cgroup"))?)
    }

    /// The pure v2 layout mounted at `root`.
    #[must_use]
    pub fn v2_at(root: &Path) -> Self {
        Self {
            v2: true,
            hierarchies: vec![Hierarchy {
                v2: true,
                controllers: Vec::new(),
                mount: root.to_owned(),
            }],
        }
    }

    /// The v1 layout below `root`, of the hierarchies in `listed`, the text of `/proc/self/cgroup`.
    ///
    /// A hierarchy that is listed but mounted nowhere below `root` is left out: tools mount them
    /// elsewhere for their own use. In the hybrid layout the v2 hierarchy is left out too, unless it is
    /// asked for ([`Layout::with_unified`]): it seldom has a controller that anybody wants.
    ///
    /// # Errors
    /// [`Error::NoHierarchy`] when none of them is there.
    pub fn v1_at(root: &Path, listed: &str) -> Result<Self, Error> {
        let mut hierarchies = Vec::new();
        for line in listed.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(_)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let name = controllers.strip_prefix("name=").unwrap_or(controllers);
            let named = name.len() != controllers.len();
            if let Some(mount) = mount_point(root, name) {
                let controllers = if named {
                    Vec::new()
                } else {
                    name.split(',').map(str::to_owned).collect()
                };
                hierarchies.push(Hierarchy {
                    v2: false,
                    controllers,
                    mount,
                });
            }
        }
        if hierarchies.is_empty() {
            return Err(Error::NoHierarchy(root.to_owned()));
        }
        Ok(Self {
            v2: false,
            hierarchies,
        })
    }

    /// Adds the v2 hierarchy of the hybrid layout, which has the controllers that are in no v1 hierarchy:
    /// mounted at `unified` beside the others (systemd's way). Without one nothing changes.
    #[must_use]
    pub fn with_unified(mut self) -> Self {
        let beside = self.hierarchies.first().and_then(|h| h.mount.parent());
        let mount = beside.map(|root| root.join("unified")).unwrap_or_default();
        if self.v2 || self.hierarchies.iter().any(|hierarchy| hierarchy.v2) {
            return self;
        }
        if let Ok(controllers) = read(&mount.join("cgroup.controllers")) {
            let controllers = controllers.split_whitespace().map(str::to_owned).collect();
            self.hierarchies.push(Hierarchy {
                v2: true,
                controllers,
                mount,
            });
        }
        self
    }

    /// Whether this is the unified hierarchy alone.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.v2
    }

    /// All hierarchies.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The hierarchy that has `controller`; on v2 the only one there is.
    #[must_use]
    pub fn hierarchy(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|h| self.v2 || h.controllers.iter().any(|c| c == controller))
    }
}

/// `cpu,cpuacct` may be mounted under that name, or as `cpuacct,cpu`, or under its first controller.
fn mount_point(root: &Path, name: &str) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    let swapped = name.split(',').rev().collect::<Vec<_>>().join(",");
    let first = name.split(',').next().unwrap_or(name);
    [name, swapped.as_str(), first]
        .into_iter()
        .map(|candidate| root.join(candidate))
        .find(|path| path.join("cgroup.procs").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_takes_what_is_mounted() {
        let root = tempfile::tempdir().unwrap();
        for name in ["memory", "cpu,cpuacct", "systemd", "unified"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
            std::fs::File::create(root.path().join(name).join("cgroup.procs")).unwrap();
        }
        let listed = "5:hugetlb:/\n4:memory:/a\n3:cpuacct,cpu:/\n1:name=systemd:/x\n0::/x\n";
        let layout = Layout::v1_at(root.path(), listed).unwrap();
        let names: Vec<String> = layout.hierarchies().iter().map(Hierarchy::name).collect();
        assert_eq!(names, ["memory", "cpu,cpuacct", "systemd"]);
        assert!(layout.hierarchy("cpuacct").is_some());
        assert!(layout.hierarchy("hugetlb").is_none());
        let controllers = root.path().join("unified/cgroup.controllers");
        std::fs::write(controllers, "hugetlb misc\n").unwrap();
        let hybrid = layout.clone().with_unified().with_unified();
        assert_eq!(hybrid.hierarchies().len(), layout.hierarchies().len() + 1);
        assert!(
            hybrid
                .hierarchy("hugetlb")
                .is_some_and(|hugetlb| hugetlb.v2)
        );
        assert!(!hybrid.is_v2());
        assert!(matches!(
            Layout::v1_at(root.path(), "0::/\n"),
            Err(Error::NoHierarchy(_))
        ));
    }

    #[test]
    fn this_host_has_hierarchies() {
        assert!(!Layout::detect().unwrap().hierarchies().is_empty());
    }
}
