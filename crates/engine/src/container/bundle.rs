//! The bundle: `config.json` for the runtime, and the files that the engine puts into a container.

use super::record::Record;
use super::shared::Shared;
use super::user::{self, Resolved};
use super::{
    Config, IpcMode, NetworkMode, Paths, PidMode, Seccomp, capabilities, devices, merge, mounts,
    resources, seccomp,
};
use crate::Result;
use hull_spec::rootfs::RootFs;
use hull_spec::runtime::docker::{MASKED_PATHS, READONLY_PATHS};
use hull_spec::runtime::{
    Capabilities, Linux, Mount, Namespace, NamespaceKind, Process, Resources, Root, Spec, VERSION,
};
use std::path::{Path, PathBuf};

/// What the engine knows and the record does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) root: &'a RootFs,
    pub(super) files: &'a Paths,
    /// What is mounted, with sources as they are now.
    pub(super) points: &'a [super::MountPoint],
    /// The network namespace's file, for a container on a bridge.
    pub(super) netns: Option<&'a Path>,
    pub(super) cgroup_v2: bool,
    /// What other containers share with it.
    pub(super) shared: &'a Shared,
    /// The first process, when it is not the container's command.
    pub(super) init: Option<&'a Init>,
}

/// An init: a first process that reaps and passes signals on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// Hull's runtime is one itself.
    Runtime,
    /// A program of the host's, which needs nothing but itself.
    Program(PathBuf),
}

/// Where a container sees its init, as Docker's do.
const INIT: &str = "/sbin/docker-init";

/// What tells Hull's runtime to be the init.
const INIT_ANNOTATION: &str = "org.hull.runtime.init";

/// The runtime's document for a container.
///
/// # Errors
/// Docker's complaints about users, devices, profiles.
pub(super) fn spec(record: &Record, context: Context<'_>) -> Result<Spec> {
    let config = &record.config;
    let mut process = process(record, context.root)?;
    let mut mounts = mounts::list(record, context.points, context.files, context.shared);
    let mut annotations = config.annotations.clone();
    match context.init {
        Some(Init::Runtime) => {
            annotations.insert(INIT_ANNOTATION.to_owned(), "true".to_owned());
        }
        Some(Init::Program(path)) => {
            process
                .args
                .splice(0..0, [INIT.to_owned(), "--".to_owned()]);
            mounts.push(Mount {
                destination: INIT.to_owned(),
                kind: "bind".to_owned(),
                source: path.to_string_lossy().into_owned(),
                options: ["bind", "ro"].map(str::to_owned).to_vec(),
                ..Mount::default()
            });
        }
        None => {}
    }
    let caps = process
        .capabilities
        .as_ref()
        .map(|sets| sets.bounding.clone())
        .unwrap_or_default();
    Ok(Spec {
        oci_version: VERSION.to_owned(),
        root: Some(Root {
            path: hull_shim::files::ROOT.to_owned(),
            readonly: config.read_only,
        }),
        hostname: if config.host_uts {
            String::new()
        } else {
            record.effective.hostname.clone()
        },
        domainname: config.domainname.clone(),
        mounts,
        annotations,
        linux: Some(linux(record, context, &caps)?),
        process: Some(process),
        ..Spec::default()
    })
}

fn process(record: &Record, root: &RootFs) -> Result<Process> {
    let config = &record.config;
    let effective = &record.effective;
    let Resolved { user, home } = user::resolve(root, &effective.user, &config.groups)?;
    let capabilities = capability_sets(config, user.uid)?;
    Ok(Process {
        terminal: config.tty,
        user,
        args: effective.args.clone(),
        env: merge::process_environment(effective, config.tty, &home),
        cwd: merge::clean(&effective.working_dir),
        capabilities: Some(capabilities),
        rlimits: resources::rlimits(&config.ulimits)?,
        no_new_privileges: config.no_new_privileges,
        // Without AppArmor the runtime has no use for it.
        apparmor_profile: config.apparmor.clone().unwrap_or_default(),
        oom_score_adj: resources::oom_score(config),
        ..Process::default()
    })
}

