//! The Container Device Interface: documents in which vendors say what a device needs in a container.
//!
//! Specification: CDI 1.0 (`cncf-tags/container-device-interface`), documents in JSON or YAML, read anew for each
//! container that asks: they change when drivers are updated.

use super::devices::{allowed, node};
use crate::{Error, ErrorKind, Result};
use hull_spec::runtime::{Hook, Mount, NetDevice, Process, Spec};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The largest document that is read. One of a machine with eight GPUs has some 100 kB.
const MAX_BYTES: u64 = 8 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    cdi_version: String,
    kind: String,
    devices: Vec<Device>,
    container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Device {
    name: String,
    container_edits: Edits,
}

/// What changes in a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    net_devices: Vec<Interface>,
    mounts: Vec<BindMount>,
    hooks: Vec<NamedHook>,
    additional_gids: Vec<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    path: PathBuf,
    host_path: PathBuf,
    permissions: String,
    file_mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Interface {
    host_interface_name: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BindMount {
    host_path: String,
    container_path: String,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NamedHook {
    hook_name: String,
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<i64>,
}

/// All documents of a host.
#[derive(Debug, Default)]
pub(super) struct Registry(Vec<Document>);

fn failed(text: String) -> Error {
    Error::new(ErrorKind::Internal, text)
}

impl Registry {
    /// Reads the documents in `directories`; those of the same device count before in a later one. What cannot be
    /// read is logged and left out: it may be about other devices.
    pub(super) fn read(directories: &[PathBuf]) -> Self {
        let mut documents = Vec::new();
        for directory in directories {
            let entries = fs_err::read_dir(directory).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                match document(&path) {
                    Ok(Some(document)) => documents.push(document),
                    Ok(None) => {}
                    Err(why) => {
                        tracing::warn!(path = %path.display(), why, "a CDI document cannot be read");
                    }
                }
            }
        }
        Self(documents)
    }

    /// The names of all devices of a kind such as `nvidia.com/gpu`, without it.
    pub(super) fn names(&self, kind: &str) -> Vec<&str> {
        let documents = self.0.iter().filter(|document| document.kind == kind);
        let devices = documents.flat_map(|document| &document.devices);
        devices.map(|device| device.name.as_str()).collect()
    }

    fn find(&self, name: &str) -> Option<(usize, &Device)> {
        let (kind, name) = name.split_once('=')?;
        let mut documents = self.0.iter().enumerate().rev();
        documents.find_map(|(at, document)| {
            let mut devices = document.devices.iter();
            let device = devices.find(|device| document.kind == kind && device.name == name)?;
            Some((at, device))
        })
    }

    /// Puts devices, by their full names, into a container.
    ///
    /// # Errors
    /// `Internal`, in dockerd's words, with the names of those that are not there.
    pub(super) fn inject(&self, spec: &mut Spec, names: &[String]) -> Result<()> {
        let unknown: Vec<&str> = names
            .iter()
            .filter(|name| self.find(name).is_none())
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            return Err(failed(format!(
                "CDI device injection failed: unresolvable CDI devices {}",
                unknown.join(", ")
            )));
        }
        let mut seen = Vec::new();
        for (at, device) in names.iter().filter_map(|name| self.find(name)) {
            // What a document says of all its devices is said once.
            if !seen.contains(&at) {
                seen.push(at);
                edit(spec, &self.0[at].container_edits)?;
            }
            edit(spec, &device.container_edits)?;
        }
        Ok(())
    }
}

fn document(path: &Path) -> std::result::Result<Option<Document>, String> {
    let kind = path.extension().and_then(std::ffi::OsStr::to_str);
    let Some(kind @ ("json" | "yaml" | "yml")) = kind else {
        return Ok(None);
    };
    let size = fs_err::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("{size} bytes are too many"));
    }
    let text = fs_err::read_to_string(path).map_err(|e| e.to_string())?;
    let document: Document = if kind == "json" {
        serde_json::from_str(&text).map_err(|e| e.to_string())?
    } else {
        serde_saphyr::from_str(&text).map_err(|e| e.to_string())?
    };
    if document.cdi_version.is_empty() || !document.kind.contains('/') {
        return Err("it has no cdiVersion or no kind vendor/class".to_owned());
    }
    Ok(Some(document))
}

fn edit(spec: &mut Spec, edits: &Edits) -> Result<()> {
    if let Some(process) = &mut spec.process {
        set_variables(process, &edits.env);
        for group in &edits.additional_gids {
            if *group != 0 && !process.user.additional_gids.contains(group) {
                process.user.additional_gids.push(*group);
            }
        }
    }
    for asked in &edits.device_nodes {
        add_node(spec, asked)?;
    }
    for mount in &edits.mounts {
        let of_host = matches!(mount.kind.as_str(), "" | "bind");
        let mut options = mount.options.clone();
        if of_host && !options.iter().any(|option| option.contains("bind")) {
            options.push("rbind".to_owned());
        }
        spec.mounts
            .retain(|known| known.destination != mount.container_path);
        spec.mounts.push(Mount {
            destination: mount.container_path.clone(),
            kind: mount.kind.clone(),
            source: mount.host_path.clone(),
            options,
            ..Mount::default()
        });
    }
    let linux = spec.linux.get_or_insert_default();
    for device in &edits.net_devices {
        let inside = NetDevice {
            name: device.name.clone(),
        };
        linux
            .net_devices
            .insert(device.host_interface_name.clone(), inside);
    }
    edits.hooks.iter().try_for_each(|hook| add_hook(spec, hook))
}

