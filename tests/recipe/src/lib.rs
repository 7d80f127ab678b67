//! What the recipe bans, a line each, and beside it what it leaves alone.

type Job = fn();

#[allow(unused_must_use, reason = "it is about the calls")]
pub fn banned(job: Job, tokio: &mut Tokio<'_>, rayon: &rayon::ThreadPool, pool: &threadpool::ThreadPool) {
    std::thread::spawn(job);
    let _ = std::thread::Builder::new().spawn(job);
    std::sync::mpsc::channel::<Job>();
    tokio::task::spawn_blocking(job);
    tokio.set.spawn_blocking(job);
    tokio.handle.spawn_blocking(job);
    tokio.runtime.spawn_blocking(job);
    tokio::sync::mpsc::unbounded_channel::<Job>();
    rayon::spawn(job);
    rayon::spawn_fifo(job);
    rayon.spawn(job);
    rayon.spawn_fifo(job);
    pool.execute(job);
    crossbeam_channel::unbounded::<Job>();
    flume::unbounded::<Job>();
    async_channel::unbounded::<Job>();
    futures_channel::mpsc::unbounded::<Job>();
}

pub struct Tokio<'a> {
    pub set: &'a mut tokio::task::JoinSet,
    pub handle: &'a tokio::runtime::Handle,
    pub runtime: &'a tokio::runtime::Runtime,
}

/// Imported and used by its short name, it is the same.
pub fn banned_by_a_shorter_name(job: Job) {
    use tokio::task::spawn_blocking as elsewhere;
    elsewhere(job);
}

#[allow(unused_must_use, reason = "it is about the calls")]
pub fn left_alone(job: Job) {
    std::thread::scope(|scope| drop(scope.spawn(job)));
    std::sync::mpsc::sync_channel::<Job>(1);
    tokio::sync::mpsc::channel::<Job>(1);
    crossbeam_channel::bounded::<Job>(1);
    #[expect(clippy::disallowed_methods, reason = "runs as long as the program; one of it")]
    std::thread::spawn(job);
}
