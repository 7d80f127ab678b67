//! Backtraces of panicking jobs: taken where the panic begins, which only the process's panic hook sees.
//!
//! **Invariant.** What the hook has noted is handed out at most once, and only for a panic of the same type and text: a payload
//! that is thrown without the hook, after a panic that the job has caught itself, is given no other's unless it is like that one. **Locking.** None.

#[cfg(not(watertight_loom))]
use super::shared::is_any_worker;
#[cfg(not(watertight_loom))]
use crate::sync::OnceLock;
use crate::sync::thread_local;
use std::any::{Any, TypeId};
use std::backtrace::Backtrace;
use std::cell::Cell;

/// Where a panic began, and what it was told apart by: the type of its payload, and its text, if it had one.
struct Noted {
    payload: TypeId,
    text: Option<Box<str>>,
    backtrace: Backtrace,
}

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static LAST: Cell<Option<Noted>> = Cell::new(None);
}

/// From now on panics in jobs carry a backtrace, to whoever joins ([`PanicPayload::backtrace`](crate::PanicPayload::backtrace))
/// and to the observer ([`Event::Panicked`](crate::event::Event::Panicked)), whatever `RUST_BACKTRACE` says. For programs to
/// call, not for libraries: it wraps the process's panic hook, which is called as before. Calling it again does nothing.
///
/// # Performance
///
/// A backtrace is captured for every panic on a worker's thread: some microseconds. Jobs that do not panic pay nothing.
///
/// # Panics
///
/// On a thread that is panicking.
///
/// # Examples
///
/// ```
/// use watertight::{pool, JobError, Pool};
///
/// pool::record_backtraces();
/// let pool = Pool::builder("traced").threads(1).build()?;
/// let Err(JobError::Panicked(payload)) = pool.job().name("rows").submit(|| panic!("no rows"))?.join() else {
///     unreachable!("it panics")
/// };
/// assert_eq!((payload.job(), payload.message()), (Some("rows"), Some("no rows")));
/// assert!(payload.backtrace().is_some());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub fn record_backtraces() {
    #[cfg(not(watertight_loom))]
    {
        static WRAPPED: OnceLock<()> = OnceLock::new();
        WRAPPED.get_or_init(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if is_any_worker() {
                    let payload = panic.payload();
                    let text = text(payload).map(Box::from);
                    let noted = Noted { payload: payload.type_id(), text, backtrace: Backtrace::force_capture() };
                    let _ = LAST.try_with(|last| last.set(Some(noted)));
                }
                before(panic);
            }));
        });
    }
}

#[cfg(not(watertight_loom))]
fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

#[cfg(watertight_loom)]
fn text(_: &(dyn Any + Send)) -> Option<&str> {
    None
}

/// Where the panic of this payload, which was just caught on this thread, began.
pub(super) fn of_panic(payload: &(dyn Any + Send)) -> Option<Backtrace> {
    let noted = LAST.try_with(Cell::take).ok().flatten()?;
    let same = noted.payload == payload.type_id() && noted.text.as_deref() == text(payload);
    same.then_some(noted.backtrace)
}
