//! A stand-in: the paths that the recipe names, which the real crate too has from another.
pub use rayon_core::{ThreadPool, spawn, spawn_fifo};
