//! What a builder says it is.

use bollard_buildkit_proto::moby::buildkit::v1::types::{BuildkitVersion, WorkerRecord};
use bollard_buildkit_proto::pb;
use std::collections::HashMap;

/// The version of BuildKit whose protocol is spoken: clients choose by it what they ask for.
const VERSION: &str = "v0.25.2";
const PACKAGE: &str = "github.com/moby/buildkit";

/// The version, as `Info` tells it.
pub(super) fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: PACKAGE.to_owned(),
        version: VERSION.to_owned(),
        revision: String::new(),
    }
}

/// The one worker there is.
pub(super) fn worker() -> WorkerRecord {
    let labels = [
        ("org.mobyproject.buildkit.worker.executor", "hull"),
        ("org.mobyproject.buildkit.worker.network", "bridge"),
    ];
    WorkerRecord {
        id: "hull".to_owned(),
        labels: HashMap::from(labels.map(|(key, value)| (key.to_owned(), value.to_owned()))),
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
