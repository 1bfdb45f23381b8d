//! The driver `local`: directories, and file systems that are mounted while somebody uses them.

use super::Row;
use crate::{Engine, Error, ErrorKind, Result};
use hull_spec::{Thousand, parse_size};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where in the data root.
pub(super) const DIRECTORY: &str = "volumes";

/// What a volume's own directory holds.
pub(super) const DATA: &str = "_data";

/// Checks a volume's name; the texts are dockerd's.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.len() == 1 {
        return Err(
            "volume name is too short, names should be at least two alphanumeric characters"
                .to_owned(),
        );
    }
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    // A longer one could not be a directory's.
    if first
        && name.len() <= 255
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        return Ok(());
    }
    Err(format!(
        "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    ))
}

/// Checks a volume's options, as far as this is possible without mounting.
pub(super) fn check_options(options: Option<&BTreeMap<String, String>>) -> Result<(), String> {
    let Some(options) = options else {
        return Ok(());
    };
    let known = ["type", "o", "device", "size"];
    if let Some(unknown) = options.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("invalid option: {unknown:?}"));
    }
    let device = options.get("device");
    if options.get("type").is_some_and(|kind| kind == "cifs")
        && device.is_some_and(|device| share(device).is_some_and(|(host, _)| host.contains(':')))
    {
        return Err("port not allowed in CIFS device URL, include 'port' in 'o='".to_owned());
    }
    if let Some(size) = options.get("size") {
        match parse_size(size, Thousand::Binary) {
            Err(why) => return Err(why.to_string()),
            Ok(0) => {}
            Ok(_) => return Err("quota size requested but no quota support".to_owned()),
        }
    }
    for (option, needed) in [
        ("device", &["type"][..]),
        ("o", &["device", "type"]),
        ("type", &["device"]),
    ] {
        let missing = needed.iter().find(|name| !options.contains_key(**name));
        if let Some(missing) = missing.filter(|_| options.contains_key(option)) {
            return Err(format!("missing required option: {missing:?}"));
        }
    }
    Ok(())
}

/// Host and rest of `//host/share`.
fn share(device: &str) -> Option<(&str, &str)> {
    let rest = device.strip_prefix("//")?;
    let end = rest.find('/').unwrap_or(rest.len());
    Some(rest.split_at(end))
}

impl Engine {
    /// A volume's own directory.
    pub(super) fn volume_dir(&self, name: &str) -> PathBuf {
        self.config.data_root.join(DIRECTORY).join(name)
    }

    /// Where the data of a volume of the driver `local` is.
    pub(crate) fn volume_data(&self, name: &str) -> PathBuf {
        self.volume_dir(name).join(DATA)
    }

    /// Makes a volume's directories where they are missing.
    pub(super) fn make_directory(&self, name: &str) -> Result<()> {
        let data = self.volume_data(name);
        if fs_err::symlink_metadata(&data).is_ok() {
            return Ok(());
        }
        let made = make_directories(&data, &self.volume_dir(name));
        made.map_err(|error| {
            let text = format!("error while creating volume data path '{}'", data.display());
            Error::new(ErrorKind::Internal, text).caused_by(error)
        })
    }

