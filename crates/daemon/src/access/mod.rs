//! Scoped sockets: each has a grant of what may be done on it and seen by it. Docker's socket is root on the host for everybody who
//! reaches it; these are for monitors, proxies and CI jobs.
//!
//! Grants lie in the data root, a JSON document each, and are opened again when the daemon starts. Their sockets have a directory each,
//! to be mounted into containers: a mounted directory shows the socket of the next daemon, a mounted socket stays that of a dead one.

mod audit;
mod gate;
mod grant;
pub(crate) mod limits;
mod origin;
mod rights;

pub(crate) use audit::{Answered, Audit, changes};
pub(crate) use gate::{admit, container, reference, sees_event, sees_network, sees_volume};
pub(crate) use grant::Grant;
pub(crate) use origin::{Door, Origin, Serves};

use crate::app::App;
use crate::error::ApiError;
use crate::listen::{Address, Listener, find_group};
use crate::server;
use http::StatusCode;
use hull_api::access::Grant as WireGrant;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UnixListener;

/// All grants.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// Where their documents lie.
    documents: PathBuf,
    /// Where their sockets lie.
    sockets: PathBuf,
    doors: Mutex<BTreeMap<String, Arc<Door>>>,
    /// One at a time is made or taken back.
    changing: tokio::sync::Mutex<()>,
}

impl Access {
    /// Grants of a daemon with these roots.
    pub(crate) fn new(data_root: &Path, exec_root: &Path) -> Self {
        Self {
            documents: data_root.join("access"),
            sockets: exec_root.join("access"),
            ..Self::default()
        }
    }

    fn document(&self, name: &str) -> PathBuf {
        self.documents.join(format!("{name}.json"))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.sockets.join(name).join("docker.sock")
    }

    fn wire(&self, grant: &Grant) -> WireGrant {
        grant.to_wire(self.socket(&grant.name).display().to_string())
    }

    fn door(&self, name: &str) -> Option<Arc<Door>> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.get(name).cloned()
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Vec<WireGrant> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let grants = doors.values().filter_map(|door| door.grant.as_deref());
        grants.map(|grant| self.wire(grant)).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn inspect(&self, name: &str) -> Result<WireGrant, ApiError> {
        let door = self.door(name).ok_or_else(|| missing(name))?;
        let grant = door.grant.as_deref().ok_or_else(|| missing(name))?;
        Ok(self.wire(grant))
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::not_found(format!("No such access: {name}"))
}

fn failed(what: &str, error: &io::Error) -> ApiError {
    ApiError::internal(format!("{what}: {error}"))
}

/// Opens the sockets of all grants that were made before. One that cannot be opened is told of, and hinders no other.
pub(crate) async fn open_all(app: &Arc<App>) {
    let documents = match fs_err::read_dir(&app.access.documents) {
        Ok(documents) => documents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::error!(%error, "the scoped sockets are not opened");
            return;
        }
    };
    let _changing = app.access.changing.lock().await;
    for document in documents.flatten() {
        let path = document.path();
        if path.extension().is_none_or(|end| end != "json") {
            // Half of one that was being made.
            let _ = fs_err::remove_file(&path);
            continue;
        }
        if let Err(error) = open_kept(app, &path) {
            tracing::error!(path = %path.display(), error = error.message, "a scoped socket is not opened");
        }
    }
}

fn open_kept(app: &Arc<App>, path: &Path) -> Result<(), ApiError> {
    let text = fs_err::read(path).map_err(|error| failed("reading a grant", &error))?;
    let wire: WireGrant = serde_json::from_slice(&text)
        .map_err(|error| ApiError::internal(format!("reading a grant: {error}")))?;
    let grant = Grant::read(wire)?;
    if app.access.document(&grant.name) != path {
        return Err(ApiError::internal("its name is another than its file's"));
    }
    open(app, Arc::new(grant))
}

