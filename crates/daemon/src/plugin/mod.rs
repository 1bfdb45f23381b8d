//! Docker's plugin protocol, as far as volumes need it: a program listens on a socket, says at
//! `/Plugin.Activate` what it implements, and answers requests in JSON.
//!
//! ```text
//! /run/docker/plugins/<name>.sock            found by its socket
//! /etc/docker/plugins/<name>.{spec,json}     found by a file that says where it listens
//! /usr/lib/docker/plugins/<name>.{spec,json}
//! ```
//!
//! Source: <https://docs.docker.com/engine/extend/plugin_api/>,
//! <https://docs.docker.com/engine/extend/plugins_volume/>.

mod call;
mod discover;

use call::Client;
use discover::{Address, Places};
use hull_engine::volume::{DriverError, ForeignVolume, VolumeDrivers};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// dockerd's patience with what may have to move data, and with what only tells.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_secs(60);

/// What a plugin that keeps volumes says it implements.
const VOLUMES: &str = "VolumeDriver";

/// All plugins that can be found.
#[derive(Debug)]
pub(crate) struct Plugins {
    places: Places,
    /// Those that said what they are, with where they listened then.
    active: Mutex<HashMap<String, Active>>,
}

#[derive(Clone, Debug)]
struct Active {
    address: Address,
    implements: Vec<String>,
}

impl Default for Plugins {
    fn default() -> Self {
        Self::in_places(Places::default())
    }
}

/// An answer of a volume plugin; each has some of these.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Answer {
    err: String,
    mountpoint: String,
    volume: Option<Volume>,
    volumes: Vec<Volume>,
    capabilities: Capabilities,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Capabilities {
    scope: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Volume {
    name: String,
    mountpoint: String,
    created_at: String,
    status: Option<BTreeMap<String, Value>>,
}

impl Plugins {
    fn in_places(places: Places) -> Self {
        Self {
            places,
            active: Mutex::default(),
        }
    }

    /// A plugin that keeps volumes; asked what it is when it listens somewhere new.
    fn volume_plugin(&self, name: &str) -> Result<Client, DriverError> {
        let address = self.places.find(name)?.ok_or(DriverError::Missing)?;
        let locked = || self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let known = locked().get(name).cloned();
        let active = match known.filter(|known| known.address == address) {
            Some(known) => known,
            None => {
                let active = Active {
                    implements: activate(&address)?,
                    address,
                };
                locked().insert(name.to_owned(), active.clone());
                active
            }
        };
        if active.implements.iter().any(|what| what == VOLUMES) {
            return Ok(Client::new(active.address));
        }
        Err(DriverError::Failed(format!(
            "error looking up volume plugin {name}: plugin {name:?} does not implement {VOLUMES:?}"
        )))
    }

    fn ask(
        &self,
        plugin: &str,
        what: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<Answer, DriverError> {
        let method = format!("{VOLUMES}.{what}");
        let client = self.volume_plugin(plugin)?;
        let bytes = client.post(&method, body, patience).map_err(failed)?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|error| failed(format!("{method}: {error}")))?;
        if answer.err.is_empty() {
            Ok(answer)
        } else {
            Err(failed(format!("{method}: {}", answer.err)))
        }
    }
}

fn failed(text: String) -> DriverError {
    DriverError::Failed(text)
}

fn activate(address: &Address) -> Result<Vec<String>, DriverError> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Manifest {
        implements: Vec<String>,
    }
    let client = Client::new(address.clone());
    let bytes = client.post("Plugin.Activate", &Value::Null, SHORT);
    let manifest: Manifest = serde_json::from_slice(&bytes.map_err(failed)?)
        .map_err(|error| failed(format!("Plugin.Activate: {error}")))?;
    Ok(manifest.implements)
}

/// Where a volume is: nothing, or an absolute path.
fn place(text: String) -> Result<PathBuf, DriverError> {
    let path = PathBuf::from(text);
    if path.as_os_str().is_empty() || path.is_absolute() {
        return Ok(path);
    }
    Err(failed(format!(
        "a mount point that is not absolute: {}",
        path.display()
    )))
}

fn volume(volume: Volume) -> Result<ForeignVolume, DriverError> {
    Ok(ForeignVolume {
        name: volume.name,
        mountpoint: place(volume.mountpoint)?,
        created: volume.created_at,
        status: volume.status.unwrap_or_default(),
    })
}

impl VolumeDrivers for Plugins {
    fn names(&self) -> Vec<String> {
        let mut names = self.places.names();
        // Others than those for volumes are none of ours, and who does not answer is not there.
        names.retain(|name| self.volume_plugin(name).is_ok());
        names
    }

    fn scope(&self, driver: &str) -> Result<String, DriverError> {
        self.volume_plugin(driver)?;
        // Plugins older than the question do not know it.
        let answer = self.ask(driver, "Capabilities", &json!({}), SHORT);
        let scope = answer.map(|answer| answer.capabilities.scope.to_lowercase());
        Ok(match scope.as_deref() {
            Ok("global") => "global".to_owned(),
            _ => "local".to_owned(),
        })
    }

    fn create(
        &self,
        driver: &str,
        volume: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), DriverError> {
        let body = json!({"Name": volume, "Opts": options});
        self.ask(driver, "Create", &body, LONG).map(drop)
    }

