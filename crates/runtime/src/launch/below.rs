//! Which control group a process that joins a container enters (`exec --cgroup`).

use crate::error::{Error, said};
use hull_linux::cgroup::{Cgroup, Hierarchy};
use rustix::process::Pid;
use std::path::{Component, Path, PathBuf};

/// Chooses among the container's group and those below it: `path` in all hierarchies, or
/// `controller,…:path` in some. Without a wish it is the container's, or that of its first process where the
/// container's takes no members.
pub(super) fn choose(group: Cgroup, wanted: &[String], first: i32) -> Result<Cgroup, Error> {
    if wanted.is_empty() {
        return Ok(match Pid::from_raw(first) {
            Some(first) => group.entered_beside(first),
            None => group,
        });
    }
    let hierarchies = group.layout().hierarchies();
    let below = places(hierarchies, wanted)?;
    Ok(group.entered_below(below))
}

fn places(hierarchies: &[Hierarchy], wanted: &[String]) -> Result<Vec<PathBuf>, Error> {
    if let [path] = wanted
        && !path.contains(':')
    {
        return Ok(vec![relative(path)?; hierarchies.len()]);
    }
    let mut below = vec![PathBuf::new(); hierarchies.len()];
    // All are read before one is looked for: what is no argument anywhere is told first.
    for (controller, path) in pairs(wanted)? {
        let at = hierarchies
            .iter()
            .position(|hierarchy| is_called(hierarchy, controller));
        let at = at
            .ok_or_else(|| refused(format!("unknown controller {controller} in SubCgroupPaths")))?;
        below[at] = relative(path)?;
    }
    Ok(below)
}

/// Each controller with its path.
fn pairs(wanted: &[String]) -> Result<Vec<(&str, &str)>, Error> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for one in wanted {
        let Some((controllers, path)) = one.split_once(':') else {
            return Err(said(format!(
                "invalid --cgroup argument: {one} (missing <controller>: prefix)"
            )));
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(said(format!(
                    "invalid --cgroup argument: {one} (empty <controller> prefix)"
                )));
            }
            if pairs.iter().any(|(seen, _)| *seen == controller) {
                return Err(said(format!(
                    "invalid --cgroup argument(s): controller {controller} specified multiple times"
                )));
            }
            pairs.push((controller, path));
        }
    }
    Ok(pairs)
}

/// A hierarchy goes by its controllers; one without by its name (`name=systemd`).
fn is_called(hierarchy: &Hierarchy, name: &str) -> bool {
    if hierarchy.controllers.is_empty() {
        return name.strip_prefix("name=") == Some(&hierarchy.name());
    }
    hierarchy
        .controllers
        .iter()
        .any(|controller| controller == name)
}

/// A path below the group: `..` may be in it as long as it does not lead out.
fn relative(path: &str) -> Result<PathBuf, Error> {
    let mut below = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir if below.pop() => {}
            Component::ParentDir => {
                return Err(refused(format!("{path} is not a sub cgroup path")));
            }
            _ => {}
        }
    }
    Ok(below)
}

fn refused(text: String) -> Error {
    said(format!("unable to create new parent process: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wanted: &[&str]) -> Result<Vec<PathBuf>, String> {
        let hierarchy = |name: &str, controllers: &[&str]| Hierarchy {
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mount: Path::new("/sys/fs/cgroup").join(name),
            v2: false,
        };
        let hierarchies = [
            hierarchy("cpu,cpuacct", &["cpu", "cpuacct"]),
            hierarchy("memory", &["memory"]),
            hierarchy("systemd", &[]),
        ];
        let wanted: Vec<String> = wanted.iter().map(|one| (*one).to_owned()).collect();
        places(&hierarchies, &wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_is_for_all_hierarchies_or_for_named_ones() {
        assert_eq!(
            chosen(&["/a/x/../b"]).expect("fine"),
            ["a/b", "a/b", "a/b"].map(PathBuf::from)
        );
        assert_eq!(
            chosen(&["cpuacct,name=systemd:a", "memory:/"]).expect("fine"),
            ["a", "", "a"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_path_may_not_lead_out_and_controllers_must_be_there_once() {
        for (wanted, text) in [
            (
                &["../x"][..],
                "unable to create new parent process: ../x is not a sub cgroup path",
            ),
            (
                &["a/../../x"],
                "unable to create new parent process: a/../../x is not a sub cgroup path",
            ),
            (
                &["nosuch:x"],
                "unable to create new parent process: unknown controller nosuch in SubCgroupPaths",
            ),
            (
                &["a", "b"],
                "invalid --cgroup argument: a (missing <controller>: prefix)",
            ),
            (
                &[":a"],
                "invalid --cgroup argument: :a (empty <controller> prefix)",
            ),
            (
                &["memory:a", "memory:b"],
                "invalid --cgroup argument(s): controller memory specified multiple times",
            ),
        ] {
            assert_eq!(chosen(wanted).expect_err("refused"), text);
        }
    }
}
