//! [`Usl`]: throughput as a function of the number of threads, fitted to what was measured.
//!
//! **Invariants.** 1. λ > 0, σ ≥ 0, κ ≥ 0, all finite. 2. Of all curves of that shape none has a smaller sum of squared
//! relative residuals of 1/X.

use super::{MAX_RATE, MAX_THREADS};
use crate::error::BuildError;
use std::fmt;

/// The Universal Scalability Law (N. J. Gunther, 1993): `X(n) = λ·n / (1 + σ·(n − 1) + κ·n·(n − 1))`.
///
/// λ is the throughput of one thread. σ is contention, the share of the work that only one can do at a time: it bounds the
/// throughput by λ/σ (Amdahl). κ is crosstalk, what each pair costs: with it, throughput has a peak and falls again.
///
/// # Examples
///
/// ```
/// use watertight::sizing::Usl;
///
/// let measured = [(1, 990.0), (2, 1_890.0), (4, 3_290.0), (8, 4_950.0), (16, 5_380.0), (32, 4_290.0)];
/// let law = Usl::fit(measured)?;
/// assert!((law.lambda() - 1_000.0).abs() < 30.0);
/// assert_eq!(law.peak(), Some(14)); // more threads do less
/// assert!(law.residual() < 0.02); // the curve is within 2 % of what was measured
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usl {
    lambda: f64,
    sigma: f64,
    kappa: f64,
    residual: f64,
}

impl Usl {
    /// The law with these coefficients: `lambda` above 0 and at most 10⁹ a second, `sigma` and `kappa` from 0 to 1. Its
    /// [`residual`](Self::residual) is 0.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`], naming the coefficient and its range.
    pub fn new(lambda: f64, sigma: f64, kappa: f64) -> Result<Self, BuildError> {
        if !(lambda > 0.0 && lambda <= MAX_RATE) {
            return Err(BuildError::out_of_range("lambda", lambda, "above 0, to 1000000000 a second"));
        }
        for (field, value) in [("sigma", sigma), ("kappa", kappa)] {
            super::check_number(field, value, 0.0..=1.0, "0 to 1")?;
        }
        Ok(Self { lambda, sigma, kappa, residual: 0.0 })
    }

    /// Fits the law to pairs of threads (1 to 16,384) and throughput (above 0, to 10⁹ a second).
    ///
    /// Least squares on `n/X = 1/λ + (σ/λ)·(n − 1) + (κ/λ)·n·(n − 1)`, which is linear in what is sought (Gunther,
    /// *Guerrilla Capacity Planning*), each point weighted by its own throughput, so that a deviation of 1 % counts the
    /// same everywhere; σ and κ not below 0. Three points are met exactly, whatever they are; six or more say something.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`] for a point that cannot be; [`BuildError::Conflict`] if there are fewer than three
    /// different thread counts, or no curve of this shape comes near.
    pub fn fit(points: impl IntoIterator<Item = (usize, f64)>) -> Result<Self, BuildError> {
        let mut seen = Vec::new();
        for (threads, throughput) in points {
            if !(1..=MAX_THREADS).contains(&threads) {
                return Err(BuildError::out_of_range("threads", threads, "1 to 16384"));
            }
            if !(throughput > 0.0 && throughput <= MAX_RATE) {
                return Err(BuildError::out_of_range("throughput", throughput, "above 0, to 1000000000 a second"));
            }
            seen.push((threads as f64, throughput));
        }
        let mut different: Vec<_> = seen.iter().map(|(n, _)| *n as usize).collect();
        different.sort_unstable();
        different.dedup();
        if different.len() < 3 {
            return Err(BuildError::Conflict("a fit needs at least three different thread counts"));
        }
        let nothing = BuildError::Conflict("no curve of this shape comes near the measured points");
        Self::nearest(&seen).ok_or(nothing)
    }

    /// Non-negative least squares by trying which of σ and κ are 0: of two there are only four cases.
    fn nearest(points: &[(f64, f64)]) -> Option<Self> {
        let mut best: Option<(f64, Self)> = None;
        for free in [&[0usize, 1, 2][..], &[0, 1], &[0, 2], &[0]] {
            let Some(b) = solve(points, free) else { continue };
            let found = Self { lambda: 1.0 / b[0], sigma: b[1] / b[0], kappa: b[2] / b[0], residual: 0.0 };
            let fine = b[0] > 0.0 && b[1] >= 0.0 && b[2] >= 0.0 && found.lambda.is_finite();
            let squares: f64 = points.iter().map(|(n, x)| (1.0 - x / found.throughput(*n)).powi(2)).sum();
            if fine && squares.is_finite() && best.is_none_or(|(least, _)| squares < least) {
                best = Some((squares, found));
            }
        }
        let (_, mut law) = best?;
        let squares: f64 = points.iter().map(|(n, x)| (law.throughput(*n) / x - 1.0).powi(2)).sum();
        law.residual = (squares / points.len() as f64).sqrt();
        Some(law)
    }

    /// λ: jobs a second with one thread.
    pub fn lambda(&self) -> f64 {
        self.lambda
    }

    /// σ: contention. The share of the work that only one thread can do at a time, if the threads are all there is.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// κ: crosstalk. What each pair of threads costs, as a share of one job.
    pub fn kappa(&self) -> f64 {
        self.kappa
    }

