//! A stand-in: the paths that the recipe names, where the real crate defines them.
mod spawn {
    pub fn spawn<F: FnOnce() + Send + 'static>(_: F) {}
    pub fn spawn_fifo<F: FnOnce() + Send + 'static>(_: F) {}
}
mod thread_pool {
    pub struct ThreadPool;
    impl ThreadPool {
        pub fn spawn<F: FnOnce() + Send + 'static>(&self, _: F) {}
        pub fn spawn_fifo<F: FnOnce() + Send + 'static>(&self, _: F) {}
    }
}
pub use spawn::{spawn, spawn_fifo};
pub use thread_pool::ThreadPool;
