//! The edges: other people's types and ours, each behind a feature. Nothing below knows them.

mod drive;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(feature = "tokio-util", not(watertight_loom)))]
mod tokio_util;
