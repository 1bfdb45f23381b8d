//! IPv4 addresses of devices.

use super::message::{CREATE, attributes, u32_at};
use super::socket::change;
use super::{Error, Socket};
use std::net::Ipv4Addr;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const AF_INET: u8 = 2;
/// Length of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

impl Socket {
    /// Gives a device an address with its network's prefix length, and the broadcast address.
    ///
    /// # Errors
    /// [`Error::is_existing`] when the device has it already.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        let mut fixed = [0; IFADDRMSG];
        fixed[0] = AF_INET;
        fixed[1] = prefix;
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(address) | host_bits);
        let message = change(RTM_NEWADDR, CREATE, &fixed)
            .attribute(IFA_LOCAL, &address.octets())
            .attribute(IFA_ADDRESS, &address.octets())
            .attribute(IFA_BROADCAST, &broadcast.octets());
        self.change(vec![message])
            .map_err(|error| Error::new("add address", format!("{address}/{prefix}"), error))
    }

    /// All IPv4 addresses: device, address, prefix length.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Ipv4Addr, u8)>, Error> {
        let mut fixed = [0; IFADDRMSG];
        fixed[0] = AF_INET;
        self.dump(RTM_GETADDR, &fixed, read_address)
            .map_err(|error| Error::new("list", "addresses", error))
    }
}

fn read_address(payload: &[u8]) -> Option<(u32, Ipv4Addr, u8)> {
    let (family, prefix) = (*payload.first()?, *payload.get(1)?);
    if family != AF_INET {
        return None;
    }
    let index = u32_at(payload, 4)?;
    let mut found = None;
    for (kind, value) in attributes(payload.get(IFADDRMSG..)?) {
        let Ok(octets) = <[u8; 4]>::try_from(value) else {
            continue;
        };
        // On point-to-point devices `IFA_ADDRESS` is the other end's.
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && found.is_none()) {
            found = Some(Ipv4Addr::from(octets));
        }
    }
    Some((index, found?, prefix))
}