/// Of a name that comes twice, the last counts.
fn set_variables(process: &mut Process, variables: &[String]) {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    for variable in variables {
        process.env.retain(|known| name(known) != name(variable));
        process.env.push(variable.clone());
    }
}

fn add_node(spec: &mut Spec, asked: &Node) -> Result<()> {
    let host = if asked.host_path.as_os_str().is_empty() {
        &asked.path
    } else {
        &asked.host_path
    };
    let mut device = node(host, host, &asked.path)?;
    device.file_mode = asked.file_mode.or(device.file_mode);
    device.uid = asked.uid.or(device.uid);
    device.gid = asked.gid.or(device.gid);
    let linux = spec.linux.get_or_insert_default();
    let resources = linux.resources.get_or_insert_default();
    resources.devices.push(allowed(&device, &asked.permissions));
    linux.devices.retain(|known| known.path != device.path);
    linux.devices.push(device);
    Ok(())
}

fn add_hook(spec: &mut Spec, named: &NamedHook) -> Result<()> {
    let hooks = &mut spec.hooks;
    let list = match named.hook_name.as_str() {
        "prestart" => &mut hooks.prestart,
        "createRuntime" => &mut hooks.create_runtime,
        "createContainer" => &mut hooks.create_container,
        "startContainer" => &mut hooks.start_container,
        "poststart" => &mut hooks.poststart,
        "poststop" => &mut hooks.poststop,
        other => {
            return Err(failed(format!(
                "CDI device injection failed: invalid hook name {other:?}"
            )));
        }
    };
    list.push(Hook {
        path: named.path.clone(),
        args: named.args.clone(),
        env: (!named.env.is_empty()).then(|| named.env.clone()),
        timeout: named.timeout,
    });
    Ok(())
}

/// Documents by name, for tests: a directory's worth.
#[cfg(test)]
pub(super) fn examples() -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let json = r#"{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu",
        "containerEdits":{"env":["ALL=1"],"mounts":[{"hostPath":"/usr/lib","containerPath":"/driver","options":["ro","nosuid"]}]},
        "devices":[
          {"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/gpu0","hostPath":"/dev/null","permissions":"rw","gid":7}],"additionalGids":[0,44]}},
          {"name":"1","containerEdits":{"env":["ALL=2"],"hooks":[{"hookName":"createContainer","path":"/bin/true","args":["true"]}]}},
          {"name":"all","containerEdits":{"env":["EVERY=1"]}}]}"#;
    let yaml = "cdiVersion: \"0.5.0\"\nkind: vendor.com/net\ndevices:\n- name: card\n  containerEdits:\n    netDevices:\n    - hostInterfaceName: eth7\n      name: card0\n";
    fs_err::write(directory.path().join("a.json"), json).unwrap();
    fs_err::write(directory.path().join("b.yaml"), yaml).unwrap();
    fs_err::write(directory.path().join("c.json"), "{").unwrap();
    fs_err::write(directory.path().join("d.txt"), "no document").unwrap();
    let registry = Registry::read(&[directory.path().to_owned()]);
    (directory, registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_bring_what_their_documents_say() {
        let (_directory, registry) = examples();
        let mut spec = Spec {
            process: Some(Process::default()),
            ..Spec::default()
        };
        let names = [
            "nvidia.com/gpu=0",
            "nvidia.com/gpu=1",
            "vendor.com/net=card",
        ]
        .map(str::to_owned);
        registry.inject(&mut spec, &names).unwrap();
        let process = spec.process.unwrap();
        assert_eq!(process.env, ["ALL=2"]);
        assert_eq!(process.user.additional_gids, [44]);
        assert_eq!(spec.mounts.len(), 1, "once for both devices");
        assert_eq!(spec.mounts[0].options, ["ro", "nosuid", "rbind"]);
        assert_eq!(spec.hooks.create_container.len(), 1);
        let linux = spec.linux.unwrap();
        assert_eq!(linux.devices[0].path, "/dev/gpu0");
        assert_eq!((linux.devices[0].minor, linux.devices[0].gid), (3, Some(7)));
        assert_eq!(linux.resources.unwrap().devices[0].access, "rw");
        assert_eq!(linux.net_devices["eth7"].name, "card0");
    }

    #[test]
    fn devices_that_are_not_there_are_named() {
        let (_directory, registry) = examples();
        assert_eq!(registry.names("nvidia.com/gpu"), ["0", "1", "all"]);
        let names = ["nvidia.com/gpu=7", "nonsense"].map(str::to_owned);
        let error = registry.inject(&mut Spec::default(), &names).unwrap_err();
        assert_eq!(
            error.message(),
            "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7, nonsense"
        );
    }
}
