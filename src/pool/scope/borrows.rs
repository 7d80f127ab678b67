//! What does not compile, and why: misuse of a scope that would let a job use what is gone. Each with the error that it must
//! fail with (rustdoc looks at the number on a nightly compiler; on any other, only at the failure).
//!
//! What is borrowed ends before the scope does:
//!
//! ```compile_fail,E0597
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! pool.scope(|s| {
//!     let inside = vec![1, 2, 3];
//!     let borrowed = &inside;
//!     s.submit(move || borrowed.len());
//! });
//! ```
//!
//! The loop's variable is borrowed, for want of a `move`:
//!
//! ```compile_fail,E0373
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! pool.scope(|s| {
//!     for part in 1..4 {
//!         s.submit(|| part + 1);
//!     }
//! });
//! ```
//!
//! A job changes what another reads:
//!
//! ```compile_fail,E0502
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! let mut list = vec![1];
//! pool.scope(|s| {
//!     s.submit(|| list.push(2));
//!     s.submit(|| list.len());
//! });
//! ```
//!
//! What is captured must not go to another thread:
//!
//! ```compile_fail,E0277
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! let here = std::rc::Rc::new(1);
//! pool.scope(|s| {
//!     s.submit(|| *here);
//! });
//! ```
//!
//! The scope leaks out of itself:
//!
//! ```compile_fail,E0521
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! let mut leaked: Option<&watertight::pool::Scope<'_, '_>> = None;
//! pool.scope(|s| leaked = Some(s));
//! ```
//!
//! A handle leaks out whose result borrows from inside ("lifetime may not live long enough", which has no number):
//!
//! ```compile_fail
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! let mut leaked = None;
//! pool.scope(|s| leaked = Some(s.submit(move || s)));
//! ```
//!
//! A handle outlives what its result borrows:
//!
//! ```compile_fail,E0597
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! let handle = {
//!     let text = String::from("gone");
//!     pool.scope(|s| s.submit(|| text.as_str()))
//! };
//! handle.join().unwrap();
//! ```
//!
//! Two scopes mixed up: the outer one's jobs last longer than what the inner one may borrow:
//!
//! ```compile_fail,E0597
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! pool.scope(|outer| {
//!     let middle = 1;
//!     pool.scope(|inner| {
//!         inner.submit(|| middle); // fine
//!         outer.submit(|| &middle);
//!     });
//! });
//! ```
//!
//! What a map's closure borrows ends before the scope does:
//!
//! ```compile_fail,E0373
//! let pool = watertight::Pool::builder("p").threads(1).build().unwrap();
//! pool.scope(|s| {
//!     let factor = 2;
//!     let doubled = s.map(vec![1, 2], |n| n * factor);
//!     doubled.count()
//! });
//! ```
