//! Devices: what carries networks, and endpoints' places on it. All calls block, and leave nothing
//! behind when they fail.
//!
//! ```text
//!  up, is_up, down
//!                bridge.rs   a bridge with its addresses; forwarding.rs: the host routes
//!                parent.rs   macvlan, ipvlan: the device below, VLAN or dummy if need be
//!  join          join.rs     one thread inside the namespace does all of it, both sides
//!                  veth.rs     bridge: a pair, one end a port of the bridge
//!                  child.rs    macvlan, ipvlan: a device on the parent, made in the namespace
//!                  sysctl.rs   settings of the device, before it is up
//!  leave, dismantle, reconcile
//!                remove.rs, reconcile.rs
//!  set_default_routes, restore_default_routes
//!                routes.rs
//! ```
//!
//! Nothing is remembered here: what is ours is marked in the kernel (mark.rs), so that what a crash
//! left behind is found.

mod background;
mod bridge;
mod child;
mod forwarding;
mod join;
mod mark;
mod parent;
mod reconcile;
mod remove;
mod routes;
mod sysctl;
mod veth;

pub use bridge::discard_idle;
pub use join::{Joined, join};
pub use reconcile::{Removed, reconcile};
pub use remove::{dismantle, is_silent, leave};
pub use routes::{restore_default_routes, set_default_routes};

use crate::Error;
use crate::model::{Driver, Network};

/// Makes what carries a network, or takes what is there: a bridge with its addresses, that is up; the
/// device below macvlan and ipvlan ones. Lets the host forward packets. Idempotent.
///
/// # Errors
/// [`Error`]; what was made here is gone again then.
pub fn up(network: &Network) -> Result<(), Error> {
    make(network, true)
}

/// As [`up`], and leaves it to the host's administrator whether the host forwards packets.
///
/// # Errors
/// [`Error`]; what was made here is gone again then.
pub fn up_without_forwarding(network: &Network) -> Result<(), Error> {
    make(network, false)
}

fn make(network: &Network, forward: bool) -> Result<(), Error> {
    match &network.driver {
        Driver::Bridge(options) => bridge::up(network, options, forward),
        Driver::Macvlan(options) => parent::up_macvlan(network, options),
        Driver::Ipvlan(options) => parent::up_ipvlan(network, options),
    }
}

/// Whether a network has a bridge that is ours, up or not; macvlan and ipvlan ones have nothing of the kind.
///
/// # Errors
/// [`Error::Link`].
pub fn is_up(network: &Network) -> Result<bool, Error> {
    match &network.driver {
        Driver::Bridge(options) => bridge::is_there(network, options),
        Driver::Macvlan(_) | Driver::Ipvlan(_) => Ok(false),
    }
}

/// Removes what [`up`] made; what is not there, or was there before, is no error. A bridge has no
/// addresses, and its name and subnet are free, when this returns; the device itself goes behind the
/// caller's back.
///
/// # Errors
/// [`Error::Link`].
pub fn down(network: &Network) -> Result<(), Error> {
    match &network.driver {
        Driver::Bridge(options) => bridge::down(network, options),
        Driver::Macvlan(options) => parent::down(network, options.parent.as_deref()),
        Driver::Ipvlan(options) => parent::down(network, options.parent.as_deref()),
    }
}
