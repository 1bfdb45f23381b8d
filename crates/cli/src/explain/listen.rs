//! Where the processes of a network namespace listen, from `/proc/PID/net/tcp` and `tcp6` (proc_pid_net(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket that waits for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

/// `TCP_LISTEN` of net/tcp_states.h.
const LISTEN: &str = "0A";

/// Those that a process would see; `None` where it cannot be looked at.
pub(super) fn of_process(pid: i64) -> Option<Vec<Listener>> {
    let read = |file: &str| fs_err::read_to_string(format!("/proc/{pid}/net/{file}")).ok();
    let mut found = parse(&read("tcp")?);
    found.extend(parse(&read("tcp6").unwrap_or_default()));
    Some(found)
}

fn parse(table: &str) -> Vec<Listener> {
    table.lines().skip(1).filter_map(line).collect()
}

fn line(line: &str) -> Option<Listener> {
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next()?, words.nth(1)?);
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some(Listener {
        address: ip(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
    })
}

/// Words of four bytes, each as this machine keeps numbers.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let mut bytes = [0; 16];
    for (at, part) in bytes.chunks_mut(4).enumerate() {
        part.copy_from_slice(&word(at)?);
    }
    (hex.len() == 32).then(|| Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let one = u32::from_ne_bytes([127, 0, 0, 1]);
        let table = format!(
            "  sl  local_address rem_address   st\n   0: {one:08X}:1F90 00000000:0000 0A 0 0\n   1: {one:08X}:1F91 00000000:0000 01\nx\n"
        );
        let wanted = Listener {
            address: [127, 0, 0, 1].into(),
            port: 8080,
        };
        assert_eq!(parse(&table), [wanted]);
        let six = "h\n 0: 00000000000000000000000000000000:0050 0:0 0A\n";
        assert_eq!(parse(six)[0].address, IpAddr::from(Ipv6Addr::UNSPECIFIED));
        assert_eq!(parse("h\n 0: 0000:0050 0:0 0A\n 1: ü:1 2 0A\n"), []);
    }

    #[test]
    fn our_own_sockets_are_seen() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let seen = of_process(std::process::id().into()).unwrap();
        assert!(
            seen.iter()
                .any(|listener| listener.port == port && listener.address.is_loopback())
        );
    }
}
