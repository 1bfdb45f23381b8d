//! The host's name servers, as they are now: resolv.conf(5). Where systemd-resolved serves, the file names
//! its stub on loopback, which is asked from the host's namespace like any other.

use rustix::fs::Stat;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

const PORT: u16 = 53;
/// More are not asked, as by the C library and dockerd.
pub(super) const MOST_SERVERS: usize = 3;
/// A file that is longer is not read to its end.
const LONGEST_FILE: u64 = 1 << 20;

/// What the file said when it was last read.
#[derive(Debug)]
pub(super) struct HostServers {
    path: PathBuf,
    seen: Option<[i128; 5]>,
    servers: Vec<SocketAddr>,
}

impl HostServers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            servers: Vec::new(),
        }
    }

    /// The servers, and whether they may be others than the last time.
    pub(super) fn current(&mut self) -> (&[SocketAddr], bool) {
        let now = rustix::fs::stat(&self.path).ok().as_ref().map(stamp);
        let changed = now != self.seen;
        if changed {
            self.seen = now;
            self.servers = servers(&read(&self.path));
        }
        (&self.servers, changed)
    }
}

fn read(path: &std::path::Path) -> String {
    use std::io::Read as _;
    let mut text = Vec::new();
    if let Ok(file) = fs_err::File::open(path) {
        // Half a file is better than none.
        let _ = file.take(LONGEST_FILE).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What changes when a file is written or replaced.
fn stamp(stat: &Stat) -> [i128; 5] {
    [
        i128::from(stat.st_dev),
        i128::from(stat.st_ino),
        i128::from(stat.st_size),
        i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
    ]
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?
    });
    lines.filter_map(address).take(MOST_SERVERS).collect()
}

fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, PORT).into());
    }
    let (address, device) = text.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let index = match device.parse() {
        Ok(index) => index,
        Err(_) => index_of(device)?,
    };
    Some(SocketAddrV6::new(address, PORT, 0, index).into())
}

/// A device's number. Asked of the kernel, since `/sys` shows the network of whoever mounted it.
fn index_of(device: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    );
    netdevice::name_to_index(socket.ok()?, device).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_servers_count() {
        let text = "# nameserver 1.1.1.1\nnameserver 10.0.0.1\nsearch a\nnameserver  fe80::1%7 x\nnameserver nonsense\nnameserver ::1\nnameserver 10.0.0.4\n";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:53", "[fe80::1%7]:53", "[::1]:53"]);
    }

    #[test]
    fn a_file_that_is_replaced_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let mut host = HostServers::new(path.clone());
        assert_eq!(host.current(), (&[][..], false));
        for server in ["10.0.0.1:53", "10.0.0.2:53"] {
            let text = format!("nameserver {}\n", server.trim_end_matches(":53"));
            let new = directory.path().join("new");
            fs_err::write(&new, text).unwrap();
            fs_err::rename(&new, &path).unwrap();
            let expected = [server.parse().unwrap()];
            assert_eq!(host.current(), (&expected[..], true));
            assert_eq!(host.current(), (&expected[..], false));
        }
    }
}
