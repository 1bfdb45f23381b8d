//! IPv4 routes.

use super::message::{CREATE, attributes, u32_at};
use super::socket::change;
use super::{Error, Socket};
use std::net::Ipv4Addr;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
/// Length of `struct rtmsg`.
const RTMSG: usize = 12;

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; `0.0.0.0/0` is the default route.
    pub destination: Ipv4Addr,
    /// The prefix length of `destination`.
    pub prefix: u8,
    /// Over which device.
    pub device: Option<u32>,
    /// Through which router.
    pub gateway: Option<Ipv4Addr>,
}

impl Socket {
    /// Adds a default route.
    ///
    /// # Errors
    /// `ENETUNREACH` when the gateway is in no network of a device that is up.
    pub fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> Result<(), Error> {
        let fixed = [
            AF_INET,
            0,
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_BOOT,
            0,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let message = change(RTM_NEWROUTE, CREATE, &fixed)
            .attribute(RTA_GATEWAY, &gateway.octets())
            .number(RTA_OIF, index);
        self.change(vec![message])
            .map_err(|error| Error::new("add default route by", gateway.to_string(), error))
    }

    /// The unicast routes of the main table.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut fixed = [0; RTMSG];
        fixed[0] = AF_INET;
        self.dump(RTM_GETROUTE, &fixed, read_route)
            .map_err(|error| Error::new("list", "routes", error))
    }
}

fn read_route(payload: &[u8]) -> Option<Route> {
    let fixed = payload.get(..RTMSG)?;
    if fixed[0] != AF_INET || fixed[4] != RT_TABLE_MAIN || fixed[7] != RTN_UNICAST {
        return None;
    }
    let mut route = Route {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: fixed[1],
        device: None,
        gateway: None,
    };
    for (kind, value) in attributes(&payload[RTMSG..]) {
        let octets = <[u8; 4]>::try_from(value).ok();
        match kind {
            RTA_DST => route.destination = octets?.into(),
            RTA_GATEWAY => route.gateway = octets.map(Into::into),
            RTA_OIF => route.device = u32_at(value, 0),
            _ => {}
        }
    }
    Some(route)
}
