//! DNS messages of containers and servers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hull_network::fuzz::dns_message(bytes));
