//! A service that survives overload and failing dependencies: worker pools with bounded queues, a compartment per
//! dependency, circuit breakers, deadlines that travel, cancellation, retry budgets; for threads and futures alike.
//!
//! **A place belongs to the running job, not to the caller.** When a caller times out or drops its future, the capacity
//! stays taken until the work really ends; so a limit is a limit on what the dependency sees.
//!
//! ```
//! use std::time::Duration;
//! use watertight::{CallError, Context, Pool, RejectReason};
//!
//! let pool = Pool::builder("thumbnails").threads(2).queue(2).build()?;
//! let cx = Context::current().with_timeout(Duration::from_secs(1)); // for the wait and for the job
//! let handle = pool.job().context(&cx).submit(|| 6 * 7)?;
//! assert_eq!(handle.join()?, 42);
//!
//! let (hold, held) = std::sync::mpsc::channel::<()>();
//! let held = std::sync::Arc::new(std::sync::Mutex::new(held));
//! let stuck: Vec<_> = (0..4).map(|_| { let h = held.clone(); pool.try_submit(move || h.lock().unwrap().recv().ok()) }).collect();
//! let refused = pool.try_submit(|| "no place left").unwrap_err(); // at once, and it says why
//! assert_eq!(refused.reason, RejectReason::Full { limit: 2, waiting: 2 });
//! assert_eq!(refused.into_work()(), "no place left"); // the closure came back
//! # drop((hold, stuck));
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # Which type when
//!
//! - [`Bulkhead`]: one dependency's compartment: its limit, breaker, retries and time-out together. Start here, and with its [page](docs::bulkhead).
//! - [`Registry`]: a compartment for each host, shard or tenant, a bounded number of them.
//! - [`Pool`]: work of your own on a fixed number of threads, in place of every unbounded spawn:
//!   [how to come from there](docs::migration).
//! - [`Batch`], [`Pool::map`], [`Pool::scope`]: many jobs at once, their results as they complete or in order; jobs that
//!   borrow.
//! - [`Limit`]: how many at once, without threads.
//! - [`Breaker`]: stop calling what fails, and find out when it is well; see its [page](docs::breaker).
//! - [`Retry`] and [`Budget`]: try again, but never multiply an outage.
//! - [`Context`], [`Deadline`], [`CancelToken`]: what ends a wait and what a job inherits.
//! - [`wire`]: deadlines between processes, by header.
//! - [`config`]: all of these as plain data, from a file too.
//! - [`sizing`]: how many threads and how long a queue, with the arithmetic shown.
//! - [`cpus`]: how many CPUs this process was really given, and on which of them workers stay.
//! - [`Clock`] and [`ManualClock`]: tests of all this without sleeping.
//!
//! # Floors
//!
//! Four floors, each knowing only those below: the ground (clock and locks), signals (deadline, token, context), resources
//! and holders (permit, queue, pool, breaker, retry), and their composition (bulkhead). Each policy hands out a value that
//! gives itself back when dropped, so any other composition is ordinary Rust: see [the guide](docs::guide).
//!
//! # Guarantees
//!
//! Each with the test that holds it.
//!
//! 1. A place stays taken until the job has really ended: `the_place_belongs_to_the_running_job_not_to_the_caller`.
//! 2. A refused closure comes back unrun, and an unrun closure is dropped once:
//!    `a_refused_closure_comes_back_whole_and_is_dropped_once`.
//! 3. When `join` returns, the job's place is free: `loom_when_join_returns_the_place_is_free`.
//! 4. Every accepted job ends exactly once, also when submits race a shutdown:
//!    `loom_every_accepted_job_ends_exactly_once_when_submit_races_shutdown`.
//! 5. A queued job's handle resolves at the job's deadline even if every worker is stuck:
//!    `a_queued_job_resolves_at_its_deadline_even_if_every_worker_is_stuck`.
//! 6. A job may submit to its own pool and join, on one worker:
//!    `a_job_that_joins_its_own_jobs_completes_on_one_worker_to_depth_64`.
//! 7. A panic ends its job, never its worker: `a_panic_ends_the_job_and_not_the_worker`.
//! 8. Half-open admits exactly its probes, and a stale result changes nothing:
//!    `loom_of_three_callers_in_half_open_exactly_k_pass`, `conformance_breaker`.
//! 9. `started()` is exact: what a caller was told never ran never runs:
//!    `loom_what_the_caller_was_told_never_ran_never_runs`.
//! 10. Retries never exceed their share of first attempts, in any interleaving:
//!     `a_budget_bounds_the_amplification_of_a_dead_dependency` and the models of `retry`.
//! 11. An idle pool makes no wake-ups: `an_idle_pool_of_64_makes_no_wake_ups_and_burns_no_cpu`.
//! 12. A scope ends after the last access of its jobs: `loom_the_scope_ends_after_the_last_access`, and nests in its own pool:
//!     `scopes_nest_in_their_own_pool_to_depth_64_on_one_worker`.
//! 13. What a context frees from a blocking call leaves no thread, file descriptor, permit or child process:
//!     `nothing_is_left_behind`.
//!
//! # Overload
//!
//! Nothing here is unbounded by default. `try_submit` refuses at once, `submit` waits until the context ends; a bulkhead
//! refuses at once unless it is given a queue. Refusals say by which limit and carry `retry_after` where it is known.
//!
//! # Deadlines and cancellation
//!
//! Every wait takes or inherits a [`Context`] and ends with it. Cancellation is cooperative: queued work never runs, running
//! work sees it at its next [`Context::check`]. Code that blocks is freed by it: channels ([`Context::recv`]), condition
//! variables ([`Context::wait`]), sockets ([`Context::guard`]), child processes. A page on
//! [deadlines](docs::deadlines) and one on [cancellation](docs::cancellation) say what is promised and what cannot be.
//!
//! # Panics
//!
//! Caught where user code runs, and handed to whoever joins as [`PanicPayload`]; observers, drops and wakers that panic harm
//! nobody. [`Bulkhead::call_here`] and [`Bulkhead::call_async`] let a panic pass through to the caller whose code it was.
//!
//! # Shutdown
//!
//! [`Pool::shutdown`] takes no more work, does what was admitted, cancels what its time does not suffice for, abandons what does
//! not listen, and says what became of each job, by the deadline of its context. See [the guide](docs::guide). Dropping the
//! last handle drains without waiting.
//!
//! # Fairness
//!
//! First come, first served, for permits and for jobs. Nobody overtakes those who wait.
//!
//! # Sync and async
//!
//! One core for both: handles and acquisitions are plain futures that need no runtime and run on any executor
//! (`every_future_ends_under_every_executor`).
//!
//! # Trade-offs, limits, and whether you need this
//!
//! See [limitations](docs::limitations).
//!
//! # Features and versions
//!
//! None on by default. Rust 1.85 or newer; raising that is a minor release.
//!
//! | feature | what it adds |
//! |---|---|
//! | `http` | deadlines into and out of an `http::HeaderMap`, see [`wire`] |
//! | `process` | `Context::spawn`: child processes that are killed when their context ends |
//! | `serde` | [`config`] from files: unknown fields refused, durations in words |
//! | `tokio-util` | `CancelToken::from_tokio` and `to_tokio`: either token cancels the other, without a runtime |