    fn remove(&self, driver: &str, volume: &str) -> Result<(), DriverError> {
        let body = json!({"Name": volume});
        self.ask(driver, "Remove", &body, SHORT).map(drop)
    }

    fn mount(&self, driver: &str, volume: &str, user: &str) -> Result<PathBuf, DriverError> {
        let body = json!({"Name": volume, "ID": user});
        let at = place(self.ask(driver, "Mount", &body, LONG)?.mountpoint)?;
        if at.as_os_str().is_empty() {
            return Err(failed(format!("{VOLUMES}.Mount: no mount point was given")));
        }
        Ok(at)
    }

    fn unmount(&self, driver: &str, volume: &str, user: &str) -> Result<(), DriverError> {
        let body = json!({"Name": volume, "ID": user});
        self.ask(driver, "Unmount", &body, SHORT).map(drop)
    }

    fn get(&self, driver: &str, name: &str) -> Result<ForeignVolume, DriverError> {
        self.volume_plugin(driver)?;
        // The protocol has no word for a volume that is not there: any refusal is one.
        let answer = self.ask(driver, "Get", &json!({"Name": name}), SHORT);
        let found = answer.ok().and_then(|answer| answer.volume);
        volume(found.ok_or(DriverError::NoVolume)?)
    }

    fn list(&self, driver: &str) -> Result<Vec<ForeignVolume>, DriverError> {
        let volumes = self.ask(driver, "List", &json!({}), SHORT)?.volumes;
        volumes.into_iter().map(volume).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    /// Answers what is asked by `answer`, on a thread of its own, until the directory is gone.
    fn serve(socket: &std::path::Path, answer: fn(&str, &str) -> (u16, String)) {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else {
                    return;
                };
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                let (head, length) = loop {
                    let Ok(count @ 1..) = connection.read(&mut buffer) else {
                        break (0, 0);
                    };
                    request.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&request).to_lowercase();
                    let Some(head) = text.find("\r\n\r\n") else {
                        continue;
                    };
                    let length = text.split("content-length: ").nth(1).map_or(0, |rest| {
                        rest.split("\r\n").next().unwrap().parse().unwrap()
                    });
                    if request.len() >= head + 4 + length {
                        break (head, length);
                    }
                };
                if head == 0 {
                    continue;
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let path = text.split(' ').nth(1).unwrap().to_owned();
                let body = text[head + 4..head + 4 + length].to_owned();
                let (status, body) = answer(&path, &body);
                let _ = write!(
                    connection,
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
    }

    fn volumes(path: &str, body: &str) -> (u16, String) {
        let answer = match path {
            "/Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
            "/VolumeDriver.Create" if body.contains("\"bad\"") => json!({"Err": "no room"}),
            "/VolumeDriver.Create" if body.contains("\"broken\"") => {
                return (500, "boom".to_owned());
            }
            "/VolumeDriver.Mount" => json!({"Mountpoint": "/somewhere"}),
            "/VolumeDriver.Get" if body.contains("\"v\"") => {
                json!({"Volume": {"Name": "v", "Mountpoint": "/m", "Status": {"a": 1}}})
            }
            "/VolumeDriver.Get" => json!({"Err": "unknown"}),
            "/VolumeDriver.List" => json!({"Volumes": [{"Name": "v", "Mountpoint": "relative"}]}),
            "/VolumeDriver.Capabilities" => json!({"Capabilities": {"Scope": "Global"}}),
            _ => json!({}),
        };
        (200, answer.to_string())
    }

    #[test]
    fn a_plugin_is_found_and_asked() {
        let dir = tempfile::tempdir().unwrap();
        serve(&dir.path().join("one.sock"), volumes);
        serve(&dir.path().join("other.sock"), |_, _| {
            (200, json!({"Implements": ["authz"]}).to_string())
        });
        fs_err::write(dir.path().join("gone.spec"), "unix:///nonexistent/socket").unwrap();
        let plugins = Plugins::in_places(Places::in_directory(dir.path()));
        assert_eq!(plugins.names(), ["one"]);
        assert_eq!(plugins.scope("one").unwrap(), "global");
        assert_eq!(plugins.scope("nope"), Err(DriverError::Missing));
        assert_eq!(plugins.scope("../one"), Err(DriverError::Missing));
        let none = BTreeMap::new();
        assert_eq!(plugins.create("one", "v", &none), Ok(()));
        let told = |name: &str| plugins.create("one", name, &none).unwrap_err().to_string();
        assert_eq!(told("bad"), "VolumeDriver.Create: no room");
        assert_eq!(told("broken"), "VolumeDriver.Create: boom");
        assert_eq!(
            plugins.mount("one", "v", "c").unwrap(),
            PathBuf::from("/somewhere")
        );
        let found = plugins.get("one", "v").unwrap();
        assert_eq!(
            (found.name.as_str(), found.status["a"].as_i64()),
            ("v", Some(1))
        );
        assert_eq!(plugins.get("one", "w"), Err(DriverError::NoVolume));
        assert!(plugins.list("one").is_err(), "a relative place is none");
        assert!(
            plugins
                .scope("gone")
                .unwrap_err()
                .to_string()
                .contains("Plugin.Activate")
        );
        let wrong = plugins.create("other", "v", &none).unwrap_err().to_string();
        assert!(wrong.contains("does not implement"), "{wrong}");
    }
}
