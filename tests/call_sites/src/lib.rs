//! The call sites that must read well, as a dependent would write them: if one of these has to change, so has everybody
//! else's code. Each is compiled, and run by the test beside it.

pub mod breaker;
pub mod bulkhead;
pub mod limits;
pub mod pool;
pub mod tokens;
