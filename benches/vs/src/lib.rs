//! What the benches have in common: the pools side by side, rounds and ratios, work of a known length, and what the
//! kernel counts.

pub mod kernel;
pub mod ours;
pub mod peers;
pub mod published;
pub mod table;
pub mod work;
