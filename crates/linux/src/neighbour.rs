//! Telling the neighbours on a link who has an address: gratuitous ARP (RFC 5227 section 3) and
//! unsolicited neighbour advertisements (RFC 4861 section 7.2.6), through packet(7).

use crate::netlink::Mac;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;

const BROADCAST: [u8; 6] = [0xff; 6];
/// That of `ff02::1`, all nodes.
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
/// Of an advertisement with its one option.
const ICMP_LENGTH: u8 = 32;
/// `AF_PACKET` and the length of its addresses, in the types that these have there.
const AF_PACKET: u16 = 17;
const SOCKADDR_LL: libc::socklen_t = 20;

/// Enough for a few system calls.
const STACK: usize = 128 << 10;

/// Tells everybody on the link of the device with number `index`, in the calling thread's network
/// namespace, that `mac` has these addresses. Whoever had another Ethernet address for one of them in
/// mind learns the new one. Linux 5.9.
///
/// Closing the socket that this needs waits until no processor looks at it any more, some 15 ms; and had a
/// process been born meanwhile, it would be the one that waits, when its exec closes its copy. So a thread
/// does it that has its descriptors for itself, and `done` is told in that thread, before it closes.
///
/// # Errors
/// When there is no thread for it. `done` gets `EPERM` without `CAP_NET_RAW`, `ENETDOWN` when the device is
/// down, `ENXIO` when it is not there.
pub fn announce(
    index: u32,
    mac: Mac,
    addresses: Vec<IpAddr>,
    done: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<()> {
    let tell = move || {
        // The socket outlives the word.
        let (_socket, told) = match crate::process::own_descriptors().and_then(|()| socket()) {
            Ok(socket) => {
                let told = tell(socket.as_raw_fd(), index, mac, &addresses);
                (Some(socket), told)
            }
            Err(error) => (None, Err(error)),
        };
        done(told);
    };
    let thread = std::thread::Builder::new().name("announce".to_owned());
    thread.stack_size(STACK).spawn(tell).map(drop)
}

/// Protocol 0: nothing is received.
fn socket() -> io::Result<std::os::fd::OwnedFd> {
    let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
    Ok(rustix::net::socket_with(
        family,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn tell(socket: i32, index: u32, mac: Mac, addresses: &[IpAddr]) -> io::Result<()> {
    for address in addresses {
        let frame = match *address {
            IpAddr::V4(address) => arp(mac, address).to_vec(),
            IpAddr::V6(address) => advertisement(mac, address),
        };
        send(socket, index, &frame)?;
    }
    Ok(())
}

fn send(socket: i32, index: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all zeroes is a valid sockaddr_ll, which is plain numbers.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = AF_PACKET;
    to.sll_ifindex = index.cast_signed();
    // SAFETY: frame and address are borrowed for the call, with their own lengths.
    let sent = unsafe {
        libc::sendto(
            socket,
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const to).cast(),
            SOCKADDR_LL,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Ethernet header, then a request of RFC 826 whose sender and target are the same address.
fn arp(mac: Mac, address: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    frame[..6].copy_from_slice(&BROADCAST);
    frame[6..12].copy_from_slice(&mac.0);
    frame[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
    // Ethernet, IPv4, lengths of their addresses, request.
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&address.octets());
    frame[38..42].copy_from_slice(&address.octets());
    frame
}

/// Ethernet and IPv6 headers, then the advertisement with the option that holds the Ethernet address.
fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    // Type 136, checksum 0 for now, flag "override what you know".
    let mut icmp = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    icmp.extend(address.octets());
    // Target link-layer address, in units of eight bytes.
    icmp.extend([2, 1]);
    icmp.extend(mac.0);
    let checksum = checksum(address, ALL_NODES_ADDRESS, &icmp);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Vec::with_capacity(14 + 40 + icmp.len());
    frame.extend(ALL_NODES);
    frame.extend(mac.0);
    frame.extend(ETHERTYPE_IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0, 0, ICMP_LENGTH, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES_ADDRESS.octets());
    frame.extend(icmp);
    frame
}

/// RFC 8200 section 8.1: over a pseudo header and the message.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, icmp: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(40 + icmp.len());
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend([0, 0, 0, ICMP_LENGTH, 0, 0, 0, ICMPV6]);
    bytes.extend(icmp);
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    });
    let sum = words.fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn an_advertisement_sums_to_nothing() {
        let address: Ipv6Addr = "fd00::5".parse().unwrap();
        let frame = advertisement(MAC, address);
        assert_eq!(frame.len(), 14 + 40 + 32);
        assert_eq!(checksum(address, ALL_NODES_ADDRESS, &frame[54..]), 0);
    }

    #[test]
    fn an_announcement_asks_for_its_own_address() {
        let frame = arp(MAC, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(frame[28..32], frame[38..42]);
        assert_eq!(frame[20..22], [0, 1]);
    }
}
