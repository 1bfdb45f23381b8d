//! Networks: bridges, endpoints, addresses, masquerading.
#![forbid(unsafe_code)]
