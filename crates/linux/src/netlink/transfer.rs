//! Network devices that go to another network namespace and keep their addresses.

use super::message::{CREATE, Message, attributes, u32_at};
use super::{Error, Link, Socket, open_in};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_FLAGS: u16 = 8;
/// Set by an administrator, for as long as the device lives.
const IFA_F_PERMANENT: u32 = 0x80;
/// Valid everywhere, not only on this link or machine.
const RT_SCOPE_UNIVERSE: u8 = 0;
/// Lengths of `struct ifinfomsg` and `struct ifaddrmsg`.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

/// An address of either family, as the kernel told it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    device: u32,
    /// Family, prefix length, flags and scope: `struct ifaddrmsg` without its device.
    fixed: [u8; 4],
    /// `IFA_ADDRESS`, `IFA_LOCAL`, `IFA_BROADCAST` and the like.
    attributes: Vec<(u16, Vec<u8>)>,
    permanent: bool,
}

/// A device that has gone to another namespace, and what it takes to have it back.
#[derive(Debug)]
pub struct Transferred {
    before: Link,
    now: String,
    addresses: Vec<Address>,
}

/// Sends a device from the caller's network namespace to another one, under a new name. Its permanent
/// global addresses go with it, which the kernel alone would drop, and it is up there.
///
/// Name and namespace change in one request. `IFLA_NET_NS_FD`, Linux 2.6.34. When a step fails, the
/// device comes back.
///
/// # Errors
/// [`Error::is_absent`] when there is no such device, [`Error::is_existing`] when the name is taken there,
/// `EINVAL` for a device that is bound to its namespace (loopback).
pub fn transfer(
    name: &str,
    new_name: &str,
    namespace: BorrowedFd<'_>,
) -> Result<Transferred, Error> {
    let mut here = Socket::open()?;
    let before = here.link(name)?;
    let mut addresses = here.kept_addresses()?;
    addresses.retain(|address| address.device == before.index);
    let mut moved = Transferred {
        before,
        now: new_name.to_owned(),
        addresses,
    };
    if let Err(error) = here.send_link(moved.before.index, new_name, namespace) {
        // The kernel moves first and renames then: a name that is taken is found out too late.
        if here.link(name).is_err_and(|error| error.is_absent()) {
            name.clone_into(&mut moved.now);
            let _ = moved.back(namespace);
        }
        return Err(Error::new("move network device", name, error));
    }
    let settled = open_in(namespace).and_then(|mut there| there.settle(new_name, &moved, true));
    match settled {
        Ok(()) => Ok(moved),
        Err(error) => {
            // The first failure is the one to tell.
            let _ = moved.back(namespace);
            Err(error)
        }
    }
}

impl Transferred {
    /// Brings the device back to the caller's network namespace, with name, addresses and state.
    ///
    /// # Errors
    /// When it is not there any more, or its old name is taken.
    pub fn back(&self, from: BorrowedFd<'_>) -> Result<(), Error> {
        let name = self.before.name.as_str();
        let failed = |error| Error::new("bring back network device", name, error);
        let ours = rustix::fs::open(
            "/proc/self/ns/net",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| failed(error.into()))?;
        let mut there = open_in(from)?;
        let index = there.link(&self.now)?.index;
        there.send_link(index, name, ours.as_fd()).map_err(failed)?;
        Socket::open()?.settle(name, self, self.before.up)
    }
}

impl Socket {
    fn send_link(
        &mut self,
        index: u32,
        name: &str,
        namespace: BorrowedFd<'_>,
    ) -> std::io::Result<()> {
        let mut fixed = [0; IFINFOMSG];
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        let message = Message::new(RTM_NEWLINK, 0, &fixed)
            .text(IFLA_IFNAME, name)
            .number(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned());
        self.change(vec![message]).map_err(|(_, error)| error)
    }

    /// Gives a device that has just come its addresses, and sets it up.
    fn settle(&mut self, name: &str, moved: &Transferred, up: bool) -> Result<(), Error> {
        let index = self.link(name)?.index;
        let messages = moved.addresses.iter().map(|address| {
            let mut fixed = [0; IFADDRMSG];
            fixed[..4].copy_from_slice(&address.fixed);
            fixed[4..].copy_from_slice(&index.to_ne_bytes());
            let message = Message::new(RTM_NEWADDR, CREATE, &fixed);
            let attributes = address.attributes.iter();
            attributes.fold(message, |message, (kind, value)| {
                message.attribute(*kind, value)
            })
        });
        for message in messages {
            self.change(vec![message]).map_err(|(_, error)| {
                Error::new("keep the addresses of network device", name, error)
            })?;
        }
        if up { self.set_up(name) } else { Ok(()) }
    }

    /// The addresses that are worth keeping: what is dynamic or of a link alone belongs to where it is.
    fn kept_addresses(&mut self) -> Result<Vec<Address>, Error> {
        let mut all = self
            .dump(RTM_GETADDR, &[0; IFADDRMSG], read_address)
            .map_err(|error| Error::new("list", "addresses", error))?;
        all.retain(|address| address.permanent && address.fixed[3] == RT_SCOPE_UNIVERSE);
        Ok(all)
    }
}

fn read_address(payload: &[u8]) -> Option<Address> {
    /// `IFA_LABEL` names the device, `IFA_CACHEINFO` is the kernel's own.
    const NOT_KEPT: [u16; 2] = [3, 6];
    let fixed: [u8; 4] = payload.get(..4)?.try_into().ok()?;
    let mut address = Address {
        device: u32_at(payload, 4)?,
        fixed,
        attributes: Vec::new(),
        permanent: u32::from(fixed[2]) & IFA_F_PERMANENT != 0,
    };
    for (kind, value) in attributes(payload.get(IFADDRMSG..)?) {
        if kind == IFA_FLAGS {
            address.permanent = u32_at(value, 0)? & IFA_F_PERMANENT != 0;
        }
        if !NOT_KEPT.contains(&kind) {
            address.attributes.push((kind, value.to_vec()));
        }
    }
    Some(address)
}