#![cfg_attr(watertight_shuttle, allow(dead_code))] // what only loom's models look at

#[cfg(any(feature = "tokio-util", all(test, watertight_loom, not(watertight_shuttle))))]
mod adapters;
pub mod breaker;
pub mod bulkhead;
pub mod cancel;
mod clock;
pub mod config;
pub mod context;
pub mod cpus;
pub mod deadline;
pub mod docs;
mod error;
pub mod event;
pub mod permit;
pub mod pool;
#[allow(unsafe_code)] // here and in src/pool/scope, nowhere else: see src/queue/mod.rs
mod queue;
pub mod registry;
pub mod retry;
pub mod sizing;
mod sync;
mod wait;
mod window;
pub mod wire;

pub use breaker::{Admitted, Breaker, Recovery, Trip};
pub use bulkhead::{Admission, Bulkhead, Isolation};
pub use cancel::CancelToken;
pub use clock::{Clock, ManualClock};
pub use context::Context;
pub use deadline::Deadline;
pub use error::{
    BuildError, CallError, CancelCause, Interrupted, JobError, JobId, PanicPayload, RejectReason, Rejected,
};
pub use event::Class;
pub use permit::{Limit, Permit};
pub use pool::{Batch, JobHandle, OnFull, Pool, Slot};
pub use registry::Registry;
pub use retry::{Budget, Jitter, Retry};
