//! A stand-in: the paths that the recipe names.
pub fn unbounded<T>() {}
