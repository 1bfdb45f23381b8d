//! Network devices.

use super::message::{CREATE, Message, attributes, text, u32_at};
use super::socket::change;
use super::{Error, Socket};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;
/// Length of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address that Docker derives from an IPv4 address: `02:42` and its four bytes. Whoever gets
    /// the same IP address again has the same hardware address, so no neighbour's table is stale.
    #[must_use]
    pub fn from_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A network device as the kernel tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `bridge`, …; empty for hardware and loopback.
    pub kind: String,
    /// The text that an administrator, or we, left on it.
    pub alias: String,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
}

/// A veth pair to be made: one end here, the other in a namespace.
#[derive(Clone, Copy, Debug)]
pub struct VethPair<'a> {
    /// The name of this end.
    pub name: &'a str,
    /// The text that marks this end.
    pub alias: &'a str,
    /// The bridge that this end becomes a port of.
    pub master: u32,
    /// The namespace of the other end.
    pub namespace: BorrowedFd<'a>,
    /// The other end's name there.
    pub peer_name: &'a str,
    /// The other end's Ethernet address.
    pub peer_mac: Mac,
    /// The longest packet of both ends, in bytes.
    pub mtu: u32,
}

impl Socket {
    /// Makes a bridge that is up. Linux 2.6.
    ///
    /// # Errors
    /// [`Error::is_existing`] when the name is taken; `EOPNOTSUPP` without the kernel's bridge module.
    pub fn create_bridge(&mut self, name: &str, mac: Mac, mtu: u32) -> Result<(), Error> {
        let message = change(RTM_NEWLINK, CREATE, &ifinfomsg(0, true))
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_ADDRESS, &mac.0)
            .number(IFLA_MTU, mtu)
            .nested(IFLA_LINKINFO, |m| m.text(IFLA_INFO_KIND, "bridge"));
        self.change(vec![message])
            .map_err(|error| Error::new("create bridge", name, error))
    }

    /// Makes a veth pair, this end up, the other end in its namespace from the start (veth(4)).
    /// Linux 2.6.34 for `IFLA_NET_NS_FD` in the peer.
    ///
    /// # Errors
    /// [`Error::is_existing`] when a name is taken on either side.
    pub fn create_veth(&mut self, pair: &VethPair<'_>) -> Result<(), Error> {
        let namespace = pair.namespace.as_raw_fd().cast_unsigned();
        let create = change(RTM_NEWLINK, CREATE, &ifinfomsg(0, true))
            .text(IFLA_IFNAME, pair.name)
            .number(IFLA_MTU, pair.mtu)
            .number(IFLA_MASTER, pair.master)
            .nested(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |m| {
                    m.nested(VETH_INFO_PEER, |m| {
                        m.raw(&ifinfomsg(0, false))
                            .text(IFLA_IFNAME, pair.peer_name)
                            .attribute(IFLA_ADDRESS, &pair.peer_mac.0)
                            .number(IFLA_MTU, pair.mtu)
                            .number(IFLA_NET_NS_FD, namespace)
                    })
                })
            });
        self.change(vec![create])
            .map_err(|error| Error::new("create veth", pair.name, error))?;
        // The kernel takes an alias only for a device that exists.
        let mark = change(RTM_NEWLINK, 0, &ifinfomsg(0, false))
            .text(IFLA_IFNAME, pair.name)
            .attribute(IFLA_IFALIAS, pair.alias.as_bytes());
        self.change(vec![mark]).map_err(|error| {
            // Unmarked it would be nobody's; the name is ours, as it was made a moment ago.
            let _ = self.delete_link(pair.name);
            Error::new("mark veth", pair.name, error)
        })
    }

    /// The device with this name.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, Error> {
        let message = Message::new(RTM_GETLINK, 0, &ifinfomsg(0, false)).text(IFLA_IFNAME, name);
        self.get(message, read_link)
            .map_err(|error| Error::new("look up link", name, error))
    }

    /// All devices.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.dump(RTM_GETLINK, &ifinfomsg(0, false), read_link)
            .map_err(|error| Error::new("list", "links", error))
    }

    /// Sets a device up.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is none.
    pub fn set_up(&mut self, name: &str) -> Result<(), Error> {
        let message = change(RTM_NEWLINK, 0, &ifinfomsg(0, true)).text(IFLA_IFNAME, name);
        self.change(vec![message])
            .map_err(|error| Error::new("set up link", name, error))
    }

    /// Removes a device; of a veth pair, both ends.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is none.
    pub fn delete_link(&mut self, name: &str) -> Result<(), Error> {
        let message = change(RTM_DELLINK, 0, &ifinfomsg(0, false)).text(IFLA_IFNAME, name);
        self.change(vec![message])
            .map_err(|error| Error::new("delete link", name, error))
    }
}

/// `struct ifinfomsg`: family, type, index, flags and which of them change.
fn ifinfomsg(index: u32, up: bool) -> [u8; IFINFOMSG] {
    let mut bytes = [0; IFINFOMSG];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        bytes[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        bytes[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    bytes
}

fn read_link(payload: &[u8]) -> Option<Link> {
    let mut link = Link {
        index: u32_at(payload, 4)?,
        up: u32_at(payload, 8)? & IFF_UP != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(payload.get(IFINFOMSG..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
            IFLA_LINKINFO => {
                if let Some((_, name)) = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND)
                {
                    link.kind = text(name);
                }
            }
            _ => {}
        }
    }
    Some(link)
}
