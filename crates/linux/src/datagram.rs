//! Datagrams of IPv6 with the address of ours that they were sent to: RFC 3542 sections 4 and 6, ipv6(7).

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

/// What came, besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// How many bytes were written.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddrV6,
    /// To which address; unspecified when the kernel was not asked by [`tell_destinations`].
    pub to: Ipv6Addr,
}

/// One control message: RFC 3542 section 20.2, with the alignment of cmsg(3).
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    info: libc::in6_pktinfo,
}

/// Without what fills up to the alignment.
const LENGTH: usize = std::mem::offset_of!(Control, info) + size_of::<libc::in6_pktinfo>();

/// The size of a small structure, as the kernel's calls have it.
#[expect(clippy::cast_possible_truncation, reason = "it is a few bytes")]
const fn size<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

#[expect(clippy::cast_possible_truncation, reason = "it is 10")]
const INET6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

/// Has the kernel tell the destination of each datagram: `IPV6_RECVPKTINFO`, Linux 2.6.14.
///
/// # Errors
/// What setsockopt(2) gives.
pub fn tell_destinations(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is a live integer of the length that is said; the descriptor is borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            (&raw const on).cast(),
            size::<libc::c_int>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Receives one datagram without waiting; what does not fit is cut off.
///
/// # Errors
/// What recvmsg(2) gives, `WouldBlock` when there is none, `InvalidData` for another family.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<Datagram> {
    // SAFETY: an address of zeros is a valid value of this plain structure.
    let mut from: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    // SAFETY: zeros are a valid value of these plain structures.
    let mut control: Control = unsafe { std::mem::zeroed() };
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a header of zeros and null pointers is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = size::<libc::sockaddr_in6>();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>() as _;
    // SAFETY: all pointers of the header are to live buffers of the lengths that it says.
    let length = unsafe {
        libc::recvmsg(
            socket.as_fd().as_raw_fd(),
            &raw mut header,
            libc::MSG_DONTWAIT,
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    if from.sin6_family != INET6 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Datagram {
        length,
        from: SocketAddrV6::new(
            from.sin6_addr.s6_addr.into(),
            u16::from_be(from.sin6_port),
            0,
            from.sin6_scope_id,
        ),
        to: destination(&control, header.msg_controllen as usize),
    })
}

/// No other messages were asked for, so it is the only one.
fn destination(control: &Control, length: usize) -> Ipv6Addr {
    let is_there = length >= LENGTH
        && control.header.cmsg_level == libc::IPPROTO_IPV6
        && control.header.cmsg_type == libc::IPV6_PKTINFO;
    match is_there {
        true => control.info.ipi6_addr.s6_addr.into(),
        false => Ipv6Addr::UNSPECIFIED,
    }
}

/// Sends one datagram without waiting, from an address of ours; unspecified is any.
///
/// # Errors
/// What sendmsg(2) gives.
pub fn send(socket: impl AsFd, bytes: &[u8], from: Ipv6Addr, to: SocketAddrV6) -> io::Result<()> {
    // SAFETY: an address of zeros is a valid value of this plain structure.
    let mut name: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    name.sin6_family = INET6;
    name.sin6_port = to.port().to_be();
    name.sin6_addr.s6_addr = to.ip().octets();
    name.sin6_scope_id = to.scope_id();
    // SAFETY: zeros are a valid value of these plain structures.
    let mut control: Control = unsafe { std::mem::zeroed() };
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a header of zeros and null pointers is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size::<libc::sockaddr_in6>();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    control.header.cmsg_level = libc::IPPROTO_IPV6;
    control.header.cmsg_type = libc::IPV6_PKTINFO;
    control.header.cmsg_len = LENGTH as _;
    control.info.ipi6_addr.s6_addr = from.octets();
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>() as _;
    // SAFETY: all pointers of the header are to live buffers of the lengths that it says; the kernel only
    // reads the bytes.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_fd().as_raw_fd(),
            &raw const header,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        let Ok(server) = UdpSocket::bind("[::]:0") else {
            eprintln!("skipped: needs IPv6");
            return;
        };
        tell_destinations(&server).unwrap();
        let port = server.local_addr().unwrap().port();
        let Ok(client) = UdpSocket::bind("[::1]:0") else {
            eprintln!("skipped: needs ::1");
            return;
        };
        let mut bytes = [0; 16];
        assert_eq!(
            receive(&server, &mut bytes).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        client.send_to(b"question", ("::1", port)).unwrap();
        let came = receive(&server, &mut bytes).unwrap();
        assert_eq!(&bytes[..came.length], b"question");
        assert_eq!(SocketAddr::V6(came.from), client.local_addr().unwrap());
        assert_eq!(came.to, Ipv6Addr::LOCALHOST);
        send(&server, b"answer", came.to, came.from).unwrap();
        let (length, from) = client.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from.port()), (&b"answer"[..], port));
        assert!(from.ip().is_loopback());
    }
}
