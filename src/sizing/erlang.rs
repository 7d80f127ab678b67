//! [`ErlangC`]: how long jobs wait that arrive at random and are served by c threads.
//!
//! **Invariants.** 1. Utilisation 1 and more is unstable: everybody waits, without bound, and no figure is NaN. 2. With
//! the same load, more servers never wait longer.

use super::{MAX_RATE, MAX_THREADS, check_duration, check_number, seconds};
use crate::error::BuildError;
use std::time::Duration;

/// Erlang's second formula: waits in front of c servers when jobs arrive at random (M/M/c, A. K. Erlang, 1917).
///
/// Arrivals are Poisson, service times exponential, the queue is endless and first come, first served. Real service times
/// vary less or more than that: see [`variation`](Self::variation). Bounded queues wait less, because they refuse.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::sizing::ErlangC;
///
/// // 300 jobs a second of 50 ms on 20 threads: 15 busy.
/// let pool = ErlangC::new(20, 300.0, Duration::from_millis(50))?;
/// assert_eq!(pool.utilisation(), 0.75);
/// assert!((pool.waiting_probability() - 0.16).abs() < 0.001);
/// assert_eq!(pool.mean_wait().unwrap().as_micros(), 1_604);
/// assert_eq!(pool.wait_at(0.5), Some(Duration::ZERO)); // most do not wait at all
/// assert!(pool.wait_at(0.99).unwrap() < Duration::from_millis(28));
/// // With fewer threads than are busy on average, the queue grows for ever.
/// let small = ErlangC::new(15, 300.0, Duration::from_millis(50))?;
/// assert!(!small.is_stable() && small.mean_wait().is_none());
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ErlangC {
    servers: usize,
    rate: f64,
    service: Duration,
    blocking: f64,
    stretch: f64,
}

impl ErlangC {
    /// `servers` threads (1 to 16,384), `rate` arrivals a second (0 to 10⁹), and a job's mean `service` time (1 ns to
    /// 24 hours). Takes a number of steps that grows with `servers`.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`], naming the field and its range.
    pub fn new(servers: usize, rate: f64, service: Duration) -> Result<Self, BuildError> {
        if !(1..=MAX_THREADS).contains(&servers) {
            return Err(BuildError::out_of_range("servers", servers, "1 to 16384"));
        }
        check_number("rate", rate, 0.0..=MAX_RATE, "0 to 1000000000 a second")?;
        check_duration("service", service)?;
        let load = rate * service.as_secs_f64();
        let blocking = (1..=servers).fold(1.0, |b, k| one_more_server(b, load, k));
        Ok(Self { servers, rate, service, blocking, stretch: 1.0 })
    }

