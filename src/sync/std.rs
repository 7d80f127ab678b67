//! The real side: parking_lot locks, std atomics, cells and threads, crossbeam-channel's select.

pub(crate) use ::std::sync::{Arc, OnceLock};
pub(crate) use ::std::thread_local;
pub(crate) use parking_lot::{Mutex, MutexGuard};

use ::std::time::{Duration, Instant};

pub(crate) mod atomic {
    pub(crate) use ::std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

/// A counted pointer that may have lost its type.
pub(crate) fn counted<T: ?Sized>(there: Arc<T>) -> Arc<T> {
    there
}

/// Writes a word that nobody else writes; who then [looks](look_after) at another word, and whoever writes that and looks at
/// this one with a `SeqCst` fence between, cannot both miss the other. One exchange, on most machines cheaper than a store and
/// a fence: the exchange, the look and the other side's fence are all in the one order of `SeqCst`.
///
/// It orders that look and no other: before any further word a fence is needed. The model, which knows no `SeqCst` accesses,
/// has the fence here, so it does not see where one is missing after the look.
#[inline]
pub(crate) fn say(word: &atomic::AtomicU64, value: u64) {
    word.swap(value, atomic::Ordering::SeqCst);
}

/// The same for a word that many count in.
#[inline]
pub(crate) fn say_more(word: &atomic::AtomicU64, more: u64) {
    word.fetch_add(more, atomic::Ordering::SeqCst);
}

/// What the word is, after what this thread has [said](say).
#[inline]
pub(crate) fn look_after(word: &atomic::AtomicU64) -> u64 {
    word.load(atomic::Ordering::SeqCst)
}

/// Whether it is worth looking again before going to sleep: lets a moment pass if so, a longer one each time. In all
/// some microseconds, less than a sleep and a wake cost. From the fourth time on others are let go first, whoever is
/// waited for may want this core; but not where that has cost a time slice, because something else runs on it.
pub(crate) fn look_again(looks: &mut u32) -> bool {
    look(looks, let_others_go)
}

/// The same for who has no deadline to miss: it lets others go whatever that costs, for a slice of theirs is not lost.
pub(crate) fn look_again_at_leisure(looks: &mut u32) -> bool {
    look(looks, || {
        ::std::thread::yield_now();
        true
    })
}

fn look(looks: &mut u32, let_others_go: impl FnOnce() -> bool) -> bool {
    *looks += 1;
    match *looks {
        1..=3 => (0..1 << *looks).for_each(|_| ::std::hint::spin_loop()),
        4..=10 => return let_others_go(),
        _ => return false,
    }
    true
}

/// Sleeps by the clock of the system: where not even a test could tell the difference by any other.
pub(crate) fn nap(time: Duration) {
    ::std::thread::sleep(time);
}

/// A yield that takes longer has given the core to something that keeps it: milliseconds, which no deadline allows for.
const COSTLY: Duration = Duration::from_micros(100);

/// So many times what it has cost is not to be paid again.
const SPELL: u32 = 20;

/// Until when not to yield, in microseconds since `BEGUN`; for all threads, which share the machine.
static WITHOUT: atomic::AtomicU64 = atomic::AtomicU64::new(0);
static BEGUN: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds, since some moment in the life of this process.
pub(crate) fn nanos() -> u64 {
    u64::try_from(BEGUN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Yields, unless that was costly of late. False: do not look again.
fn let_others_go() -> bool {
    let begun = *BEGUN.get_or_init(Instant::now);
    let before = begun.elapsed();
    if before.as_micros() < u128::from(WITHOUT.load(atomic::Ordering::Relaxed)) {
        return false;
    }
    ::std::thread::yield_now();
    let after = begun.elapsed();
    let cost = after - before;
    if cost > COSTLY {
        let until = (after + cost * SPELL).as_micros();
        // Whichever thread is the last to say so.
        WITHOUT.store(u64::try_from(until).unwrap_or(u64::MAX), atomic::Ordering::Relaxed);
    }
    true
}

/// A cell without a check, to be looked into through the closures that loom watches.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(::std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(::std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// What lies on a stack and is used by another thread.
#[derive(Debug)]
pub(crate) struct OnStack<T>(T);

impl<T> OnStack<T> {
    #[inline(always)]
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> ::std::ops::Deref for OnStack<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Lets a moment pass for another thread that is in the middle of a few instructions. If it goes on, that thread has
/// been put to sleep by the system, which is asked to go on with it.
pub(crate) fn moment(turn: &mut u32) {
    *turn += 1;
    if *turn < 64 {
        ::std::hint::spin_loop();
    } else {
        ::std::thread::yield_now();
    }
}

pub(crate) mod thread {
    pub(crate) use ::std::thread::Builder;

    /// True while this thread unwinds from a panic.
    #[inline]
    pub(crate) fn panicking() -> bool {
        ::std::thread::panicking()
    }
}

/// Whether the running model has asked for the twin called `name`: never, outside loom.
#[inline(always)]
pub(crate) const fn broken(_name: &str) -> bool {
    false
}

/// A number that differs from call to call and from process to process.
pub(crate) fn seed() -> u64 {
    use ::std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// parking_lot's condition variable in the by-value form that both sides can offer.
#[derive(Debug, Default)]
pub(crate) struct Condvar(parking_lot::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
    }

    pub(crate) fn wait_until<'a, T>(&self, mut guard: MutexGuard<'a, T>, at: Instant) -> MutexGuard<'a, T> {
        self.0.wait_until(&mut guard, at);
        guard
    }
}

/// Parks the thread that made it.
///
/// std's park token is shared with everybody who parks this thread, so `park` may return early, and whoever parks
/// must look again. Nothing is lost: an early return caused by somebody else's token still leaves ours to be seen by
/// the look that follows.
#[derive(Debug)]
pub(crate) struct Parker {
    thread: ::std::thread::Thread,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self { thread: ::std::thread::current() }
    }

    pub(crate) fn park(&self) {
        ::std::thread::park();
    }

    pub(crate) fn park_until(&self, at: Instant) {
        ::std::thread::park_timeout(at.saturating_duration_since(Instant::now()));
    }

    pub(crate) fn unparker(&self) -> Unparker {
        Unparker(self.thread.clone())
    }
}

/// Wakes the thread of one [`Parker`].
#[derive(Clone, Debug)]
pub(crate) struct Unparker(::std::thread::Thread);

impl Unparker {
    pub(crate) fn unpark(&self) {
        self.0.unpark();
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

pub(crate) mod channel {
    pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};

    use ::std::time::Instant;
    use crossbeam_channel::{Select, SelectedOperation, TryRecvError, TrySendError};

    /// What became of one attempt to receive or send; what was to be sent comes back unless it is done.
    pub(crate) enum Attempt<D, B> {
        Done(D),
        Closed(B),
        NotYet(B),
    }

    pub(crate) fn try_receive<T>(from: &Receiver<T>) -> Attempt<T, ()> {
        match from.try_recv() {
            Ok(value) => Attempt::Done(value),
            Err(TryRecvError::Disconnected) => Attempt::Closed(()),
            Err(TryRecvError::Empty) => Attempt::NotYet(()),
        }
    }

    pub(crate) fn try_send<T>(to: &Sender<T>, value: T) -> Attempt<(), T> {
        match to.try_send(value) {
            Ok(()) => Attempt::Done(()),
            Err(TrySendError::Disconnected(value)) => Attempt::Closed(value),
            Err(TrySendError::Full(value)) => Attempt::NotYet(value),
        }
    }

    /// Blocks until there is a value, the bell rings, or the instant has come.
    pub(crate) fn receive<T>(from: &Receiver<T>, bell: &Receiver<()>, until: Option<Instant>) -> Attempt<T, ()> {
        let mut select = Select::new_biased();
        let receives = select.recv(from);
        match first(select, bell, until) {
            Some(ready) if ready.index() == receives => ready.recv(from).map_or(Attempt::Closed(()), Attempt::Done),
            Some(rung) => heard(rung, bell, ()),
            None => Attempt::NotYet(()),
        }
    }

    /// Blocks until there is room, the bell rings, or the instant has come.
    pub(crate) fn send<T>(to: &Sender<T>, value: T, bell: &Receiver<()>, until: Option<Instant>) -> Attempt<(), T> {
        let mut select = Select::new_biased();
        let sends = select.send(to);
        match first(select, bell, until) {
            Some(ready) if ready.index() == sends => match ready.send(to, value) {
                Ok(()) => Attempt::Done(()),
                Err(closed) => Attempt::Closed(closed.into_inner()),
            },
            Some(rung) => heard(rung, bell, value),
            None => Attempt::NotYet(value),
        }
    }

    fn first<'a>(
        mut select: Select<'a>,
        bell: &'a Receiver<()>,
        until: Option<Instant>,
    ) -> Option<SelectedOperation<'a>> {
        select.recv(bell);
        match until {
            Some(at) => select.select_deadline(at).ok(),
            None => Some(select.select()),
        }
    }

    fn heard<D, B>(rung: SelectedOperation<'_>, bell: &Receiver<()>, back: B) -> Attempt<D, B> {
        let _ = rung.recv(bell); // a selected operation has to be completed
        Attempt::NotYet(back)
    }
}

::std::thread_local! {
    static LANE: ::std::cell::Cell<usize> = const { ::std::cell::Cell::new(0) };
}

/// Which of several places with one meaning this thread is to use: 0 until it has met somebody there.
#[inline]
pub(crate) fn lane() -> usize {
    LANE.with(::std::cell::Cell::get)
}

/// It has: from now on the next.
pub(crate) fn next_lane() -> usize {
    LANE.with(|lane| {
        lane.set(lane.get().wrapping_add(1));
        lane.get()
    })
}
