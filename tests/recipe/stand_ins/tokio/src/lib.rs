//! A stand-in: the paths that the recipe names.
pub mod task {
    mod blocking {
        pub fn spawn_blocking<F: FnOnce() + Send + 'static>(_: F) {}
    }
    pub use blocking::spawn_blocking;

    pub struct JoinSet;
    impl JoinSet {
        pub fn spawn_blocking<F: FnOnce() + Send + 'static>(&mut self, _: F) {}
    }
}
pub mod runtime {
    mod handle {
        pub struct Handle;
        impl Handle {
            pub fn spawn_blocking<F: FnOnce() + Send + 'static>(&self, _: F) {}
        }
    }
    pub use handle::Handle;

    pub struct Runtime;
    impl Runtime {
        pub fn spawn_blocking<F: FnOnce() + Send + 'static>(&self, _: F) {}
    }
}
pub mod sync {
    pub mod mpsc {
        mod unbounded {
            pub fn unbounded_channel<T>() {}
        }
        pub use unbounded::unbounded_channel;
        pub fn channel<T>(_: usize) {}
    }
}
