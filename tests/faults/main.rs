//! What goes wrong: killed processes, registries that lie, layers that attack, full disks. Nothing
//! acknowledged is lost, nothing leaks, and the message says what happened.
#![forbid(unsafe_code)]
#![expect(clippy::too_many_lines, reason = "a fault is told as one story")]

mod builds;
mod clients;
mod contexts;
mod crashes;
mod daemon_killed;
mod deep;
mod disk;
mod full;
mod hostile_layers;
mod layers;
mod mixed;
mod plugins;
mod random;
mod refused;
mod registries;
mod sessions;
mod shims;
mod store;
mod upgrade;
