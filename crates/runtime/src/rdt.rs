//! Intel Resource Director Technology: groups of the resctrl file system, Linux 4.14
//! (kernel documentation, `filesystems/resctrl`; runtime-spec, "IntelRdt").
//!
//! ```text
//! <root>/<closID or container>/        schemata  tasks
//!                    mon_groups/<container>/     tasks     with enableMonitoring
//! ```

use crate::error::{Error, Step as _, said};
use hull_spec::runtime::IntelRdt;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

/// `RDTGROUP_SUPER_MAGIC` of statfs(2).
const RESCTRL: u32 = 0x0765_5821;

/// Where the file system is mounted: the usual place, or another one.
fn root() -> Option<PathBuf> {
    const USUAL: &str = "/sys/fs/resctrl";
    // Without this directory the kernel does not have it.
    let found = rustix::fs::statfs(USUAL).ok()?;
    if u32::try_from(found.f_type) == Ok(RESCTRL) {
        return Some(USUAL.into());
    }
    let mounts = fs_err::File::open("/proc/self/mountinfo").ok()?;
    let lines = io::BufReader::new(mounts).lines().map_while(Result::ok);
    let mut resctrl = lines.filter(|line| line.contains(" - resctrl "));
    resctrl
        .next()
        .and_then(|line| line.split(' ').nth(4).map(PathBuf::from))
}

/// Refuses what this machine cannot do.
pub(crate) fn check(rdt: &IntelRdt) -> Result<(), Error> {
    let root = root();
    let root =
        root.ok_or_else(|| said("intelRdt is specified in config, but Intel RDT is not enabled"))?;
    check_in(&root, rdt)
}

fn check_in(root: &Path, rdt: &IntelRdt) -> Result<(), Error> {
    let class = rdt.clos_id.as_str();
    if matches!(class, "." | "..") || class.len() > 1 && class.contains('/') {
        return Err(said(format!("invalid intelRdt.ClosID {class:?}")));
    }
    let lines = rdt
        .schemata
        .iter()
        .chain([&rdt.l3_cache_schema, &rdt.mem_bw_schema]);
    if lines.clone().any(|line| line.contains('\0'))
        || rdt.schemata.iter().any(|line| line.contains('\n'))
    {
        return Err(said("intelRdt.schemata must not contain newlines"));
    }
    for (wanted, directory, name, technology) in [
        (&rdt.l3_cache_schema, "info/L3", "l3CacheSchema", "CAT"),
        (&rdt.mem_bw_schema, "info/MB", "memBwSchema", "MBA"),
    ] {
        if !wanted.is_empty() && !root.join(directory).exists() {
            return Err(said(format!(
                "intelRdt.{name} is specified in config, but Intel RDT/{technology} is not enabled"
            )));
        }
    }
    Ok(())
}

/// The groups that a container will bring with it: they are to be removed with it.
pub(crate) fn plan(rdt: &IntelRdt, id: &str) -> Vec<PathBuf> {
    root().map_or_else(Vec::new, |root| plan_in(&root, rdt, id))
}

fn plan_in(root: &Path, rdt: &IntelRdt, id: &str) -> Vec<PathBuf> {
    let group = group(root, rdt, id);
    let monitored = monitored(&group, rdt, id);
    let own = rdt.clos_id.is_empty().then_some(group);
    let mut groups = own.into_iter().chain(monitored).collect::<Vec<_>>();
    groups.retain(|group| !group.exists());
    groups
}

/// Moves the first process of a container into its group.
pub(crate) fn apply(rdt: &IntelRdt, id: &str, pid: i32) -> Result<(), Error> {
    let root = root();
    let root =
        root.ok_or_else(|| said("intelRdt is specified in config, but Intel RDT is not enabled"))?;
    apply_in(&root, rdt, id, pid)
        .step(|| "unable to apply Intel RDT configuration")
        .step(|| "unable to start container process")
}

/// Moves a process that joins a container into its group.
pub(crate) fn join(rdt: &IntelRdt, id: &str, pid: i32) -> Result<(), Error> {
    let Some(root) = root() else { return Ok(()) };
    let group = group(&root, rdt, id);
    if !group.exists() {
        return Ok(());
    }
    let monitored = monitored(&group, rdt, id);
    add(&root, &group, pid)?;
    monitored.map_or(Ok(()), |group| add(&root, &group, pid))
}

/// Removes what was made for a container; the monitoring group lies in the other.
pub(crate) fn remove(made: &[PathBuf]) -> Result<(), Error> {
    for directory in made.iter().rev() {
        match fs_err::remove_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).step(|| "remove the resctrl group");
            }
            _ => {}
        }
    }
    Ok(())
}

/// A class of its own is named after the container; `/` is the default class.
fn group(root: &Path, rdt: &IntelRdt, id: &str) -> PathBuf {
    match rdt.clos_id.as_str() {
        "" => root.join(id),
        "/" => root.to_owned(),
        class => root.join(class),
    }
}

fn monitored(group: &Path, rdt: &IntelRdt, id: &str) -> Option<PathBuf> {
    rdt.enable_monitoring
        .then(|| group.join("mon_groups").join(id))
}

