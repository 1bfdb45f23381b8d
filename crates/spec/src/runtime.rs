//! OCI runtime specification documents.
