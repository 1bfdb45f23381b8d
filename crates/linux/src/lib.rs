//! Safe wrappers for what Hull asks of the Linux kernel. The only crate with `unsafe` in it.
#![allow(unsafe_code, clippy::allow_attributes, reason = "the one place for it")]

pub mod capability;
pub mod cgroup;
pub mod conntrack;
pub mod daemonize;
pub mod datagram;
pub mod device;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod neighbour;
pub mod netlink;
pub mod nftables;
pub mod path;
pub mod process;
pub mod procfs;
pub mod pty;
pub mod reactor;
pub mod seccomp;
pub mod socket;
pub mod systemd;
pub mod xattr;
