//! The limit on open descriptors: the unbounded architectures hold thousands of connections at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one and returns what is allowed now.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.unwrap_or(u64::MAX)
}

/// Fails when the collapse that the story shows would be one of descriptors: each open request of (b) takes one in the
/// generator and one in the gateway, and some are needed besides.
pub(crate) fn check(allowed: u64, open: f64) -> std::io::Result<()> {
    let needed = (open * 1.3) as u64 + 1_000;
    if allowed >= needed {
        return Ok(());
    }
    Err(std::io::Error::other(format!(
        "{allowed} open files are allowed, but {needed} are needed: raise the hard limit (ulimit -Hn), or use a smaller \
         --rate-scale"
    )))
}