    /// How far the curve is from the points of the fit: the root of the mean squared relative deviation. 0.05 is 5 %; above
    /// about that, do not believe the peak.
    pub fn residual(&self) -> f64 {
        self.residual
    }

    /// Jobs a second with `threads`; fractions of a thread are fine for plotting. 0 for 0 threads.
    pub fn throughput(&self, threads: f64) -> f64 {
        let (n, more) = (threads, threads - 1.0);
        self.lambda * n / (1.0 + self.sigma * more + self.kappa * n * more)
    }

    /// The part of n times the throughput of one thread that is reached with n `threads`.
    pub fn efficiency(&self, threads: f64) -> f64 {
        self.throughput(threads) / (self.lambda * threads)
    }

    /// How many threads do most: the better neighbour of `n* = √((1 − σ) / κ)`, at least 1. `None` if κ is 0: more threads
    /// always do more, if less and less.
    pub fn peak(&self) -> Option<usize> {
        if self.kappa <= 0.0 {
            return None;
        }
        let below = ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt().floor().max(1.0);
        let above = below + 1.0;
        Some(if self.throughput(above) > self.throughput(below) { above } else { below } as usize)
    }

    /// The most that any number of threads does a second; infinite if both σ and κ are 0.
    pub fn ceiling(&self) -> f64 {
        // Without crosstalk it is approached and not reached.
        self.peak().map_or(self.lambda / self.sigma, |n| self.throughput(n as f64))
    }

    /// The knee: the fewest threads that reach `share` (above 0, to 1) of the most that up to `most` threads do. At least 1
    /// and never more than `most`.
    ///
    /// # Examples
    ///
    /// ```
    /// let law = watertight::sizing::Usl::new(1_000.0, 0.05, 0.005)?;
    /// assert_eq!(law.peak(), Some(14));
    /// assert_eq!(law.knee(0.95, 64), 10); // the last 5 % cost four threads more
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn knee(&self, share: f64, most: usize) -> usize {
        let top = self.peak().map_or(most, |peak| peak.min(most)).max(1);
        let enough = share.clamp(0.0, 1.0) * self.throughput(top as f64);
        // Up to the peak the curve only rises.
        let (mut low, mut high) = (1, top);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.throughput(middle as f64) >= enough { high = middle } else { low = middle + 1 }
        }
        low
    }
}

impl fmt::Display for Usl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lambda, sigma, kappa, residual } = self;
        write!(f, "λ = {lambda:.1}/s, σ = {sigma:.4}, κ = {kappa:.6}")?;
        match self.peak() {
            Some(n) => write!(f, ", n* = √((1 − σ)/κ) ≈ {n} threads with {:.0}/s", self.ceiling())?,
            None if *sigma > 0.0 => write!(f, ", no peak, at most λ/σ = {:.0}/s", self.ceiling())?,
            None => write!(f, ", no bound seen")?,
        }
        write!(f, " (residual {:.1} %)", residual * 100.0)
    }
}

/// The weighted least squares of `n/X` on those of 1, n − 1 and n·(n − 1) that are `free`, the others 0. `None` if the
/// columns do not tell the coefficients apart.
///
/// By modified Gram-Schmidt, after scaling the columns to one length: with hundreds of threads the last is a hundred
/// thousand times the first, and the normal equations would square that.
fn solve(points: &[(f64, f64)], free: &[usize]) -> Option<[f64; 3]> {
    let column = |c: usize, (n, x): (f64, f64)| [1.0, n - 1.0, n * (n - 1.0)][c] * x / n;
    let mut q: Vec<Vec<f64>> = free.iter().map(|c| points.iter().map(|p| column(*c, *p)).collect()).collect();
    let mut rest = vec![1.0; points.len()];
    let mut r = [[0.0; 3]; 3];
    let mut scales = [1.0; 3];
    let mut along = [0.0; 3];
    for i in 0..q.len() {
        scales[i] = dot(&q[i], &q[i]).sqrt();
        if scales[i] <= 0.0 {
            return None;
        }
        q[i].iter_mut().for_each(|v| *v /= scales[i]);
    }
    for i in 0..q.len() {
        r[i][i] = dot(&q[i], &q[i]).sqrt();
        if r[i][i] < 1e-10 {
            return None;
        }
        let unit: Vec<f64> = q[i].iter().map(|v| v / r[i][i]).collect();
        for j in i + 1..q.len() {
            r[i][j] = dot(&unit, &q[j]);
            q[j].iter_mut().zip(&unit).for_each(|(v, u)| *v -= r[i][j] * u);
        }
        along[i] = dot(&unit, &rest);
        rest.iter_mut().zip(&unit).for_each(|(v, u)| *v -= along[i] * u);
    }
    let mut solved = [0.0; 3];
    for i in (0..q.len()).rev() {
        let known: f64 = (i + 1..q.len()).map(|j| r[i][j] * solved[j]).sum();
        solved[i] = (along[i] - known) / r[i][i];
    }
    let mut found = [0.0; 3];
    free.iter().enumerate().for_each(|(i, c)| found[*c] = solved[i] / scales[i]);
    Some(found)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
