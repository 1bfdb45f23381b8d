//! Whether a device's other end is there.

use super::{Error, Socket};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

/// `ETHTOOL_GLINK`, linux/ethtool.h.
const ETHTOOL_GLINK: u32 = 0x0a;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl Socket {
    /// Whether a device has a carrier, and what follows from it is done: the kernel finds out later, at
    /// worst after a second, that an end of a veth pair is connected, and until then a bridge drops
    /// all that comes from that port. The question makes it look at once. netdevice(7), `SIOCETHTOOL`
    /// with `ETHTOOL_GLINK`, Linux 2.6.32.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is no such device.
    pub fn carrier(&mut self, name: &str) -> Result<bool, Error> {
        let failed = |error| Error::new("ask for the carrier of", name, error);
        let mut value = Value {
            command: ETHTOOL_GLINK,
            data: 0,
        };
        // SAFETY: all zeroes is a valid ifreq: a name and a union of plain numbers and pointers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(failed(io::Error::from_raw_os_error(libc::ENODEV)));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            // Signed or not, by the machine.
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request's name ends with a zero, its data points at a value that lives across
        // the call, of which the kernel reads and writes no more than its two numbers.
        let result = unsafe {
            libc::ioctl(
                self.as_fd().as_raw_fd(),
                libc::SIOCETHTOOL as _,
                &raw mut request,
            )
        };
        match result {
            0 => Ok(value.data != 0),
            _ => Err(failed(io::Error::last_os_error())),
        }
    }
}
