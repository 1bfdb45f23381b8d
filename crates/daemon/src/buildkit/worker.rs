//! What a builder says it is.

use bollard_buildkit_proto::moby::buildkit::v1::types::{BuildkitVersion, WorkerRecord};
use bollard_buildkit_proto::pb;
use hull_engine::Engine;
use std::collections::HashMap;

/// The version of BuildKit whose protocol is spoken: clients choose by it what they ask for.
const VERSION: &str = "v0.25.2";
const PACKAGE: &str = "github.com/moby/buildkit";
const ID: &str = "hull";
const EXECUTOR: &str = "org.mobyproject.buildkit.worker.executor";
const NETWORK: &str = "org.mobyproject.buildkit.worker.network";
/// By this buildx knows a builder that makes archives, exports its cache, and pushes by itself.
const SNAPSHOTTER: &str = "org.mobyproject.buildkit.worker.snapshotter";
/// What buildx writes for `host-gateway`.
const HOST_GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";

/// The version, as `Info` tells it.
pub(super) fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: PACKAGE.to_owned(),
        version: VERSION.to_owned(),
        revision: String::new(),
    }
}

/// The one worker there is.
pub(super) fn worker(engine: &Engine) -> WorkerRecord {
    let mut labels = HashMap::from([
        (EXECUTOR.to_owned(), "hull".to_owned()),
        (NETWORK.to_owned(), "bridge".to_owned()),
        (SNAPSHOTTER.to_owned(), "overlay".to_owned()),
    ]);
    // Without one only `host-gateway` means nothing.
    let gateway = engine
        .host_gateways()
        .ok()
        .and_then(|all| all.into_iter().next());
    if let Some(gateway) = gateway {
        labels.insert(HOST_GATEWAY.to_owned(), gateway.to_string());
    }
    WorkerRecord {
        id: ID.to_owned(),
        labels,
        platforms: vec![platform()],
        gc_policy: Vec::new(),
        buildkit_version: Some(version()),
        cdi_devices: Vec::new(),
    }
}

/// The host's. Of amd64 without its level: images for the first are what is built when nobody says otherwise.
fn platform() -> pb::Platform {
    let host = hull_engine::Platform::host();
    let variant = host.variant.filter(|_| host.architecture != "amd64");
    pb::Platform {
        architecture: host.architecture,
        os: host.os,
        variant: variant.unwrap_or_default(),
        ..pb::Platform::default()
    }
}
