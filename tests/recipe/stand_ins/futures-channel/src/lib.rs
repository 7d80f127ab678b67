//! A stand-in: the paths that the recipe names.
pub mod mpsc {
    pub fn unbounded<T>() {}
}
