//! Leads what a container sends to 127.0.0.11, port 53, to the resolver's sockets, which have other ports
//! so that a program of the container's can have port 53 of all addresses.
//!
//! ```text
//!  program ──► 127.0.0.11:53 ── output, prerouting ──► input: port 53 becomes ours ──► hull-dns
//!  program ◄── from port 53 ─── prerouting, input ◄── output: our port becomes 53 ◄──── hull-dns
//! ```
//!
//! Ports are changed right at the resolver's sockets and without connection tracking, so everything else
//! in the namespace, a firewall of the container's too, sees packets to and from port 53.
//!
//! ```text
//! table ip hull-dns {
//!   chain in-40001-40002 { type filter hook input priority 300
//!     ip daddr 127.0.0.11 udp dport 53 udp dport set 40001; ip daddr 127.0.0.11 tcp dport 53 tcp dport set 40002 }
//!   chain out { type filter hook output priority -300
//!     ip saddr 127.0.0.11 udp sport 40001 udp sport set 53; ip saddr 127.0.0.11 tcp sport 40002 tcp sport set 53 }
//! }
//! ```

use super::sandbox::ADDRESS;
use hull_linux::nftables::{Batch, Chain, Family, Hook, Rule, Socket, Source, Table, protocol};
use std::io;

/// Where names are asked for (RFC 1035 section 4.2).
const PORT: u16 = 53;
/// Behind what anybody else does with what comes in.
const LAST: i32 = 300;
/// Before anybody else, conntrack too, sees what goes out.
const FIRST: i32 = -300;

/// The generation of a namespace in which nobody has made a rule yet.
const UNTOUCHED: u32 = 1;
const TABLE: &str = "hull-dns";

/// The rules of a namespace.
#[derive(Debug)]
pub(super) struct Rules {
    socket: Socket,
    table: Table,
    touched: bool,
}

impl Rules {
    /// Those of the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::open().map_err(io::Error::other)?;
        let touched = socket.generation().map_err(io::Error::other)? > UNTOUCHED;
        Ok(Self {
            socket,
            table: Table::new(Family::Ipv4, TABLE),
            touched,
        })
    }

    /// The ports for UDP and TCP that a former resolver has had: they are in the name of its chain.
    pub(super) fn ports(&mut self) -> Option<(u16, u16)> {
        if !self.touched {
            return None;
        }
        let chains = self.socket.chains().ok()?;
        let mut ours = chains.iter().filter(|chain| chain.table == self.table);
        ours.find_map(|chain| {
            let (udp, tcp) = chain.name.strip_prefix("in-")?.split_once('-')?;
            Some((udp.parse().ok()?, tcp.parse().ok()?))
        })
    }

    /// Makes or replaces the table.
    pub(super) fn install(mut self, udp: u16, tcp: u16) -> io::Result<()> {
        let table = &self.table;
        let mut batch = Batch::default();
        if self.touched {
            // Not always: whoever closes its socket after a removal waits for an RCU grace period.
            batch.remove_table(table);
        }
        let incoming = format!("in-{udp}-{tcp}");
        batch.add_table(table);
        batch.add_chain(table, &Chain::filter(&incoming, Hook::Input, LAST));
        batch.add_chain(table, &Chain::filter("out", Hook::Output, FIRST));
        for (transport, ours) in [(protocol::UDP, udp), (protocol::TCP, tcp)] {
            let rule = |address, port, from: u16, to| {
                Rule::new()
                    .equals(address, &ADDRESS.octets())
                    .protocol(transport)
                    .equals(port, &from.to_be_bytes())
                    .set_port(port, transport, to)
            };
            let (to, port) = (Source::Destination4, Source::DestinationPort);
            batch.add_rule(table, &incoming, &rule(to, port, PORT, ours));
            let (from, port) = (Source::Source4, Source::SourcePort);
            batch.add_rule(table, "out", &rule(from, port, ours, PORT));
        }
        self.socket.commit(batch).map_err(io::Error::other)
    }
}
