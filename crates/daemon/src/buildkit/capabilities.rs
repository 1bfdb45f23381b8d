//! What clients may ask for, in BuildKit's names (`frontend/gateway/pb/caps.go`, `solver/pb/caps.go`).

use bollard_buildkit_proto::moby::buildkit::v1::apicaps::ApiCap;

/// Of `LLBBridge`. Those of processes in a build's files (`gateway.exec`) are missing.
const GATEWAY: &[&str] = &[
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "return",
    "returnmap",
    "proto.refarray",
    "frontend.inputs",
    "readfile",
    "readdir",
    "statfile",
    "reference.output",
    "gateway.solve.metadata",
    "frontend.caps",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
    "source.metaresolver",
];

/// Of definitions.
const LLB: &[&str] = &[
    "source.image",
    "source.image.resolvemode",
    "source.image.layerlimit",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.local.differ",
    "source.git",
    "source.git.keepgitdir",
    "source.git.fullurl",
    "source.git.httpauth",
    "source.git.knownsshhosts",
    "source.git.mountsshsock",
    "source.git.subdir",
    "source.git.checksum",
    "source.git.skipsubmodules",
    "source.http",
    "source.http.auth",
    "source.http.checksum",
    "source.http.perm",
    // As BuildKit spells it.
    "soruce.http.uidgid",
    "exec.meta.base",
    "exec.meta.cgroup.parent",
    "exec.meta.network",
    "exec.meta.proxyenv",
    "exec.meta.security",
    "exec.meta.setsdefaultpath",
    "exec.meta.ulimit",
    "exec.meta.cdi",
    "exec.meta.removemountstubs.recursive",
    "exec.mount.bind",
    "exec.mount.bind.readwrite-nooutput",
    "exec.mount.cache",
    "exec.mount.cache.sharing",
    "exec.mount.selector",
    "exec.mount.tmpfs",
    "exec.mount.tmpfs.size",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exec.mount.cache.content",
    "exec.secretenv",
    "exec.validexitcode",
    "file.base",
    "file.rm.wildcard",
    "file.copy.includeexcludepatterns",
    "file.copy.requiredpaths",
    "file.rm.nofollowsymlink",
    "file.copy.alwaysreplaceexistingdestpaths",
    "file.copy.modestring",
    "file.symlink.create",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "meta.exportcache",
    "mergeop",
    "diffop",
    "exporter.multiple",
    "exporter.sourcedateepoch",
    "exporter.image.attestations",
];

fn all(names: &[&str]) -> Vec<ApiCap> {
    let one = |name: &&str| ApiCap {
        id: (*name).to_owned(),
        enabled: true,
        ..ApiCap::default()
    };
    names.iter().map(one).collect()
}

/// Of `LLBBridge`.
pub(super) fn gateway() -> Vec<ApiCap> {
    all(GATEWAY)
}

/// Of definitions.
pub(super) fn llb() -> Vec<ApiCap> {
    all(LLB)
}
