//! Default routes of the main table.

use super::address::{AF_INET, AF_INET6, octets, parse};
use super::batch::Batch;
use super::message::{CREATE, Message, attributes, u32_at};
use super::{Error, Socket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
/// Learnt from a router's advertisement: comes and goes by itself.
const RTPROT_RA: u8 = 9;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
/// Make it, in place of the one with the same destination and metric.
const REPLACE: u16 = 0x400 | 0x100;
/// Length of `struct rtmsg`.
const RTMSG: usize = 12;

/// A default route of the main table, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Over which device; several at once: none.
    pub device: Option<u32>,
    /// Through which router; the unspecified address of the family: none, everybody is on the link.
    pub gateway: IpAddr,
    /// Lower ones are preferred; 0 is the family's default (0 for IPv4, 1024 for IPv6).
    pub metric: u32,
}

impl Batch {
    /// Adds a default route. [`Error::is_existing`] when there is one with this metric; `ENETUNREACH` or
    /// `EHOSTUNREACH` when the router is in no network of a device that is up.
    pub fn add_default_route(&mut self, route: &DefaultRoute) -> &mut Self {
        let message = request(RTM_NEWROUTE, CREATE, route);
        self.push("add default route by", route.gateway.to_string(), message)
    }

    /// Adds a default route, in place of the first one of the family with this metric.
    pub fn replace_default_route(&mut self, route: &DefaultRoute) -> &mut Self {
        let message = request(RTM_NEWROUTE, REPLACE, route);
        self.push("set default route by", route.gateway.to_string(), message)
    }

    /// Removes a default route. [`Error::is_absent`] when there is none such.
    pub fn delete_default_route(&mut self, route: &DefaultRoute) -> &mut Self {
        let message = request(RTM_DELROUTE, 0, route);
        self.push(
            "delete default route by",
            route.gateway.to_string(),
            message,
        )
    }
}

impl Socket {
    /// The default routes of both families, but those learnt from router advertisements.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>, Error> {
        let mut all = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut fixed = [0; RTMSG];
            fixed[0] = family;
            match self.dump(RTM_GETROUTE, &fixed, read_default) {
                Ok(routes) => all.extend(routes),
                // A kernel without IPv6.
                Err(error)
                    if family == AF_INET6 && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => return Err(Error::new("list", "routes", error)),
            }
        }
        Ok(all)
    }
}

fn request(kind: u16, flags: u16, route: &DefaultRoute) -> Message {
    let (family, bytes) = octets(route.gateway);
    let routed = !route.gateway.is_unspecified();
    let scope = if routed || family == AF_INET6 {
        RT_SCOPE_UNIVERSE
    } else {
        RT_SCOPE_LINK
    };
    let mut fixed = [0; RTMSG];
    fixed[0] = family;
    fixed[4] = RT_TABLE_MAIN;
    // One that goes may be anybody's.
    fixed[5] = if kind == RTM_DELROUTE { 0 } else { RTPROT_BOOT };
    fixed[6] = scope;
    fixed[7] = RTN_UNICAST;
    let mut message = Message::new(kind, flags, &fixed);
    if routed {
        message = message.attribute(RTA_GATEWAY, &bytes);
    }
    if let Some(device) = route.device {
        message = message.number(RTA_OIF, device);
    }
    if route.metric != 0 {
        message = message.number(RTA_PRIORITY, route.metric);
    }
    message
}

fn unicast(payload: &[u8]) -> Option<&[u8]> {
    let fixed = payload.get(..RTMSG)?;
    (fixed[4] == RT_TABLE_MAIN && fixed[7] == RTN_UNICAST).then_some(fixed)
}

fn read_default(payload: &[u8]) -> Option<DefaultRoute> {
    let fixed = unicast(payload)?;
    if fixed[1] != 0 || fixed[5] == RTPROT_RA {
        return None;
    }
    let mut route = DefaultRoute {
        device: None,
        gateway: match fixed[0] {
            AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        },
        metric: 0,
    };
    for (kind, value) in attributes(&payload[RTMSG..]) {
        match kind {
            RTA_GATEWAY => route.gateway = parse(value)?,
            RTA_OIF => route.device = u32_at(value, 0),
            RTA_PRIORITY => route.metric = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(route)
}
