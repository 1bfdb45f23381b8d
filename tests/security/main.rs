//! What others on the same machine may not do to Hull and its containers.
#![forbid(unsafe_code)]

mod local_users;
mod scoped_sockets;
