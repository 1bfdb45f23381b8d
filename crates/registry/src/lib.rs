//! Client of the OCI distribution specification.
#![forbid(unsafe_code)]
