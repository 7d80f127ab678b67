//! [`PoolBuilder`]: what a pool is made of, checked in one place.

use super::hooks::{AtIdle, Hooks};
use super::lifecycle::Lifecycle;
use super::on_full::OnFull;
use super::places::Places;
use super::post::Post;
use super::resize::Size;
use super::shared::Shared;
use super::stats::Counters;
use super::{Pool, SizeReason, worker};
use crate::cancel::CancelToken;
use crate::context::Context;
use crate::cpus::{self, Pin, Pinning};
use crate::error::BuildError;
use crate::event::{Observed, Observer};
use crate::queue::{Queue, Wake};
use crate::sync::{Arc, Mutex, Patience, Shared as Counted, Spin, unique};
use std::borrow::Cow;

/// The most threads of one pool.
const MAX_THREADS: usize = 16_384;
/// The longest queue of one pool. Its memory is taken when the pool is built.
const MAX_QUEUE: usize = 1 << 20;

/// Configures a [`Pool`]. Nothing fails before [`build`](Self::build).
///
/// | setting | default | range |
/// |---|---|---|
/// | [`threads`](Self::threads) | the CPUs this process was [granted](crate::cpus) | 1 to 16,384 |
/// | [`queue`](Self::queue) | 1,024 | 0 to 1,048,576 |
/// | [`pin`](Self::pin) | [`Pin::No`] | |
/// | [`stack_size`](Self::stack_size) | the system's | 64 KiB to 1 GiB |
/// | [`on_full`](Self::on_full) | [`OnFull::Wait`] | |
/// | [`spin`](Self::spin) | [`Spin::Brief`] | |
/// | [`resizable`](Self::resizable) | to no more than it is built with | as those two |
/// | [`wake`](Self::wake) | [`Wake::Lifo`] | |
/// | [`retire_after`](Self::retire_after) | never | 1 and more jobs |
/// | [`hooks`](Self::hooks) | none | |
/// | [`observer`](Self::observer) | none | |
///
/// # Examples
///
/// ```
/// use watertight::Pool;
///
/// let pool = Pool::builder("thumbnails").threads(4).queue(64).build()?;
/// assert_eq!(pool.stats().threads, 4);
/// let e = Pool::builder("thumbnails").threads(0).build().unwrap_err();
/// assert_eq!(e.to_string(), "threads is 0, must be 1 to 16384");
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct PoolBuilder {
    name: Cow<'static, str>,
    threads: Option<usize>,
    queue: usize,
    stack_size: Option<usize>,
    pin: Pin,
    observed: Observed,
    on_full: OnFull,
    spin: Spin,
    most: Option<(usize, usize)>,
    wake: Wake,
    retire_after: Option<u64>,
    hooks: Hooks,
}

impl PoolBuilder {
    pub(super) fn new(name: Cow<'static, str>) -> Self {
        Self {
            name,
            threads: None,
            queue: 1024,
            stack_size: None,
            pin: Pin::No,
            observed: Observed::default(),
            on_full: OnFull::Wait,
            spin: Spin::Brief,
            most: None,
            wake: Wake::Lifo,
            retire_after: None,
            hooks: Hooks::new(),
        }
    }

    /// How many worker threads, all started by [`build`](Self::build); never more, never fewer. Not said, as many as
    /// [`cpus::granted`](crate::cpus::granted) finds: [`Pool::size_reason`] tells why.
    pub fn threads(mut self, n: usize) -> Self {
        self.threads = Some(n);
        self
    }