/// Makes a grant and its socket.
///
/// # Errors
/// 400 for what makes no sense, 409 when there is one of this name, 500.
pub(crate) async fn create(app: &Arc<App>, wire: WireGrant) -> Result<WireGrant, ApiError> {
    let grant = Grant::read(WireGrant {
        created: jiff::Timestamp::now().to_string(),
        ..wire
    })?;
    let _changing = app.access.changing.lock().await;
    if app.access.door(&grant.name).is_some() {
        let text = format!(
            "access {:?} exists: remove it first (hull access rm {0})",
            grant.name
        );
        return Err(ApiError::new(StatusCode::CONFLICT, text));
    }
    let made = app.access.wire(&grant);
    let name = grant.name.clone();
    open(app, Arc::new(grant))?;
    if let Err(error) = keep(&app.access, &made) {
        close(app, &name);
        return Err(failed("keeping the grant", &error));
    }
    Ok(made)
}

/// Takes a grant back: its socket is gone, and those who were connected are cut off.
///
/// # Errors
/// 404, 500.
pub(crate) async fn remove(app: &Arc<App>, name: &str) -> Result<(), ApiError> {
    let _changing = app.access.changing.lock().await;
    if app.access.door(name).is_none() {
        return Err(missing(name));
    }
    // The document first: what was taken back stays so.
    let gone =
        fs_err::remove_file(app.access.document(name)).and_then(|()| sync(&app.access.documents));
    match gone {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("removing the grant", &error));
        }
        _ => {}
    }
    close(app, name);
    Ok(())
}

/// Writes a grant down, whole or not at all.
fn keep(access: &Access, grant: &WireGrant) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(grant)?;
    directory(&access.documents, 0o700)?;
    let (half, path) = (
        access.documents.join(format!("{}.new", grant.name)),
        access.document(&grant.name),
    );
    let mut file = fs_err::File::create(&half)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs_err::rename(&half, &path)?;
    sync(&access.documents)
}

fn sync(directory: &Path) -> io::Result<()> {
    fs_err::File::open(directory)?.sync_all()
}

fn directory(path: &Path, mode: u32) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(mode).create(path)
}

fn open(app: &Arc<App>, grant: Arc<Grant>) -> Result<(), ApiError> {
    let name = grant.name.clone();
    let path = app.access.socket(&name);
    let listener = listen(&app.access, &grant, &path)?;
    let door = Arc::new(Door {
        address: Address::Unix(path).to_string(),
        grant: Some(grant),
        ..Door::default()
    });
    let mut doors = app.access.doors.lock();
    let doors = doors.as_mut().unwrap_or_else(|error| error.get_mut());
    doors.insert(name, Arc::clone(&door));
    app.accepting
        .spawn(server::accept(Arc::clone(app), listener, door));
    Ok(())
}

/// Listens on a new socket, for root and the grant's group. Nobody else may connect before owner and mode are right: so long its directory
/// is root's alone.
fn listen(access: &Access, grant: &Grant, path: &Path) -> Result<Listener, ApiError> {
    let gid = match grant.group.as_str() {
        "" => 0,
        group => find_group(group)
            .map_err(|error| failed("looking up the group", &error))?
            .ok_or_else(|| ApiError::bad_request(format!("group {group} not found")))?
            .as_raw(),
    };
    let bind = || {
        directory(&access.sockets, 0o711)?;
        let own = access.sockets.join(&grant.name);
        directory(&own, 0o700)?;
        fs_err::set_permissions(&own, Permissions::from_mode(0o700))?;
        // A dead daemon's, if there is one: no other has this execution root.
        match fs_err::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        chown(path, Some(0), Some(gid))?;
        fs_err::set_permissions(path, Permissions::from_mode(0o660))?;
        fs_err::set_permissions(&own, Permissions::from_mode(0o755))?;
        Ok(listener)
    };
    let listener = bind().map_err(|error| failed("listening on the grant's socket", &error))?;
    // The file is removed with the grant: a listener that ends later might take the next one's.
    Ok(Listener::Unix {
        listener,
        path: None,
    })
}

fn close(app: &App, name: &str) {
    let mut doors = app.access.doors.lock();
    let doors = doors.as_mut().unwrap_or_else(|error| error.get_mut());
    if let Some(door) = doors.remove(name) {
        door.closed.cancel();
    }
    let path = app.access.socket(name);
    let _ = fs_err::remove_file(&path);
    if let Some(own) = path.parent() {
        let _ = fs_err::remove_dir(own);
    }
}
