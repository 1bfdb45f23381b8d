//! capability.
