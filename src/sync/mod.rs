//! The ground: the only room that names a synchronisation crate.
//!
//! Everything above takes its locks, atomics, cells and threads from here, and here they come in two forms with the
//! same names: the real ones (`std.rs`: parking_lot, std, crossbeam-channel's select, which has no modelled side) and the
//! modelled ones (`loom.rs`), chosen by `cfg(watertight_loom)`. The cfg has a name of its own so that neither a dependent's `--cfg loom` nor ours
//! switches anybody else's crate. A third side, `shuttle.rs`, is for histories too large for loom: `cfg(watertight_shuttle)`
//! beside `cfg(watertight_loom)`, which then only says that this is a model.
//!
//! **The contract between model and reality.** loom sees only its own types. What it says of the crate is said about
//! our protocols *around* a lock; the inside of parking_lot is assumed. `contract.rs` holds one set of checks and runs it
//! against both sides. The model must allow at least what the real one allows.
//!
//! **Rules for the rooms above.** No `SeqCst` accesses (loom reads them as `AcqRel`) but by `say` and `look_after`. A word
//! that is ever changed by a read-modify-write is only ever written by one (loom loses the atomicity of an RMW that races a
//! plain store), unless every RMW that could race the store fails, or is ordered by a lock (`cancel::node`). No user code
//! under a lock.

#[cfg(all(watertight_loom, not(watertight_shuttle)))]
mod loom;
#[cfg(watertight_loom)]
mod modelled;
mod quietly;
#[cfg(watertight_shuttle)]
mod shuttle;
mod spares;
mod spin;
#[cfg(not(watertight_loom))]
mod std;
mod stripes;
mod waiter;

#[cfg(test)]
mod contract;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
pub(crate) mod model;

#[cfg(all(watertight_loom, not(watertight_shuttle)))]
pub(crate) use self::loom::*;
#[cfg(watertight_loom)]
pub(crate) use self::modelled::{
    Condvar, Mutex, Parker, Unparker, look_after, look_again_at_leisure, nanos, nap, say, say_more,
};
pub(crate) use self::quietly::{drop_quietly, quietly};
#[cfg(watertight_shuttle)]
pub(crate) use self::shuttle::*;
pub(crate) use self::spares::Spares;
pub(crate) use self::spin::Patience;
pub use self::spin::Spin;
#[cfg(not(watertight_loom))]
pub(crate) use self::std::*;
pub(crate) use self::stripes::Striped;
pub(crate) use self::waiter::Waiter;

/// A number that is given once in the life of the process. Only ever compared, so it needs no model.
pub(crate) fn unique() -> u64 {
    use ::std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The same for what needs many: each thread takes a block of them at a time, so threads seldom meet at the one word. They
/// are in no order.
pub(crate) fn unique_of_many() -> u64 {
    use ::std::sync::atomic::{AtomicU64, Ordering};
    const BLOCK: u64 = 1 << 12;
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    ::std::thread_local! {
        /// The next of this thread's block; at the beginning of one there is none.
        static NEXT: ::std::cell::Cell<u64> = const { ::std::cell::Cell::new(0) };
    }
    NEXT.with(|next| {
        let mut here = next.get();
        if here % BLOCK == 0 {
            here = BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK + 1;
        }
        next.set(here + 1);
        here
    })
}

/// A count that nobody decides on: the same on both sides, because a model that branched at every one of them would see
/// nothing more for it.
pub(crate) use ::std::sync::atomic::AtomicU64 as Count;

/// A shared pointer to something of the user's (an observer): no protocol of ours hangs on its count, so it is the
/// same on both sides, and unlike loom's it takes a `dyn Trait`.
pub(crate) use ::std::sync::Arc as Shared;