/// All sets for root; for others the bounding set alone, so that set-uid programs work and nothing
/// is theirs from the beginning (CVE-2022-24769: nothing is inheritable).
pub(super) fn capability_sets(config: &Config, uid: u32) -> Result<Capabilities> {
    let names = capabilities::of(config)?;
    let own = if uid == 0 { names.clone() } else { Vec::new() };
    Ok(Capabilities {
        bounding: names,
        effective: own.clone(),
        permitted: own,
        ..Capabilities::default()
    })
}

fn linux(record: &Record, context: Context<'_>, caps: &[String]) -> Result<Linux> {
    let config = &record.config;
    let strings = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    let hidden = |own: &Option<Vec<String>>, default: &[&str]| match own {
        Some(paths) => paths.clone(),
        None if config.privileged => Vec::new(),
        None => strings(default),
    };
    let (devices, rules) = devices::devices(config)?;
    let mut sysctl = config.sysctls.clone();
    if !config.privileged && config.network != NetworkMode::Host {
        // As Docker since 20.10: low ports and ping need no privilege in a network namespace of one's own.
        sysctl
            .entry("net.ipv4.ip_unprivileged_port_start".to_owned())
            .or_insert_with(|| "0".to_owned());
        sysctl
            .entry("net.ipv4.ping_group_range".to_owned())
            .or_insert_with(|| "0 2147483647".to_owned());
    }
    Ok(Linux {
        sysctl,
        resources: Some(Resources {
            devices: rules,
            memory: resources::memory(&config.resources),
            cpu: resources::cpu(&config.resources),
            pids: resources::pids(&config.resources),
            block_io: resources::block_io(&config.resources)?,
            ..Resources::default()
        }),
        cgroups_path: resources::cgroup(config, &record.id),
        namespaces: namespaces(config, context),
        devices,
        seccomp: match &config.seccomp {
            Seccomp::Unconfined => None,
            Seccomp::Default if config.privileged => None,
            Seccomp::Default => Some(seccomp::default(caps)),
            Seccomp::Profile(text) => Some(seccomp::from_profile(text, caps)?),
        },
        rootfs_propagation: super::propagation::of_root(context.points).to_owned(),
        masked_paths: hidden(&config.masked_paths, &MASKED_PATHS),
        readonly_paths: hidden(&config.readonly_paths, &READONLY_PATHS),
        ..Linux::default()
    })
}

fn namespaces(config: &Config, context: Context<'_>) -> Vec<Namespace> {
    let new = |kind| Namespace {
        kind,
        path: String::new(),
    };
    let mut namespaces = vec![new(NamespaceKind::Mount)];
    match config.network {
        NetworkMode::Host => {}
        _ => namespaces.push(Namespace {
            kind: NamespaceKind::Network,
            path: context
                .netns
                .map(|path| path.to_string_lossy().into_owned())
                .unwrap_or_default(),
        }),
    }
    if !config.host_uts {
        namespaces.push(new(NamespaceKind::Uts));
    }
    for (kind, joined, shared) in [
        (
            NamespaceKind::Pid,
            &context.shared.pid,
            config.pid == PidMode::Host,
        ),
        (
            NamespaceKind::Ipc,
            &context.shared.ipc,
            config.ipc == IpcMode::Host,
        ),
    ] {
        if !shared {
            let path = joined.as_deref().map(Path::to_string_lossy);
            namespaces.push(Namespace {
                kind,
                path: path.unwrap_or_default().into_owned(),
            });
        }
    }
    // As Docker: a cgroup namespace of its own where the host has only version 2, unless told.
    let host = config
        .host_cgroup_namespace
        .unwrap_or(!context.cgroup_v2 || config.privileged);
    if !host {
        namespaces.push(new(NamespaceKind::Cgroup));
    }
    namespaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_than_root_hold_nothing_from_the_beginning() {
        let sets = capability_sets(&Config::default(), 1000).unwrap();
        assert!(
            sets.effective.is_empty() && sets.inheritable.is_empty() && sets.bounding.len() == 14
        );
        assert_eq!(
            capability_sets(&Config::default(), 0)
                .unwrap()
                .effective
                .len(),
            14
        );
    }
}
