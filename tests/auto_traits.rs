//! Everything public is `Send + Sync + Debug`; futures are `Unpin + 'static` too; and only `Entered` stays on its
//! thread. Most of this is checked by compiling.

use std::cell::Cell;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::path::Path;
use watertight::breaker::{BreakerBuilder, BreakerSnapshot};
use watertight::bulkhead::{
    Admission, Admit, BulkheadBuilder, BulkheadState, CallHandle, Classified, Hedge, Idempotent,
};
use watertight::cancel::{Cancelled, DropGuard, Registration};
use watertight::config::{
    BreakerConfig, BudgetConfig, BulkheadConfig, BulkheadOverride, ConfigError, IsolationConfig, LimitConfig,
    OnFullConfig, OrOff, PauseConfig, PoolConfig, RecoveryConfig, RegistryConfig, ResizableConfig, RetryConfig,
    SlowConfig, Timeout, TripConfig, WindowConfig,
};
use watertight::context::{AlreadySet, Entered, OnEnd, Propagate, Sleep};
use watertight::context::{ChannelError, Condition, Guarded, SocketGuard, Timed, Unsent};
use watertight::cpus::{Granted, LimitedBy, Pin};
use watertight::deadline::{Extendable, Split};
use watertight::event::{BreakerCause, BreakerState, Class, Counts, Event, Observer};
use watertight::permit::{Acquire, LimitBuilder, Order, Oversize, Partition, PermitRef, Quota, Registered, Share};
use watertight::pool::{
    Arrived, BranchError, Decide, Incomplete, JobBuilder, Map, NotIdle, OnFull, Partial, PoolBuilder, PoolStats,
    Reserve, Run, Scope, SizeReason, Slot, Slots, Spin, StillRunning, Submit, Unordered, WhenFull,
};
use watertight::pool::{
    AtHook, Drain, Hooks, NotReady, Ready, RunningJob, ShutdownReport, Stop, Stopping, Unrun, Wake,
};
use watertight::registry::{Registry, RegistryError};
use watertight::retry::{Attempts, BudgetStats, Expected, GaveUp, IdempotencyKey, Pause, RetryCap, Schedule};
use watertight::sizing::{Bottleneck, ErlangC, Recommendation, Usl, Workload};
use watertight::wire::{Encoded, Header, TimeoutError};
use watertight::{
    Admitted, Batch, Breaker, Budget, BuildError, Bulkhead, CallError, CancelCause, CancelToken, Clock, Context,
    Deadline, Interrupted, Isolation, Jitter, JobError, JobHandle, JobId, Limit, ManualClock, PanicPayload, Permit,
    Pool, Recovery, RejectReason, Rejected, Retry, Trip,
};

