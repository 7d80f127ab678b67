//! A stand-in: the paths that the recipe names.
pub struct ThreadPool;
impl ThreadPool {
    pub fn execute<F: FnOnce() + Send + 'static>(&self, _: F) {}
}
