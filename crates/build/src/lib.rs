//! The builder: what a Dockerfile says, the graph of steps it stands for, and their execution with a cache.
//!
//! Nothing here speaks HTTP or starts a container: the engine implements the traits by which steps are run and
//! sources are had. Everything blocks; what runs at the same time runs in threads.
#![forbid(unsafe_code)]

pub mod attest;
pub mod blobs;
pub mod cache;
pub mod dockerfile;
pub mod frontend;
pub mod fuzz;
pub mod graph;
pub mod ignore;
pub mod plan;
pub mod portable;
pub mod progress;
pub mod solve;
pub mod world;