fn shared<T: Send + Sync + Debug>() {}
fn future<T: Future + Send + Sync + Unpin + Debug + 'static>() {}
fn leaves(_: impl Future + Send + 'static) {}

/// Something `Send` and not `Sync`, as a job's result may be.
type Lonely = Cell<u8>;

/// What carries nothing.
struct Hook;

impl Propagate for Hook {
    type Carried = ();
    type Entered = ();
    fn capture(&self) -> Option<()> {
        None
    }
    fn enter(&self, (): &()) {}
}

#[test]
fn everything_public_is_send_sync_and_debug() {
    shared::<(BuildError, CallError<u8>, CallError, CancelCause, Interrupted, JobError, PanicPayload, RejectReason)>();
    shared::<JobId>();
    shared::<Rejected<Lonely>>();
    shared::<(Clock, ManualClock, Deadline, Context, CancelToken, Registration, DropGuard, OnEnd, AlreadySet)>();
    shared::<(Condition, SocketGuard, ChannelError, Unsent<u8>, Unsent<Lonely>)>();
    #[cfg(feature = "process")]
    shared::<watertight::context::ChildGuard>();
    shared::<(Split<'_>, Extendable)>();
    shared::<(Header, Encoded, TimeoutError)>();
    #[cfg(feature = "http")]
    shared::<watertight::wire::http::Extracted>();
    shared::<(BreakerState, BreakerCause, Counts, Class, Event<'_>)>();
    shared::<(OnFull, Decide, WhenFull<'_>, Slot, Slots, Spin)>();
    future::<Reserve>();
    shared::<(Limit, LimitBuilder, Permit, PermitRef<'_>, Partition, Share, Order, Oversize)>();
    shared::<(Pool, PoolBuilder, PoolStats, JobBuilder<'_>, StillRunning)>();
    shared::<(SizeReason, Granted, LimitedBy, Pin, NotIdle)>();
    shared::<(Stop<'_>, Drain, ShutdownReport, RunningJob, Unrun)>();
    shared::<(Hooks, AtHook<'_>, NotReady, Wake)>();
    future::<Stopping>();
    future::<Ready>();
    shared::<(JobHandle<u8>, JobHandle<Lonely>)>();
    shared::<(Partial<u8>, Arrived<u8>, BranchError, Incomplete)>();
    shared::<(Batch<u8>, Batch<Lonely>, Scope<'_, '_>)>();
    shared::<Map<std::vec::IntoIter<u8>, fn(u8) -> u8, u8>>();
    shared::<Unordered<std::vec::IntoIter<u8>, fn(u8) -> u8, u8>>();
    shared::<(Retry, Schedule, Jitter, Budget, BudgetStats, Expected, RetryCap, Attempts, GaveUp, Pause<'_>)>();
    shared::<(IdempotencyKey, Quota, Registered)>();
    shared::<(Breaker, BreakerBuilder, BreakerSnapshot, Admitted<'_>, Trip, Recovery)>();
    shared::<(Workload, Recommendation, Bottleneck, ErlangC, Usl)>();
    shared::<(Registry<String>, RegistryError)>();
    shared::<(BulkheadConfig, IsolationConfig, Timeout, PoolConfig, OnFullConfig, ResizableConfig, LimitConfig)>();
    shared::<(BreakerConfig, TripConfig, SlowConfig, WindowConfig, RecoveryConfig)>();
    shared::<(RetryConfig, PauseConfig, BudgetConfig)>();
    shared::<(RegistryConfig, BulkheadOverride, OrOff<BreakerConfig>, ConfigError)>();
    shared::<(Admission, Hedge, CallHandle<u8, u8>, CallHandle<Lonely, Lonely>)>();
    shared::<(Bulkhead, BulkheadBuilder, BulkheadState, Isolation)>();
    shared::<(Idempotent<u8, u8>, Idempotent<Lonely, Lonely>, Classified<u8, u8>, Classified<Lonely, Lonely>)>();
    fn observer<T: Send + Sync + ?Sized>() {}
    observer::<dyn Observer>();
    fn hook<T: Propagate>() {
        observer::<T>();
    }
    let _ = hook::<(Hook, Hook)>;
}

/// Which sockets can be guarded and timed, as the traits' documentation says.
#[test]
fn sockets_are_guarded_and_timed() {
    fn both<T: Guarded + Timed>() {}
    both::<std::net::TcpStream>();
    #[cfg(unix)]
    both::<std::os::unix::net::UnixStream>();
    fn timed<T: Timed>() {}
    timed::<std::net::UdpSocket>();
    #[cfg(target_os = "linux")]
    {
        fn guarded<T: Guarded>() {}
        guarded::<std::net::TcpListener>();
        guarded::<std::os::unix::net::UnixListener>();
        both::<std::net::UdpSocket>();
        both::<std::os::unix::net::UnixDatagram>();
    }
}

#[test]
fn futures_of_ours_can_be_kept_moved_and_spawned() {
    future::<Cancelled>();
    future::<Sleep>();
    future::<Acquire>();
    future::<Admit>();
    future::<CallHandle<Lonely, Lonely>>();
    future::<JobHandle<u8>>();
    future::<JobHandle<Lonely>>();
    future::<Submit<fn() -> Lonely, Lonely>>();
    future::<Run<fn() -> Lonely, Lonely>>();
}

/// A future that borrows nothing from what it was made by, so a task can own it.
#[test]
fn futures_without_a_name_leave_what_made_them() {
    fn wrapped() -> impl Future<Output = u8> + Send + 'static {
        let cx = Context::background();
        cx.wrap(ready(1))
    }
    fn run() -> impl Future<Output = Result<u8, Interrupted>> + Send + 'static {
        let cx = Context::background();
        cx.run(ready(1))
    }
    fn called() -> impl Future<Output = Result<u8, CallError>> + Send + 'static {
        let pool = Pool::builder("leaves").threads(1).build().unwrap();
        pool.call_async(|| 1)
    }
    fn protected() -> impl Future + Send + 'static {
        let bulkhead = Bulkhead::builder("leaves", Isolation::Threads(1)).no_timeout().build().unwrap();
        bulkhead.call_blocking(&Context::background(), |_| Ok::<_, ()>(Lonely::new(1)))
    }
    fn protected_async() -> impl Future + Send + 'static {
        let bulkhead = Bulkhead::builder("leaves", Isolation::Permits(1)).no_timeout().build().unwrap();
        bulkhead.call_async(&Context::background(), async |_| Ok::<_, ()>(Lonely::new(1)))
    }
    fn hedged_blocking() -> impl Future + Send + 'static {
        let bulkhead = Bulkhead::builder("b", Isolation::Threads(1)).no_timeout().build().unwrap();
        let hedge = Hedge::after(std::time::Duration::ZERO);
        let f = |_: &Context| Ok::<_, ()>(Lonely::new(1));
        bulkhead.idempotent().call_hedged_blocking(&Context::background(), &hedge, f)
    }
    fn hedged() -> impl Future + Send + 'static {
        let bulkhead = Bulkhead::builder("leaves", Isolation::Permits(1)).no_timeout().build().unwrap();
        let hedge = Hedge::after(std::time::Duration::ZERO);
        bulkhead.idempotent().call_hedged_async(&Context::background(), &hedge, async |_| Ok::<_, ()>(Lonely::new(1)))
    }
    fn joined() -> impl Future + Send + 'static {
        let cx = Context::background();
        Partial::<Lonely>::new().join_async(&cx)
    }
    fn all() -> impl Future + Send + 'static {
        let pool = Pool::builder("leaves").threads(1).build().unwrap();
        pool.batch::<Lonely>().join_all_async()
    }
    leaves(all());
    leaves(joined());
    leaves(protected());
    leaves(protected_async());
    leaves(hedged());
    leaves(hedged_blocking());
    leaves(wrapped());
    leaves(run());
    leaves(called());
}

/// Two blanket implementations: naming the method is ambiguous, and does not compile, for whatever is `Send`.
trait AmbiguousIfSend<Which> {
    fn stays_on_its_thread() {}
}
struct Also;
impl<T: ?Sized> AmbiguousIfSend<()> for T {}
impl<T: ?Sized + Send> AmbiguousIfSend<Also> for T {}

#[test]
fn an_entered_context_stays_on_its_thread() {
    fn debug<T: Debug>() {}
    debug::<Entered<'_>>();
    <Entered<'_> as AmbiguousIfSend<_>>::stays_on_its_thread();
}

/// A new public type is not forgotten here. `unreachable_pub` is denied, so whatever says `pub` is public.
#[test]
fn no_public_type_is_missing_above() {
    fn visit(folder: &Path, missing: &mut Vec<String>) {
        let this = include_str!("auto_traits.rs");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, missing);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let types = ["pub struct ", "pub enum ", "pub trait "];
            for name in text.lines().filter_map(|line| types.iter().find_map(|t| line.strip_prefix(t))) {
                let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                if !this.split(|c: char| !c.is_alphanumeric()).any(|word| word == name) {
                    missing.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    let mut missing = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut missing);
    assert!(missing.is_empty(), "{missing:#?}");
}
