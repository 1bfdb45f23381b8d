//! Network devices.

use super::message::{Message, attributes, text, u32_at};
use super::{Batch, Error, Socket};
use std::fmt;
use std::net::Ipv4Addr;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINK: u16 = 5;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_GROUP: u16 = 27;
pub(super) const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const AF_INET: u16 = 2;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const IFF_UP: u32 = 1;
/// Length of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// An address made of an IPv4 address: `02:42` and its four bytes, as Docker did until version 28. Whoever
    /// gets the same IP address again has the same Ethernet address, so no neighbour's table is stale.
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
    /// Of a veth pair the other end's number, of a device on another that one's; perhaps in another namespace.
    pub lower: Option<u32>,
    /// The number of the group that it was put into; 0 for none.
    pub group: u32,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// How many packets came in by it; of a veth, those that the other end has sent. Linux 2.6.35 (`IFLA_STATS64`).
    pub received: Option<u64>,
}

/// What shall change of a device; what is not said stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// A new name, or a pattern such as `eth%d`, of which the kernel takes the first that is free. Not for
    /// devices that are up.
    pub name: Option<&'a str>,
    /// Set up, or down.
    pub up: Option<bool>,
    /// The text that marks it.
    pub alias: Option<&'a str>,
    /// The longest packet, in bytes.
    pub mtu: Option<u32>,
    /// The group that it is put into.
    pub group: Option<u32>,
    /// The bridge that it becomes a port of.
    pub master: Option<u32>,
    /// Of a bridge's port.
    pub port: Option<BridgePort>,
    /// Whether packets to and from 127.0.0.0/8 may pass over it (Linux 3.6; by netlink 2.6.37).
    pub route_localnet: Option<bool>,
}

/// What a bridge does with one of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// A packet may leave by the port that it came in by. Linux 2.6.32.
    pub hairpin: bool,
    /// No packets between this port and others that are isolated too. Linux 4.18.
    pub isolated: bool,
}

impl Batch {
    /// Changes the device with this number. [`Error::is_absent`] when there is none.
    pub fn change_link(&mut self, index: u32, change: &LinkChange<'_>) -> &mut Self {
        let message = changed(
            Message::new(RTM_NEWLINK, 0, &ifinfomsg(index, change.up)),
            change,
        );
        self.push("change link", index.to_string(), message)
    }

    /// Changes the device with this name. [`Error::is_absent`] when there is none.
    pub fn change_named(&mut self, name: &str, change: &LinkChange<'_>) -> &mut Self {
        let named = LinkChange {
            name: Some(name),
            ..*change
        };
        let message = changed(
            Message::new(RTM_NEWLINK, 0, &ifinfomsg(0, change.up)),
            &named,
        );
        self.push("change link", name, message)
    }

    /// Removes the device with this name; of a veth pair, both ends.
    /// [`Error::is_absent`] when there is none.
    pub fn delete_link(&mut self, name: &str) -> &mut Self {
        let message = Message::new(RTM_DELLINK, 0, &ifinfomsg(0, None)).text(IFLA_IFNAME, name);
        self.push("delete link", name, message)
    }

    /// Removes all devices of a group together: the kernel waits only once until nobody looks at them
    /// any more. Linux 4.0. [`Error::is_absent`] when there is none.
    pub fn delete_group(&mut self, group: u32) -> &mut Self {
        let message = Message::new(RTM_DELLINK, 0, &ifinfomsg(0, None)).number(IFLA_GROUP, group);
        self.push("delete links of group", group.to_string(), message)
    }
}

fn changed(mut message: Message, change: &LinkChange<'_>) -> Message {
    if let Some(name) = change.name {
        message = message.text(IFLA_IFNAME, name);
    }
    if let Some(alias) = change.alias {
        message = message.attribute(IFLA_IFALIAS, alias.as_bytes());
    }
    if let Some(mtu) = change.mtu {
        message = message.number(IFLA_MTU, mtu);
    }
    if let Some(group) = change.group {
        message = message.number(IFLA_GROUP, group);
    }
    if let Some(master) = change.master {
        message = message.number(IFLA_MASTER, master);
    }
    if let Some(options) = change.port {
        message = port(message, |m| {
            m.attribute(IFLA_BRPORT_MODE, &[options.hairpin.into()])
                .attribute(IFLA_BRPORT_ISOLATED, &[options.isolated.into()])
        });
    }
    if let Some(on) = change.route_localnet {
        message = message.nested(IFLA_AF_SPEC, |m| {
            m.nested(AF_INET, |m| {
                m.nested(IFLA_INET_CONF, |m| {
                    m.number(IPV4_DEVCONF_ROUTE_LOCALNET, on.into())
                })
            })
        });
    }
    message
}

/// Options of a bridge's port, as those of a port of any kind since Linux 3.14.
fn port(message: Message, options: impl FnOnce(Message) -> Message) -> Message {
    message.nested(IFLA_LINKINFO, |m| {
        m.text(IFLA_INFO_SLAVE_KIND, "bridge")
            .nested(IFLA_INFO_SLAVE_DATA, options)
    })
}

/// The question for the device with this name.
pub(super) fn get_link(name: &str) -> Message {
    Message::new(RTM_GETLINK, 0, &ifinfomsg(0, None)).text(IFLA_IFNAME, name)
}

impl Socket {
    /// The device with this name.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, Error> {
        self.get(get_link(name), read_link)
            .map_err(|error| Error::new("look up link", name, error))
    }

    /// The device with this number.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is none.
    pub fn link_at(&mut self, index: u32) -> Result<Link, Error> {
        let message = Message::new(RTM_GETLINK, 0, &ifinfomsg(index, None));
        self.get(message, read_link)
            .map_err(|error| Error::new("look up link", index.to_string(), error))
    }

    /// All devices.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.dump(RTM_GETLINK, &ifinfomsg(0, None), read_link)
            .map_err(|error| Error::new("list", "links", error))
    }

    /// Sets a device up.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is none.
    pub fn set_up(&mut self, name: &str) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.change_named(
            name,
            &LinkChange {
                up: Some(true),
                ..LinkChange::default()
            },
        );
        self.run(batch)
    }

    /// Removes a device; of a veth pair, both ends.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is none.
    pub fn delete_link(&mut self, name: &str) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.delete_link(name);
        self.run(batch)
    }
}

/// `struct ifinfomsg`: family, type, index, flags and which of them change.
pub(super) fn ifinfomsg(index: u32, up: Option<bool>) -> [u8; IFINFOMSG] {
    let mut bytes = [0; IFINFOMSG];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(up) = up {
        bytes[8..12].copy_from_slice(&u32::from(up).to_ne_bytes());
        bytes[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    bytes
}

pub(super) fn read_link(payload: &[u8]) -> Option<Link> {
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
            IFLA_LINK => link.lower = u32_at(value, 0),
            IFLA_GROUP => link.group = u32_at(value, 0)?,
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
            // `struct rtnl_link_stats64` begins with it.
            IFLA_STATS64 => {
                let first = value.first_chunk().copied();
                link.received = first.map(u64::from_ne_bytes);
            }
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
