//! Addresses of devices.

use super::batch::Batch;
use super::message::{CREATE, Message, attributes, u32_at};
use super::{Error, Socket};
use std::net::{IpAddr, Ipv4Addr};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_PROTO: u16 = 11;
/// `IFA_F_NODAD`: usable at once; nobody is asked whether he has it already.
const NODAD: u8 = 0x02;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
/// Length of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

/// An address of a device, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The device's number.
    pub device: u32,
    /// The address.
    pub address: IpAddr,
    /// The prefix length of its network.
    pub prefix: u8,
}

/// The bytes of an address, and the number of its family.
pub(super) fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

/// The address in an attribute, told by its length.
pub(super) fn parse(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

impl Batch {
    /// Gives a device an address, with the broadcast address of an IPv4 network. An IPv6 address is
    /// usable at once, without duplicate address detection (`IFA_F_NODAD`, Linux 2.6.19).
    ///
    /// [`Error::is_existing`] when the device has it already.
    pub fn add_address(&mut self, address: &Address) -> &mut Self {
        self.add(address, None)
    }

    /// The same, and notes who gave it (`IFA_PROTO`, Linux 5.18; before, it is not noted).
    pub fn add_marked_address(&mut self, address: &Address, mark: u8) -> &mut Self {
        self.add(address, Some(mark))
    }

    fn add(&mut self, address: &Address, mark: Option<u8>) -> &mut Self {
        let (_, bytes) = octets(address.address);
        let mut message = request(RTM_NEWADDR, CREATE, address)
            .attribute(IFA_LOCAL, &bytes)
            .attribute(IFA_ADDRESS, &bytes);
        if let (IpAddr::V4(ip), 0..=30) = (address.address, address.prefix) {
            let host_bits = u32::MAX >> address.prefix;
            let broadcast = Ipv4Addr::from(u32::from(ip) | host_bits);
            message = message.attribute(IFA_BROADCAST, &broadcast.octets());
        }
        if let Some(mark) = mark {
            message = message.attribute(IFA_PROTO, &[mark]);
        }
        self.push("add address", name(address), message)
    }

    /// Takes an address from a device. [`Error::is_absent`] when it has it not.
    pub fn delete_address(&mut self, address: &Address) -> &mut Self {
        let (_, bytes) = octets(address.address);
        let message = request(RTM_DELADDR, 0, address)
            .attribute(IFA_LOCAL, &bytes)
            .attribute(IFA_ADDRESS, &bytes);
        self.push("delete address", name(address), message)
    }
}

impl Socket {
    /// All addresses of both families.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        self.dump_addresses(read_address)
    }

    /// Those that were given with this mark.
    ///
    /// # Errors
    /// As [`Socket::addresses`].
    pub fn marked_addresses(&mut self, mark: u8) -> Result<Vec<Address>, Error> {
        let read = |payload: &[u8]| {
            let mut all = attributes(payload.get(IFADDRMSG..)?);
            all.find(|(kind, value)| *kind == IFA_PROTO && *value == [mark])?;
            read_address(payload)
        };
        self.dump_addresses(read)
    }

    /// One family after the other: for that the kernel does not wait until other changes of devices are done
    /// (Linux 6.9), which takes tens of milliseconds where one is being removed.
    fn dump_addresses(
        &mut self,
        read: impl Fn(&[u8]) -> Option<Address>,
    ) -> Result<Vec<Address>, Error> {
        let mut all = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut header = [0; IFADDRMSG];
            header[0] = family;
            // A kernel that does not know the family tells all addresses.
            let read = |payload: &[u8]| {
                let asked = payload.first() == Some(&family);
                asked.then(|| read(payload)).flatten()
            };
            let found = self.dump(RTM_GETADDR, &header, read);
            all.extend(found.map_err(|error| Error::new("list", "addresses", error))?);
        }
        Ok(all)
    }
}

fn name(address: &Address) -> String {
    format!("{}/{}", address.address, address.prefix)
}

fn request(kind: u16, flags: u16, address: &Address) -> Message {
    let (family, _) = octets(address.address);
    let v6 = family == AF_INET6;
    let link_local = match address.address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let mut fixed = [0; IFADDRMSG];
    fixed[0] = family;
    fixed[1] = address.prefix;
    fixed[2] = if v6 { NODAD } else { 0 };
    fixed[3] = if link_local {
        RT_SCOPE_LINK
    } else {
        RT_SCOPE_UNIVERSE
    };
    fixed[4..8].copy_from_slice(&address.device.to_ne_bytes());
    Message::new(kind, flags, &fixed)
}

fn read_address(payload: &[u8]) -> Option<Address> {
    let prefix = *payload.get(1)?;
    let device = u32_at(payload, 4)?;
    let mut found = None;
    for (kind, value) in attributes(payload.get(IFADDRMSG..)?) {
        // On point-to-point devices `IFA_ADDRESS` is the other end's.
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && found.is_none()) {
            found = parse(value);
        }
    }
    Some(Address {
        device,
        address: found?,
        prefix,
    })
}