fn apply_in(root: &Path, rdt: &IntelRdt, id: &str, pid: i32) -> Result<(), Error> {
    let group = group(root, rdt, id);
    let schemata = schemata(rdt);
    if !rdt.clos_id.is_empty() && schemata.is_empty() {
        let there = fs_err::metadata(&group).map(drop);
        there.step(|| {
            "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty)"
        })?;
    }
    make(root, &group)?;
    if !schemata.is_empty() {
        fs_err::write(group.join("schemata"), schemata)
            .map_err(|error| explained(root, error))
            .step(|| "write the schemata")?;
    }
    add(root, &group, pid)?;
    if let Some(monitored) = monitored(&group, rdt, id) {
        make(root, &monitored)?;
        add(root, &monitored, pid)?;
    }
    Ok(())
}

/// The lines of `schemata` in the order that the specification asks for.
fn schemata(rdt: &IntelRdt) -> String {
    // Bandwidth among the cache's lines was a habit once; it has a property of its own.
    let cache = rdt.l3_cache_schema.lines();
    let cache = cache.filter(|line| rdt.mem_bw_schema.is_empty() || !line.starts_with("MB:"));
    let lines = cache
        .chain(rdt.mem_bw_schema.lines())
        .chain(rdt.schemata.iter().map(String::as_str));
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Makes a group that is not there.
fn make(root: &Path, group: &Path) -> Result<(), Error> {
    match fs_err::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(explained(root, error)).step(|| "make the resctrl group")
        }
        _ => Ok(()),
    }
}

fn add(root: &Path, group: &Path, pid: i32) -> Result<(), Error> {
    fs_err::write(group.join("tasks"), pid.to_string())
        .map_err(|error| explained(root, error))
        .step(|| format!("intelrdt: unable to add pid {pid}"))
}

/// Adds what the kernel has to say about the last command.
fn explained(root: &Path, error: io::Error) -> io::Error {
    match fs_err::read_to_string(root.join("info/last_cmd_status")) {
        Ok(said) if !said.trim().is_empty() && said.trim() != "ok" => io::Error::new(
            error.kind(),
            format!("{error}, last_cmd_status: {}", said.trim()),
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(text: &str) -> IntelRdt {
        serde_json::from_str(text).expect("parses")
    }

    /// A directory like resctrl's root; what the kernel does in it has to be done by hand.
    fn fake() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("info/L3")).expect("made");
        root
    }

    #[test]
    fn a_class_of_its_own_is_made_and_removed() {
        let root = fake();
        let wanted = rdt(
            r#"{"l3CacheSchema":"L3:0=f\nMB:0=1","memBwSchema":"MB:0=20","schemata":["L2:0=3"]}"#,
        );
        let made = plan_in(root.path(), &wanted, "c1");
        apply_in(root.path(), &wanted, "c1", 42).expect("applied");
        let group = root.path().join("c1");
        let read = |name| fs_err::read_to_string(group.join(name)).expect("read");
        assert_eq!(read("schemata"), "L3:0=f\nMB:0=20\nL2:0=3\n");
        assert_eq!(read("tasks"), "42");
        assert_eq!(made, std::slice::from_ref(&group));
        for name in ["schemata", "tasks"] {
            fs_err::remove_file(group.join(name)).expect("removed");
        }
        remove(&made).expect("removed");
        assert!(!group.exists());
        remove(&made).expect("removed before");
    }

    #[test]
    fn a_class_that_is_named_stays_but_its_monitoring_group_goes() {
        let root = fake();
        let wanted = rdt(r#"{"closID":"gold","enableMonitoring":true}"#);
        let error = apply_in(root.path(), &wanted, "c1", 42).expect_err("not there");
        assert!(error.to_string().starts_with("clos dir not accessible"));
        std::fs::create_dir_all(root.path().join("gold/mon_groups")).expect("made");
        let made = plan_in(root.path(), &wanted, "c1");
        assert_eq!(made, [root.path().join("gold/mon_groups/c1")]);
        apply_in(root.path(), &wanted, "c1", 42).expect("applied");
        assert!(plan_in(root.path(), &wanted, "c1").is_empty());
        assert!(!root.path().join("gold/schemata").exists());
        let default = rdt(r#"{"closID":"/"}"#);
        assert_eq!(group(root.path(), &default, "c1"), root.path());
    }

    #[test]
    fn what_the_machine_cannot_do_is_refused() {
        let root = fake();
        let told = |text: &str| {
            check_in(root.path(), &rdt(text))
                .expect_err(text)
                .to_string()
        };
        assert_eq!(
            told(r#"{"closID":"a/b"}"#),
            r#"invalid intelRdt.ClosID "a/b""#
        );
        assert_eq!(
            told(r#"{"memBwSchema":"MB:0=1"}"#),
            "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled"
        );
        assert!(told(r#"{"schemata":["L3:0=f\nx"]}"#).contains("newlines"));
        check_in(
            root.path(),
            &rdt(r#"{"closID":"/","l3CacheSchema":"L3:0=f"}"#),
        )
        .expect("possible");
    }
}