    /// How many jobs may wait for a worker. 0 is hand-off: a job is accepted only if a worker is free for it. Each takes 64
    /// bytes when the pool is built, and a job without a handle then takes no more, unless it captures more than 48 bytes
    /// (40 with a context).
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }

    /// The stack of each worker, in bytes.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// What to do with a job for which there is no place.
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// How long an idle worker, and a caller that waits for its job, look before they sleep.
    pub fn spin(mut self, spin: Spin) -> Self {
        self.spin = spin;
        self
    }

    /// Whether workers stay on CPUs of their own, and on which.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    /// How many threads and how long a queue [`Pool::resize`] can give it later. The memory of the longest queue is taken when
    /// the pool is built; threads are started when they are asked for.
    pub fn resizable(mut self, threads: usize, queue: usize) -> Self {
        self.most = Some((threads, queue));
        self
    }

    /// Which of the sleeping workers a job wakes.
    pub fn wake(mut self, wake: Wake) -> Self {
        self.wake = wake;
        self
    }

    /// Replaces a worker, its thread and all its thread-locals, after so many jobs, give or take a tenth, so that not all go
    /// at the same time; at most one in ten is being replaced at once, but one. A pool of fewer than ten is one worker short
    /// for as long as a thread takes to start and warm up. What [`retire_worker`](super::retire_worker) does by hand.
    pub fn retire_after(mut self, jobs: u64) -> Self {
        self.retire_after = Some(jobs);
        self
    }

    /// What is called at the turns of a worker's life.
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    pub(crate) fn observed(mut self, observed: Observed) -> Self {
        self.observed = observed;
        self
    }

    /// Who is told of refusals, shed jobs and panics.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.observed(Observed::by(observer))
    }

    fn validate(&self, threads: usize) -> Result<(), BuildError> {
        BuildError::check_name(&self.name)?;
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(BuildError::out_of_range("threads", threads, "1 to 16384"));
        }
        if self.queue > MAX_QUEUE {
            return Err(BuildError::out_of_range("queue", self.queue, "0 to 1048576"));
        }
        if self.retire_after == Some(0) {
            return Err(BuildError::out_of_range("retire_after", 0, "1 or more jobs"));
        }
        if let Some((most, longest)) = self.most {
            if !(threads..=MAX_THREADS).contains(&most) {
                return Err(BuildError::out_of_range("resizable threads", most, format!("{threads} to 16384")));
            }
            if !(self.queue..=MAX_QUEUE).contains(&longest) {
                return Err(BuildError::out_of_range("resizable queue", longest, format!("{} to 1048576", self.queue)));
            }
        }
        match self.stack_size {
            Some(bytes) if !(64 << 10..=1 << 30).contains(&bytes) => {
                Err(BuildError::out_of_range("stack_size", bytes, "65536 to 1073741824 bytes"))
            }
            _ => Ok(()),
        }
    }

    fn size(&self, granted: &SizeReason) -> usize {
        self.threads.unwrap_or_else(|| granted.threads().min(MAX_THREADS))
    }

    /// Whether it makes sense, with no thread started.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), but for what only the system can refuse.
    pub fn check(&self) -> Result<(), BuildError> {
        self.validate(self.size(&SizeReason::new(self.threads)))
    }

    /// Starts the threads, named `<pool>-<n>` within the 15 bytes that the kernel keeps.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`] and [`BuildError::Name`] for what makes no sense; [`BuildError::Spawn`] if the system
    /// refuses a thread, with its own reason: those started before it have been told to leave.
    pub fn build(self) -> Result<Pool, BuildError> {
        let start = worker::threads(self.stack_size);
        self.build_with(start)
    }

    /// `build` with another way to start a thread: how tests refuse one.
    pub(super) fn build_with(
        self,
        start: impl Fn(Arc<Shared>, usize) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Result<Pool, BuildError> {
        let size_reason = SizeReason::new(self.threads);
        let threads = self.size(&size_reason);
        self.validate(threads)?;
        let (most, longest) = self.most.unwrap_or((threads, self.queue));
        let spin = if self.spin == Spin::Adaptive && cpus::granted().threads < 2 { Spin::Brief } else { self.spin };
        let shared = Arc::new(Shared {
            id: unique(),
            name: self.name,
            seats: most,
            size: Size::new(threads, self.queue, longest),
            size_reason,
            pinning: Pinning::new(self.pin),
            on_full: self.on_full,
            patience: Patience::new(spin),
            places: Places::new(threads + self.queue, most + longest, most),
            queue: Queue::new(most + longest, spin, self.wake),
            life: Mutex::new(Lifecycle::new(threads, most)),
            stopped: CancelToken::new(),
            cancelled: CancelToken::new(),
            abandoned: Context::background().with_token(&CancelToken::new()),
            posts: (0..=most).map(|_| Post::new()).collect(),
            counters: Counters::new(most),
            observed: self.observed,
            hooks: self.hooks,
            at_idle: AtIdle::new(),
            retire_after: self.retire_after,
            ready: CancelToken::new(),
            start: Counted::new(start),
            process: std::process::id(),
        });
        for index in 0..threads {
            if let Err(source) = (shared.start)(shared.clone(), index) {
                shared.drain(); // those that were started leave; they take nothing with them
                return Err(BuildError::Spawn { index: index + 1, wanted: threads, source });
            }
        }
        Ok(Pool::owning(shared))
    }
}