    /// The fewest servers of which a share `quantile` of the jobs waits at most `wait`. `None` if `quantile` is not from 0
    /// to below 1, if `variation` is negative or not finite, or if 16,384 are not enough.
    ///
    /// `variation` as in [`variation`](Self::variation).
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new).
    pub fn fewest(
        rate: f64,
        service: Duration,
        variation: f64,
        quantile: f64,
        wait: Duration,
    ) -> Result<Option<Self>, BuildError> {
        let mut tried = Self::new(1, rate, service)?.variation(variation);
        while tried.wait_at(quantile).is_none_or(|w| w > wait) {
            if tried.servers == MAX_THREADS {
                return Ok(None);
            }
            tried.servers += 1;
            tried.blocking = one_more_server(tried.blocking, tried.offered(), tried.servers);
        }
        Ok(Some(tried))
    }

    /// Corrects the waits for service times that vary otherwise than exponential ones: by `(1 + CV²) / 2` (Allen and
    /// Cunneen's approximation of M/G/c; exact for one server by Pollaczek and Khinchine, but for the percentiles).
    ///
    /// `cv` is the standard deviation of the service time divided by its mean: 0 if all jobs take the same time, 1, the
    /// default, if it is exponential, more if a few take very long. It changes no probability of having to wait. Negative
    /// or not finite: no wait is known any more.
    #[must_use]
    pub fn variation(mut self, cv: f64) -> Self {
        self.stretch = if cv >= 0.0 { f64::midpoint(1.0, cv * cv) } else { f64::NAN };
        self
    }

    /// How many threads serve.
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// The offered load in erlangs: how many servers would be busy if there were enough of them. [Little's
    /// law](super::in_flight) of rate and service time.
    pub fn offered(&self) -> f64 {
        self.rate * self.service.as_secs_f64()
    }

    /// The offered load per server, ρ. 1 and more: [unstable](Self::is_stable).
    pub fn utilisation(&self) -> f64 {
        self.offered() / self.servers as f64
    }

    /// Whether the queue has a mean length: the utilisation is below 1. Else it grows for as long as the load lasts, and
    /// only a bounded queue that refuses, or less load, helps.
    pub fn is_stable(&self) -> bool {
        self.utilisation() < 1.0
    }

    /// Erlang's first formula (B): the share refused if nobody could wait at all, 0 to 1.
    pub fn blocking_probability(&self) -> f64 {
        self.blocking
    }

    /// Erlang's second formula (C): the share that has to wait, 0 to 1. 1 if it is not [stable](Self::is_stable).
    pub fn waiting_probability(&self) -> f64 {
        if !self.is_stable() {
            return 1.0;
        }
        // Not from factorials, which overflow at 171: from B, which is a product of numbers below 1.
        (self.blocking / (1.0 - self.utilisation() * (1.0 - self.blocking))).clamp(0.0, 1.0)
    }

    /// `1 / (c·μ − λ)`: how long those wait on average who wait at all.
    fn mean_of_those_who_wait(&self) -> Option<f64> {
        let room = self.servers as f64 - self.offered();
        let mean = self.stretch * self.service.as_secs_f64() / room;
        (room > 0.0 && mean.is_finite()).then_some(mean)
    }

    /// The mean wait, those who do not wait included. `None` if it is not [stable](Self::is_stable).
    pub fn mean_wait(&self) -> Option<Duration> {
        Some(seconds(self.waiting_probability() * self.mean_of_those_who_wait()?))
    }

    /// How many wait, on average: [Little's law](super::in_flight) of the rate and the mean wait. `None` if it is not
    /// [stable](Self::is_stable).
    pub fn mean_queue(&self) -> Option<f64> {
        Some(self.rate * self.waiting_probability() * self.mean_of_those_who_wait()?)
    }

    /// The wait that a share `quantile` of the jobs does not exceed: 0.99 for the p99. `None` if it is not
    /// [stable](Self::is_stable) or `quantile` is not from 0 to below 1: there is no longest wait.
    pub fn wait_at(&self, quantile: f64) -> Option<Duration> {
        if !(0.0..1.0).contains(&quantile) {
            return None;
        }
        // P(W > t) = C·e^(−t / mean of those who wait)
        let longer = self.waiting_probability() / (1.0 - quantile);
        Some(seconds(self.mean_of_those_who_wait()? * longer.ln().max(0.0)))
    }

    /// The share that waits longer than `wait`, 0 to 1. 1 if it is not [stable](Self::is_stable).
    pub fn waiting_longer_than(&self, wait: Duration) -> f64 {
        let mean = self.mean_of_those_who_wait();
        mean.map_or(1.0, |mean| match wait.as_secs_f64() / mean {
            means if means.is_nan() => 0.0, // no time at all against no wait at all
            means => self.waiting_probability() * (-means).exp(),
        })
    }
}

/// B of `k` servers from B of one less: `a·B / (k + a·B)`. Each step divides by more than it multiplies, so errors shrink.
fn one_more_server(blocking: f64, load: f64, k: usize) -> f64 {
    let b = load * blocking;
    b / (k as f64 + b)
}
