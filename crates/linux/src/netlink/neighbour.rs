//! Single neighbours: that they are on a device, and which Ethernet address they have.

use super::address::octets;
use super::message::Message;
use super::{Batch, Mac};
use std::net::IpAddr;

const RTM_NEWNEIGH: u16 = 28;
/// `NLM_F_CREATE | NLM_F_REPLACE`.
const REPLACE: u16 = 0x400 | 0x100;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const RTM_NEWROUTE: u16 = 24;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
/// Length of `struct ndmsg`.
const NDMSG: usize = 12;

impl Batch {
    /// Tells the Ethernet address of a neighbour on a device, so that nobody is asked for it.
    pub fn set_neighbour(&mut self, device: u32, address: IpAddr, mac: Mac) -> &mut Self {
        let (family, bytes) = octets(address);
        let mut fixed = [0; NDMSG];
        fixed[0] = family;
        fixed[4..8].copy_from_slice(&device.to_ne_bytes());
        fixed[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
        let message = Message::new(RTM_NEWNEIGH, REPLACE, &fixed)
            .attribute(NDA_DST, &bytes)
            .attribute(NDA_LLADDR, &mac.0);
        self.push("set neighbour", address.to_string(), message)
    }

    /// Adds a route of the main table to one address on a device, in place of another one to it.
    pub fn set_neighbour_route(&mut self, device: u32, address: IpAddr) -> &mut Self {
        let (family, bytes) = octets(address);
        let length = if address.is_ipv4() { 32 } else { 128 };
        let fixed = [
            family,
            length,
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_STATIC,
            RT_SCOPE_LINK,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let message = Message::new(RTM_NEWROUTE, REPLACE, &fixed)
            .attribute(RTA_DST, &bytes)
            .number(RTA_OIF, device);
        self.push("add route to", address.to_string(), message)
    }
}
