//! Processes.

use super::{invalid, number, optional, place};
use bollard_buildkit_proto::pb;
use hull_engine::build::graph::{
    ClientFile, Exec, Mount, MountKind, NetworkMode, Proxy, SecretEnv, SecurityMode, Sharing,
};
use tonic::Status;

/// A process of a definition's.
///
/// # Errors
/// `InvalidArgument` for what makes no sense.
pub(super) fn read(op: pb::ExecOp) -> Result<Exec, Status> {
    let meta = op.meta.unwrap_or_default();
    let network = match op.network {
        0 => NetworkMode::Default,
        1 => NetworkMode::Host,
        2 => NetworkMode::None,
        other => return Err(invalid(format!("unknown network mode {other}"))),
    };
    let security = match op.security {
        0 => SecurityMode::Sandbox,
        1 => SecurityMode::Insecure,
        other => return Err(invalid(format!("unknown security mode {other}"))),
    };
    let hosts = meta.extra_hosts.into_iter().map(|host| {
        let address = host
            .ip
            .parse()
            .map_err(|_| invalid(format!("{:?} is no address of host {}", host.ip, host.host)))?;
        Ok((host.host, address))
    });
    let ulimits = meta.ulimit.into_iter();
    let secrets = op.secretenv.into_iter().map(|secret| SecretEnv {
        id: secret.id,
        name: secret.name,
        optional: secret.optional,
    });
    let devices = op.cdi_devices.into_iter();
    Ok(Exec {
        extra_hosts: hosts.collect::<Result<_, Status>>()?,
        args: meta.args,
        env: meta.env,
        cwd: meta.cwd,
        user: meta.user,
        proxy: meta.proxy_env.map(|proxy| Proxy {
            http: proxy.http_proxy,
            https: proxy.https_proxy,
            ftp: proxy.ftp_proxy,
            no: proxy.no_proxy,
            all: proxy.all_proxy,
        }),
        hostname: meta.hostname,
        ulimits: ulimits
            .map(|limit| (limit.name, limit.soft, limit.hard))
            .collect(),
        cgroup_parent: meta.cgroup_parent,
        remove_stubs_recursively: meta.remove_mount_stubs_recursive,
        valid_exit_codes: meta.valid_exit_codes,
        mounts: op.mounts.into_iter().map(mount).collect::<Result<_, _>>()?,
        network,
        security,
        secret_env: secrets.collect(),
        devices: devices
            .map(|device| (device.name, device.optional))
            .collect(),
    })
}

fn mount(mount: pb::Mount) -> Result<Mount, Status> {
    let kind = match mount.mount_type() {
        pb::MountType::Bind => MountKind::Bind,
        pb::MountType::Cache => {
            let cache = mount.cache_opt.clone().unwrap_or_default();
            MountKind::Cache {
                sharing: match cache.sharing() {
                    pb::CacheSharingOpt::Shared => Sharing::Shared,
                    pb::CacheSharingOpt::Private => Sharing::Private,
                    pb::CacheSharingOpt::Locked => Sharing::Locked,
                },
                id: cache.id,
            }
        }
        pb::MountType::Tmpfs => {
            let size = mount.tmpfs_opt.unwrap_or_default().size;
            MountKind::Tmpfs {
                size: u64::try_from(size).map_err(invalid)?,
            }
        }
        pb::MountType::Secret => {
            let file = mount.secret_opt.clone().unwrap_or_default();
            MountKind::Secret(ClientFile {
                id: file.id,
                uid: file.uid,
                gid: file.gid,
                mode: file.mode,
                optional: file.optional,
            })
        }
        pb::MountType::Ssh => {
            let file = mount.ssh_opt.clone().unwrap_or_default();
            MountKind::Ssh(ClientFile {
                id: file.id,
                uid: file.uid,
                gid: file.gid,
                mode: file.mode,
                optional: file.optional,
            })
        }
    };
    let content_cache = match mount.content_cache() {
        pb::MountContentCache::Default => None,
        pb::MountContentCache::On => Some(true),
        pb::MountContentCache::Off => Some(false),
    };
    let dest = match mount.dest.strip_prefix('/') {
        Some(_) => mount.dest,
        None => format!("/{}", mount.dest),
    };
    Ok(Mount {
        dest,
        input: place(mount.input),
        selector: mount.selector,
        output: place(mount.output).filter(|_| kind == MountKind::Bind),
        readonly: mount.readonly,
        kind,
        content_cache,
    })
}

