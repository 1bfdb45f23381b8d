//! What is looked at for an explanation. It is asked of the daemon; only what processes listen at is read here, where the
//! daemon is on this machine.

use super::listen::{self, Listener};
use super::program::{self, Program};
use hull_api::client::{Client, Endpoint, Error, ListOptions, LogsOptions, Target};
use hull_api::container::{Inspect, Summary};
use hull_api::event::Event;
use hull_api::image;
use hull_api::network::Explanation;
use hull_api::stream::Decoder;
use std::collections::BTreeMap;

/// Lines of the log that are looked at.
const LINES: usize = 60;
/// Of a program's file so much is read: its headers, and where its loader is named.
const HEAD: usize = 64 << 10;
/// A tar header (POSIX ustar).
const BLOCK: usize = 512;
/// As many links as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Bytes of the log that are looked at.
const MAX_LOG: usize = 1 << 20;

/// A file in the container that was to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) program: Program,
    /// Whether what executes it (a loader or interpreter) is there.
    pub(super) helper: Option<bool>,
    /// Whether anybody may execute it.
    pub(super) executable: bool,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) inspect: Inspect,
    /// The end of the log.
    pub(super) log: Vec<String>,
    /// The host's architecture, as images name it.
    pub(super) host: String,
    /// The image's.
    pub(super) image: String,
    /// What was to be executed; `None` where it is not in the container.
    pub(super) file: Option<File>,
    /// What happened to it since it was last started.
    pub(super) events: Vec<Event>,
    pub(super) others: Vec<Summary>,
    /// Where its processes listen; `None` where that cannot be seen.
    pub(super) listeners: Option<Vec<Listener>>,
    pub(super) network: Option<Explanation>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Facts {
    /// Whom its process runs as.
    pub(super) fn user(&self) -> &str {
        match self.inspect.config.user.as_str() {
            "" => "root",
            user => user,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        let user = self.user().split(':').next().unwrap_or_default();
        matches!(user, "root" | "0")
    }

    pub(super) fn name(&self) -> &str {
        self.inspect.name.trim_start_matches('/')
    }

    /// Asks for all that has to do with the state the container is in. What cannot be had is left out.
    pub(super) async fn gather(client: &Client, name: &str) -> Result<Self, Error> {
        let inspect = client.container(name).await?;
        let id = inspect.id.clone();
        let mut facts = Self {
            log: log(client, &inspect).await.unwrap_or_default(),
            host: host(client).await,
            others: others(client).await,
            now: jiff::Timestamp::now().as_second(),
            ..Self::default()
        };
        facts.image = image_architecture(client, &inspect.image).await;
        if inspect.state.running {
            facts.network = client.explain_network(&id, "").await.ok();
            let local = matches!(client.endpoint(), Endpoint::Unix(_));
            facts.listeners = local
                .then(|| listen::of_process(inspect.state.pid))
                .flatten();
        } else {
            facts.file = executed(client, &inspect).await;
            facts.events = events(client, &inspect).await.unwrap_or_default();
        }
        facts.inspect = inspect;
        Ok(facts)
    }
}

async fn log(client: &Client, inspect: &Inspect) -> Result<Vec<String>, Error> {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: LINES.to_string(),
        ..LogsOptions::default()
    };
    let mut body = client.logs(&inspect.id, &options).await?;
    let mut decoder = Decoder::new();
    let mut text = Vec::new();
    while let Some(bytes) = body.chunk().await? {
        if inspect.config.tty {
            text.extend_from_slice(&bytes);
        } else {
            decoder.push(&bytes);
            while let Ok(Some((_, chunk))) = decoder.next_chunk() {
                text.extend_from_slice(&chunk);
            }
        }
        if text.len() > MAX_LOG {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(str::to_owned).collect())
}

async fn host(client: &Client) -> String {
    let info = client.info().await.unwrap_or_default();
    program::host_name(&info.architecture).map_or(info.architecture.clone(), str::to_owned)
}

async fn others(client: &Client) -> Vec<Summary> {
    client
        .containers(&ListOptions::default())
        .await
        .unwrap_or_default()
}

async fn image_architecture(client: &Client, id: &str) -> String {
    let target = Target::segments(&["images", id, "json"]);
    let Ok(bytes) = client.get_raw(&target).await else {
        return String::new();
    };
    let image = hull_api::json::from_slice::<image::Inspect>(&bytes);
    image.map_or(String::new(), |image| image.architecture)
}

/// What happened between the last start and the end. The daemon keeps what is not long ago.
async fn events(client: &Client, inspect: &Inspect) -> Result<Vec<Event>, Error> {
    let seconds = |text: &str| {
        text.parse::<jiff::Timestamp>()
            .map_or(0, jiff::Timestamp::as_second)
    };
    let started = seconds(&inspect.state.started_at).max(0);
    let ended = seconds(&inspect.state.finished_at);
    if started == 0 || ended < started {
        return Ok(Vec::new());
    }
    let filters = BTreeMap::from([("container".to_owned(), vec![inspect.id.clone()])]);
    let mut stream = client
        .events(&started.to_string(), &(ended + 1).to_string(), &filters)
        .await?;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await? {
        events.push(event);
        if events.len() > 1_000 {
            events.remove(0);
        }
    }
    Ok(events)
}

/// The file of the container's first process, looked for as the kernel and the shell would.
async fn executed(client: &Client, inspect: &Inspect) -> Option<File> {
    let name = inspect.path.as_str();
    let tried: Vec<String> = if name.starts_with('/') {
        vec![name.to_owned()]
    } else if name.contains('/') {
        vec![format!("{}/{name}", inspect.config.working_dir)]
    } else {
        let set = inspect.config.env.iter().flatten();
        let path = set
            .filter_map(|word| word.strip_prefix("PATH="))
            .next_back();
        let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        path.split(':').map(|dir| format!("{dir}/{name}")).collect()
    };
    for path in tried.iter().take(32) {
        if let Some((real, mode)) = resolve(client, &inspect.id, path).await {
            let program =
                Program::read(&head(client, &inspect.id, &real).await.unwrap_or_default());
            let wanted = match &program {
                Program::Elf { loader, .. } => loader.clone(),
                Program::Script { interpreter, .. } => Some(interpreter.clone()),
                Program::Unknown => None,
            };
            let helper = match wanted {
                Some(wanted) => Some(resolve(client, &inspect.id, &wanted).await.is_some()),
                None => None,
            };
            return Some(File {
                path: path.clone(),
                program,
                helper,
                executable: mode & 0o111 != 0,
            });
        }
    }
    None
}

/// Where a path leads in the container, and the mode of what is there.
async fn resolve(client: &Client, id: &str, path: &str) -> Option<(String, u32)> {
    use hull_api::container::archive::mode;
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let stat = client.path_stat(id, &path).await.ok()?;
        if stat.mode & mode::SYMLINK == 0 {
            return Some((path, stat.mode));
        }
        path = stat.link_target;
    }
    None
}

/// The first bytes of a file: behind one header of the archive that it comes in.
async fn head(client: &Client, id: &str, path: &str) -> Option<Vec<u8>> {
    let (_, mut body) = client.copy_from(id, path).await.ok()?;
    let mut bytes = Vec::new();
    while bytes.len() < BLOCK + HEAD {
        match body.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut file = Vec::new();
    let mut limited = std::io::Read::take(&mut entry, HEAD as u64);
    // It is cut off where we stopped reading.
    let _ = std::io::Read::read_to_end(&mut limited, &mut file);
    Some(file)
}
