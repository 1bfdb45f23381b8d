//! Dockerfiles: text in, instructions with their places out.
