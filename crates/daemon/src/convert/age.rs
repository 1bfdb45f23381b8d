//! What a request of an older version of the API means today: what had not been there yet is not looked at, defaults that were
//! others are written in, and where that would do something else than its sender expects, it is refused. As dockerd does it.

use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{CreateRequest, Mount};

/// Makes a request to create a container one of today.
///
/// # Errors
/// 400 in dockerd's words, for what `version` cannot ask for.
pub(crate) fn renew(request: &mut CreateRequest, version: ApiVersion) -> Result<(), ApiError> {
    let host = &mut request.host_config;
    for mount in &mut host.mounts {
        renew_mount(mount, version)?;
    }
    if !version.since(40) && host.ipc_mode.is_empty() {
        "shareable".clone_into(&mut host.ipc_mode);
    }
    if !version.since(42) {
        host.console_size = [0, 0];
    }
    if !version.since(43) {
        host.annotations.clear();
    }
    if version.since(44) {
        return Ok(());
    }
    let networks = request.networking_config.endpoints_config.iter().flatten();
    let networks: Vec<&str> = networks.map(|(name, _)| name.as_str()).collect();
    if networks.len() > 1 {
        return Err(ApiError::bad_request(format!(
            "Container cannot be created with multiple network endpoints: {}",
            networks.join(", ")
        )));
    }
    Ok(())
}

fn renew_mount(mount: &mut Mount, version: ApiVersion) -> Result<(), ApiError> {
    let refused = |text: &str| Err(ApiError::bad_request(text));
    if !version.since(42) {
        // Options of another type were not looked at.
        if mount.kind != "volume" {
            mount.volume_options = None;
        }
        if mount.kind != "tmpfs" {
            mount.tmpfs_options = None;
        }
    }
    if let Some(options) = &mut mount.bind_options {
        options.non_recursive &= version.since(40);
        options.create_mountpoint &= version.since(42);
        // This one asks for safety: not to look at it would not be safe.
        if options.read_only_force_recursive && mount.kind == "bind" && !version.since(44) {
            return refused("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
        }
    }
    let subpath = mount
        .volume_options
        .as_ref()
        .map(|options| &options.subpath);
    if !version.since(45) && subpath.is_some_and(|path| !path.is_empty()) {
        return refused("VolumeOptions.Subpath needs API v1.45 or newer");
    }
    if !version.since(48) && mount.kind == "image" {
        return refused("Mount type \"Image\" needs API v1.48 or newer");
    }
    let strange = [
        ("VolumeOptions", "volume", mount.volume_options.is_some()),
        ("BindOptions", "bind", mount.bind_options.is_some()),
        ("TmpfsOptions", "tmpfs", mount.tmpfs_options.is_some()),
    ];
    for (options, kind, given) in strange {
        if given && mount.kind != kind {
            let kind = &mount.kind;
            let text = match version.since(42) {
                true => format!("{options} must not be specified on mount type {kind:?}"),
                false => format!(
                    "invalid mount config for type {kind:?}: field {options} must not be specified"
                ),
            };
            return refused(&text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewed(body: &str, minor: u16) -> Result<CreateRequest, String> {
        let mut request = CreateRequest::from_slice(body.as_bytes()).unwrap();
        renew(&mut request, ApiVersion::new(1, minor)).map_err(|error| error.message)?;
        Ok(request)
    }

    #[test]
    fn what_had_not_been_there_is_not_looked_at() {
        let body = r#"{"HostConfig":{"ConsoleSize":[24,80],"Annotations":{"a":"b"},"Mounts":[
            {"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"NonRecursive":true,"CreateMountpoint":true},
             "VolumeOptions":{"NoCopy":true}}]}}"#;
        let old = renewed(body, 39).unwrap().host_config;
        let options = old.mounts[0].bind_options.clone().unwrap();
        assert_eq!(
            (
                old.console_size,
                old.annotations.len(),
                old.ipc_mode.as_str()
            ),
            ([0, 0], 0, "shareable")
        );
        assert!(!options.non_recursive && !options.create_mountpoint);
        assert!(old.mounts[0].volume_options.is_none());
        assert_eq!(
            renewed(body, 51).unwrap_err(),
            "VolumeOptions must not be specified on mount type \"bind\""
        );
    }

    #[test]
    fn what_would_mean_something_else_is_refused() {
        let mount = |mount: &str| format!(r#"{{"HostConfig":{{"Mounts":[{mount}]}}}}"#);
        let subpath = mount(r#"{"Type":"volume","VolumeOptions":{"Subpath":"a"}}"#);
        let image = mount(r#"{"Type":"image","Source":"a","Target":"/b"}"#);
        let recursive = mount(r#"{"Type":"bind","BindOptions":{"ReadOnlyForceRecursive":true}}"#);
        let networks = r#"{"NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}"#.to_owned();
        for (body, first, text) in [
            (
                subpath,
                45,
                "VolumeOptions.Subpath needs API v1.45 or newer",
            ),
            (image, 48, "Mount type \"Image\" needs API v1.48 or newer"),
            (
                recursive,
                44,
                "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
            ),
            (
                networks,
                44,
                "Container cannot be created with multiple network endpoints: a, b",
            ),
        ] {
            assert_eq!(renewed(&body, first - 1).unwrap_err(), text);
            assert!(renewed(&body, first).is_ok(), "{body}");
        }
    }
}
