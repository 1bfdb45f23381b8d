//! Network devices that are made.

use super::link::{
    IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER,
    IFLA_MTU, Mac, ifinfomsg,
};
use super::message::{CREATE, Message};
use super::{Batch, Error, Socket};
use std::os::fd::{AsRawFd as _, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;

/// A device to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewLink<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: LinkKind<'a>,
    /// Its Ethernet address; `None`: a random one, or that of the device below it.
    pub mac: Option<Mac>,
    /// The longest packet, in bytes; `None`: the kernel's choice.
    pub mtu: Option<u32>,
    /// The bridge that it becomes a port of.
    pub master: Option<u32>,
    /// The device below it, in the socket's namespace.
    pub lower: Option<u32>,
    /// The group that it belongs to from the start.
    pub group: u32,
    /// The namespace that it comes to be in; `None`: the socket's. Linux 2.6.34.
    pub namespace: Option<BorrowedFd<'a>>,
    /// Whether it is set up at once.
    pub up: bool,
}

/// Kinds of devices (ip-link(8)) and what belongs to each.
#[derive(Clone, Copy, Debug)]
pub enum LinkKind<'a> {
    /// A switch. Linux 2.6.
    Bridge,
    /// A device that leads nowhere. Linux 2.6.
    Dummy,
    /// One end of a pair (veth(4)). Linux 2.6.24.
    Veth(VethPeer<'a>),
    /// The packets of one VLAN of the device below. Linux 2.6.
    Vlan(u16),
    /// An Ethernet address of its own on the device below. Linux 2.6.33.
    Macvlan(MacvlanMode),
    /// The device below's Ethernet address, shared. Linux 3.19.
    Ipvlan(IpvlanMode),
}

/// The other end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct VethPeer<'a> {
    /// Its name, or a pattern such as `eth%d`.
    pub name: &'a str,
    /// Its Ethernet address; `None`: a random one.
    pub mac: Option<Mac>,
    /// Its namespace.
    pub namespace: BorrowedFd<'a>,
}

/// `IFLA_MACVLAN_MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MacvlanMode {
    /// Never to each other.
    Private = 1,
    /// To each other by way of the switch.
    Vepa = 2,
    /// To each other directly.
    Bridge = 4,
    /// The only one on its device.
    Passthru = 8,
}

/// `IFLA_IPVLAN_MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum IpvlanMode {
    /// The device below switches.
    L2 = 0,
    /// The device below routes.
    L3 = 1,
    /// As L3, through the host's packet filter. Linux 4.9.
    L3s = 2,
}

impl Batch {
    /// Makes a device. [`Error::is_existing`] when a name is taken, [`Error::is_unsupported`] when the
    /// kernel has no such devices.
    pub fn create_link(&mut self, link: &NewLink<'_>) -> &mut Self {
        let message = Message::new(RTM_NEWLINK, CREATE, &ifinfomsg(0, link.up.then_some(true)));
        let mut message = common(message, link.name, link.mac, link.mtu, link.namespace);
        message = message.number(IFLA_GROUP, link.group);
        if let Some(master) = link.master {
            message = message.number(IFLA_MASTER, master);
        }
        if let Some(lower) = link.lower {
            message = message.number(IFLA_LINK, lower);
        }
        if matches!(link.kind, LinkKind::Veth(_)) {
            message = one_queue(message);
        }
        let message = message.nested(IFLA_LINKINFO, |m| kind(m, link));
        self.push("create link", link.name, message)
    }
}

impl Socket {
    /// Whether the kernel has devices of a kind that sit on others; loads its module if it can. Asks
    /// for such a device without one below, which never comes to be.
    ///
    /// # Errors
    /// When the kernel's answer is neither yes nor no.
    pub fn supports(&mut self, kind: LinkKind<'_>) -> Result<bool, Error> {
        let mut batch = Batch::new();
        batch.create_link(&NewLink {
            name: "hull-probe",
            kind,
            mac: None,
            mtu: None,
            master: None,
            lower: None,
            group: 0,
            namespace: None,
            up: false,
        });
        match self.run(batch) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(true),
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn common(
    mut message: Message,
    name: &str,
    mac: Option<Mac>,
    mtu: Option<u32>,
    namespace: Option<BorrowedFd<'_>>,
) -> Message {
    message = message.text(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        message = message.attribute(IFLA_ADDRESS, &mac.0);
    }
    if let Some(mtu) = mtu {
        message = message.number(IFLA_MTU, mtu);
    }
    if let Some(namespace) = namespace {
        message = message.number(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned());
    }
    message
}

/// The kernel uses one queue each way of a veth pair, but makes one for each processor and switches the others off,
/// for which it waits until no processor looks at them. Linux 5.17; before, one is all there are.
fn one_queue(message: Message) -> Message {
    message
        .number(IFLA_NUM_TX_QUEUES, 1)
        .number(IFLA_NUM_RX_QUEUES, 1)
}

fn kind(message: Message, link: &NewLink<'_>) -> Message {
    let named = |message: Message, name| message.text(IFLA_INFO_KIND, name);
    match link.kind {
        LinkKind::Bridge => named(message, "bridge"),
        LinkKind::Dummy => named(message, "dummy"),
        LinkKind::Veth(peer) => named(message, "veth").nested(IFLA_INFO_DATA, |m| {
            m.nested(VETH_INFO_PEER, |m| {
                let m = m.raw(&ifinfomsg(0, None));
                one_queue(common(
                    m,
                    peer.name,
                    peer.mac,
                    link.mtu,
                    Some(peer.namespace),
                ))
            })
        }),
        LinkKind::Vlan(id) => named(message, "vlan").nested(IFLA_INFO_DATA, |m| {
            m.attribute(IFLA_VLAN_ID, &id.to_ne_bytes())
        }),
        LinkKind::Macvlan(mode) => named(message, "macvlan")
            .nested(IFLA_INFO_DATA, |m| m.number(IFLA_MACVLAN_MODE, mode as u32)),
        LinkKind::Ipvlan(mode) => named(message, "ipvlan").nested(IFLA_INFO_DATA, |m| {
            m.attribute(IFLA_IPVLAN_MODE, &(mode as u16).to_ne_bytes())
        }),
    }
}