    /// Mounts a volume's file system, unless it is mounted already. The name is held.
    pub(super) fn mount_local(&self, row: &Row) -> Result<PathBuf> {
        let at = self.volume_data(&row.name);
        self.make_directory(&row.name)?;
        if !row.needs_mount() || hull_linux::mount::is_mounted(&at).unwrap_or(false) {
            return Ok(at);
        }
        let options = row.options.clone().unwrap_or_default();
        let _turn = self.volumes.mounting();
        let mounted = self
            .own_mounts()
            .map_err(|error| error.to_string())
            .and_then(|()| mount(&options, &at));
        match mounted {
            Ok(()) => Ok(at),
            Err(why) => Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "error while mounting volume '{}': failed to mount local volume: {why}",
                    at.display()
                ),
            )),
        }
    }

    /// Unmounts a volume's file system, if it has one. The name is held.
    pub(super) fn unmount_local(&self, row: &Row) {
        if !row.needs_mount() {
            return;
        }
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        let _turn = self.volumes.mounting();
        match unmount(self.volume_data(&row.name), flags) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => self.drop_own_mounts(),
            Err(error) => {
                tracing::warn!(volume = row.name, %error, "a volume was not unmounted");
            }
        }
    }

    /// Makes the directory of all volumes a private mount of itself: what is mounted in it is no other
    /// mount namespace's business, and shims get rid of all of it with one call. One that is a file
    /// system of its own stays as it is.
    fn own_mounts(&self) -> io::Result<()> {
        let directory = self.config.data_root.join(DIRECTORY);
        if !hull_linux::mount::is_mounted(&directory)? {
            rustix::mount::mount_bind(&directory, &directory)?;
            mount_change(&directory, MountPropagationFlags::PRIVATE)?;
        }
        Ok(())
    }

    /// Unmounts the directory from itself once nothing is mounted in it any more.
    fn drop_own_mounts(&self) {
        let directory = self.config.data_root.join(DIRECTORY);
        let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev).ok();
        if hull_linux::mount::is_mounted(&directory).unwrap_or(false)
            && device(&directory) == device(&self.config.data_root)
        {
            // EBUSY: something is mounted in it.
            let _ = unmount(&directory, UnmountFlags::NOFOLLOW);
        }
    }

    /// The directory whose mounts shims let go of, if there are any.
    pub(crate) fn volume_mounts(&self) -> Option<PathBuf> {
        let directory = self.config.data_root.join(DIRECTORY);
        let mounted = hull_linux::mount::is_mounted(&directory).unwrap_or(false);
        mounted.then_some(directory)
    }
}

/// `data` for everybody in containers, all above for root alone.
fn make_directories(data: &Path, own: &Path) -> io::Result<()> {
    let mut above = std::fs::DirBuilder::new();
    above.recursive(true).mode(0o701).create(own)?;
    match fs_err::create_dir(data) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs_err::set_permissions(data, std::fs::Permissions::from_mode(0o755))
}

/// Mounts as mount(8) would with `-t type -o o device`. The text of a failure is dockerd's, and has no
/// password.
fn mount(options: &BTreeMap<String, String>, at: &Path) -> Result<(), String> {
    let text = |name: &str| options.get(name).map_or("", String::as_str);
    let kind = text("type");
    let (device, words) = resolved(kind, text("device"), text("o"))?;
    let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    let parsed = hull_linux::mount::Options::parse(&words);
    let failed = |error: io::Error| {
        let mut what = format!("mount {device}:{}", at.display());
        let flags = hull_linux::mount::classic_flags(parsed.attributes.set)
            | if parsed.bind { 0x1000 } else { 0 }
            | if parsed.recursive { 0x4000 } else { 0 };
        if flags != 0 {
            let _ = write!(what, ", flags: {flags:#x}");
        }
        if !parsed.data.is_empty() {
            let shown = parsed.data.iter().map(|word| match word.split_once('=') {
                Some(("password", _)) => "password=********",
                _ => word.as_str(),
            });
            let _ = write!(what, ", data: {}", shown.collect::<Vec<_>>().join(","));
        }
        format!("{what}: {}", reason(&error))
    };
    let tree = if parsed.bind {
        let tree = hull_linux::mount::clone_tree(CWD, Path::new(&device), parsed.recursive);
        tree.and_then(|tree| {
            let change = parsed.added();
            hull_linux::mount::set_attributes(rustix::fd::AsFd::as_fd(&tree), false, &change)?;
            Ok(tree)
        })
    } else {
        let superblock = parsed.superblock.iter().copied();
        let read_only = parsed.read_only().then_some("ro");
        let data = parsed.data.iter().map(String::as_str);
        let all = superblock.chain(read_only).chain(data);
        hull_linux::mount::new_file_system(kind, &device, all, parsed.attributes.set)
    };
    let attached = tree.and_then(|tree| {
        hull_linux::mount::attach_at(rustix::fd::AsFd::as_fd(&tree), at)?;
        Ok(())
    });
    attached.map_err(failed)
}