/// A process as definitions have it.
pub(super) fn write(exec: &Exec) -> pb::ExecOp {
    let hosts = exec.extra_hosts.iter().map(|(host, address)| pb::HostIp {
        host: host.clone(),
        ip: address.to_string(),
    });
    let ulimits = exec.ulimits.iter().map(|(name, soft, hard)| pb::Ulimit {
        name: name.clone(),
        soft: *soft,
        hard: *hard,
    });
    let secrets = exec.secret_env.iter().map(|secret| pb::SecretEnv {
        id: secret.id.clone(),
        name: secret.name.clone(),
        optional: secret.optional,
    });
    let devices = exec.devices.iter().map(|(name, optional)| pb::CdiDevice {
        name: name.clone(),
        optional: *optional,
    });
    pb::ExecOp {
        meta: Some(pb::Meta {
            args: exec.args.clone(),
            env: exec.env.clone(),
            cwd: exec.cwd.clone(),
            user: exec.user.clone(),
            proxy_env: exec.proxy.as_ref().map(|proxy| pb::ProxyEnv {
                http_proxy: proxy.http.clone(),
                https_proxy: proxy.https.clone(),
                ftp_proxy: proxy.ftp.clone(),
                no_proxy: proxy.no.clone(),
                all_proxy: proxy.all.clone(),
            }),
            extra_hosts: hosts.collect(),
            hostname: exec.hostname.clone(),
            ulimit: ulimits.collect(),
            cgroup_parent: exec.cgroup_parent.clone(),
            remove_mount_stubs_recursive: exec.remove_stubs_recursively,
            valid_exit_codes: exec.valid_exit_codes.clone(),
        }),
        mounts: exec.mounts.iter().map(write_mount).collect(),
        network: match exec.network {
            NetworkMode::Default => 0,
            NetworkMode::Host => 1,
            NetworkMode::None => 2,
        },
        security: i32::from(exec.security == SecurityMode::Insecure),
        secretenv: secrets.collect(),
        cdi_devices: devices.collect(),
    }
}

fn write_mount(mount: &Mount) -> pb::Mount {
    let mut written = pb::Mount {
        input: optional(mount.input),
        selector: mount.selector.clone(),
        dest: mount.dest.clone(),
        output: mount.output.map_or(-1, number),
        readonly: mount.readonly,
        content_cache: match mount.content_cache {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        },
        ..pb::Mount::default()
    };
    let kind = match &mount.kind {
        MountKind::Bind => pb::MountType::Bind,
        MountKind::Cache { id, sharing } => {
            let sharing = match sharing {
                Sharing::Shared => pb::CacheSharingOpt::Shared,
                Sharing::Private => pb::CacheSharingOpt::Private,
                Sharing::Locked => pb::CacheSharingOpt::Locked,
            };
            written.cache_opt = Some(pb::CacheOpt {
                id: id.clone(),
                sharing: sharing.into(),
            });
            pb::MountType::Cache
        }
        MountKind::Tmpfs { size } => {
            let size = i64::try_from(*size).unwrap_or(i64::MAX);
            written.tmpfs_opt = Some(pb::TmpfsOpt { size });
            pb::MountType::Tmpfs
        }
        MountKind::Secret(file) => {
            written.secret_opt = Some(pb::SecretOpt {
                id: file.id.clone(),
                uid: file.uid,
                gid: file.gid,
                mode: file.mode,
                optional: file.optional,
            });
            pb::MountType::Secret
        }
        MountKind::Ssh(file) => {
            written.ssh_opt = Some(pb::SshOpt {
                id: file.id.clone(),
                uid: file.uid,
                gid: file.gid,
                mode: file.mode,
                optional: file.optional,
            });
            pb::MountType::Ssh
        }
    };
    written.mount_type = kind.into();
    written
}