/// The kernel's error in Go's words, which have no number behind them.
fn reason(error: &io::Error) -> String {
    let code = error.raw_os_error().or_else(|| {
        let inner = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
        inner.raw_os_error()
    });
    let text = match code {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.to_string(),
    };
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut lower = plain.to_owned();
    if let Some(first) = lower.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    lower
}

/// The kernel's clients of NFS and CIFS take addresses, users write names.
fn resolved(kind: &str, device: &str, words: &str) -> Result<(String, String), String> {
    let plain = || (device.to_owned(), words.to_owned());
    if !matches!(kind, "nfs" | "cifs") {
        return Ok(plain());
    }
    let address = words.split(',').find_map(|word| word.strip_prefix("addr="));
    if let Some(name) = address.filter(|name| !name.is_empty() && name.parse::<IpAddr>().is_err()) {
        let found = address_of(name)?;
        let words = words.replacen(&format!("addr={name}"), &format!("addr={found}"), 1);
        return Ok((device.to_owned(), words));
    }
    match share(device).filter(|_| kind == "cifs" && address.is_none()) {
        Some((host, rest)) if !host.is_empty() && host.parse::<IpAddr>().is_err() => {
            Ok((format!("//{}{rest}", address_of(host)?), words.to_owned()))
        }
        _ => Ok(plain()),
    }
}

fn address_of(name: &str) -> Result<IpAddr, String> {
    let found = (name, 0_u16).to_socket_addrs();
    let found = found.map(|mut all| all.next().map(|address| address.ip()));
    match found {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(format!(
            "error resolving passed in network volume address: lookup {name}: no such host"
        )),
        Err(error) => Err(format!(
            "error resolving passed in network volume address: lookup {name}: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn names_are_checked() {
        assert!(check_name("data_1.x").is_ok());
        for bad in [
            "a",
            "../x",
            "a/b",
            "-x",
            "a b",
            "",
            ".removed",
            &"a".repeat(256),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    /// As dockerd 28.5 answers.
    #[test]
    fn options_are_checked_in_dockerds_words() {
        let told = |pairs: &[(&str, &str)]| check_options(Some(&options(pairs))).unwrap_err();
        assert_eq!(told(&[("foo", "b")]), "invalid option: \"foo\"");
        assert_eq!(
            told(&[("type", "tmpfs")]),
            "missing required option: \"device\""
        );
        assert_eq!(
            told(&[("device", "tmpfs")]),
            "missing required option: \"type\""
        );
        assert_eq!(
            told(&[("o", "bind")]),
            "missing required option: \"device\""
        );
        assert_eq!(told(&[("size", "xx")]), "invalid size: 'xx'");
        assert_eq!(
            told(&[("size", "10M")]),
            "quota size requested but no quota support"
        );
        assert!(told(&[("type", "cifs"), ("device", "//h:445/s")]).starts_with("port not allowed"));
        assert!(check_options(None).is_ok());
        let bind = [("type", "none"), ("o", "bind"), ("device", "/nonexistent")];
        assert!(check_options(Some(&options(&bind))).is_ok());
    }

    #[test]
    fn names_of_servers_become_addresses() {
        let nfs = resolved("nfs", ":/x", "addr=localhost,rw").unwrap();
        assert!(matches!(
            nfs.1.as_str(),
            "addr=127.0.0.1,rw" | "addr=::1,rw"
        ));
        let given = resolved("nfs", ":/x", "addr=10.0.0.1,rw").unwrap();
        assert_eq!(given, (":/x".to_owned(), "addr=10.0.0.1,rw".to_owned()));
        let cifs = resolved("cifs", "//localhost/s/t", "username=u").unwrap();
        assert!(cifs.0.ends_with("/s/t") && !cifs.0.contains("localhost"));
        let other = resolved("tmpfs", "tmpfs", "addr=localhost").unwrap();
        assert_eq!(other.1, "addr=localhost");
    }

    #[test]
    fn a_password_is_not_told() {
        let mut given = options(&[("type", "nosuch"), ("device", "//10.0.0.1/s")]);
        given.insert("o".to_owned(), "username=u,password=secret".to_owned());
        let told = mount(&given, Path::new("/nonexistent")).unwrap_err();
        assert!(
            told.contains("data: username=u,password=********: ") && !told.contains("secret"),
            "{told}"
        );
    }
}
