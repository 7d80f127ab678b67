//! The laws against naive sums, published figures and planted coefficients; the recommendation at its edges.

use super::*;
use crate::Pool;
use crate::pool::PoolStats;
use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, Exp1};

const MS: Duration = Duration::from_millis(1);

fn near(found: f64, expected: f64, part: f64) {
    assert!((found - expected).abs() <= expected.abs() * part, "{found} is not {expected}");
}

/// B by its definition: a^c/c! over the sum of a^k/k!.
fn blocking_by_sums(servers: usize, load: f64) -> f64 {
    let term = |k: usize| (1..=k).map(|i| load / i as f64).product::<f64>();
    term(servers) / (0..=servers).map(term).sum::<f64>()
}

/// C by its definition.
fn waiting_by_sums(servers: usize, load: f64) -> f64 {
    let term = |k: usize| (1..=k).map(|i| load / i as f64).product::<f64>();
    let waiting = term(servers) * servers as f64 / (servers as f64 - load);
    waiting / ((0..servers).map(term).sum::<f64>() + waiting)
}

fn erlang(servers: usize, utilisation: f64) -> ErlangC {
    ErlangC::new(servers, utilisation * servers as f64, Duration::from_secs(1)).unwrap()
}

/// Waiting probability, mean wait and p99 wait in service times of M/M/c, computed elsewhere.
#[test]
fn erlang_c_gives_the_published_figures() {
    let published = [
        (1, 0.5, 0.500, 1.0, 7.8),
        (1, 0.9, 0.900, 9.0, 45.0),
        (2, 0.7, 0.576, 0.961, 6.8),
        (4, 0.5, 0.174, 0.087, 1.4),
        (4, 0.8, 0.596, 0.746, 5.1),
        (8, 0.7, 0.271, 0.113, 1.4),
        (8, 0.95, 0.844, 2.11, 11.1),
        (16, 0.8, 0.305, 0.095, 1.1),
        (16, 0.9, 0.591, 0.370, 2.6),
        (20, 0.75, 0.160, 0.032, 0.554),
    ];
    for (servers, utilisation, share, mean, p99) in published {
        let e = erlang(servers, utilisation);
        near(e.waiting_probability(), share, 0.005);
        near(e.mean_wait().unwrap().as_secs_f64(), mean, 0.01);
        near(e.wait_at(0.99).unwrap().as_secs_f64(), p99, 0.05);
        near(e.waiting_longer_than(e.wait_at(0.99).unwrap()), 0.01, 1e-6);
        near(e.mean_queue().unwrap(), e.mean_wait().unwrap().as_secs_f64() * utilisation * servers as f64, 1e-6);
    }
    assert_eq!(erlang(16, 0.5).wait_at(0.99), Some(Duration::ZERO), "fewer than one in a hundred wait");
    near(erlang(20, 0.75).blocking_probability(), 0.046, 0.01);
}

#[test]
fn erlang_c_is_finite_for_as_many_servers_as_a_pool_can_have() {
    for servers in [171, 500, 2_000, MAX_THREADS] {
        for utilisation in [0.01, 0.5, 0.9, 0.999, 0.999_999] {
            let e = erlang(servers, utilisation);
            let share = e.waiting_probability();
            assert!((0.0..=1.0).contains(&share), "{servers} {utilisation}: {share}");
            assert!(e.mean_wait().is_some() && e.wait_at(0.99).is_some() && e.mean_queue().unwrap().is_finite());
        }
    }
    // Halfin and Whitt's limit, for c = a + β·√a at β = 1: 0.223.
    near(ErlangC::new(10_100, 10_000.0, Duration::from_secs(1)).unwrap().waiting_probability(), 0.223, 0.01);
}

#[test]
fn a_load_that_is_too_high_is_unstable_and_never_nan() {
    for utilisation in [1.0, 1.5, 1_000.0] {
        let e = erlang(4, utilisation);
        assert!(!e.is_stable());
        assert_eq!((e.waiting_probability(), e.waiting_longer_than(Duration::MAX)), (1.0, 1.0));
        assert_eq!((e.mean_wait(), e.wait_at(0.5), e.mean_queue()), (None, None, None));
    }
    let none = ErlangC::new(1, 0.0, MS).unwrap();
    assert_eq!(
        (none.waiting_probability(), none.mean_wait(), none.wait_at(0.99)),
        (0.0, Some(Duration::ZERO), none.mean_wait())
    );
    assert_eq!(none.waiting_longer_than(Duration::ZERO), 0.0);
    for quantile in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(none.wait_at(quantile), None);
    }
    assert_eq!(none.variation(f64::NAN).mean_wait(), None);
    assert_eq!(none.variation(-1.0).mean_wait(), None);
}

#[test]
fn what_makes_no_sense_is_an_error_that_names_it() {
    let fields = |e: BuildError| e.to_string().split(' ').next().unwrap().to_owned();
    let of = |servers, rate, service| fields(ErlangC::new(servers, rate, service).unwrap_err());
    assert_eq!(of(0, 1.0, MS), "servers");
    assert_eq!(of(MAX_THREADS + 1, 1.0, MS), "servers");
    assert_eq!(of(1, -1.0, MS), "rate");
    assert_eq!(of(1, f64::NAN, MS), "rate");
    assert_eq!(of(1, f64::INFINITY, MS), "rate");
    assert_eq!(of(1, 1.0, Duration::ZERO), "service");
    assert_eq!(of(1, 1.0, Duration::MAX), "service");
    for (lambda, sigma, kappa, field) in
        [(0.0, 0.0, 0.0, "lambda"), (f64::NAN, 0.0, 0.0, "lambda"), (1.0, -0.1, 0.0, "sigma"), (1.0, 0.0, 1.1, "kappa")]
    {
        assert_eq!(fields(Usl::new(lambda, sigma, kappa).unwrap_err()), field);
    }
    assert_eq!(fields(Usl::fit([(0, 1.0)]).unwrap_err()), "threads");
    assert_eq!(fields(Usl::fit([(1, f64::NAN)]).unwrap_err()), "throughput");
    assert_eq!(fields(Usl::fit([(1, 0.0)]).unwrap_err()), "throughput");
    let few = Usl::fit([(1, 1.0), (1, 1.1), (2, 2.0), (2, 1.9)]).unwrap_err();
    assert_eq!(few.to_string(), "a fit needs at least three different thread counts");
    assert!(Usl::fit([]).is_err());
}

#[test]
fn one_server_with_equal_jobs_waits_half_as_long_as_with_exponential_ones() {
    let (random, equal) = (erlang(1, 0.8), erlang(1, 0.8).variation(0.0));
    near(equal.mean_wait().unwrap().as_secs_f64() * 2.0, random.mean_wait().unwrap().as_secs_f64(), 1e-9);
    assert_eq!(equal.waiting_probability(), random.waiting_probability());
}

proptest! {
    #[test]
    fn erlang_is_the_sum_it_stands_for(servers in 1usize..60, utilisation in 0.001f64..0.999) {
        let e = erlang(servers, utilisation);
        let load = e.offered();
        near(e.blocking_probability(), blocking_by_sums(servers, load), 1e-9);
        near(e.waiting_probability(), waiting_by_sums(servers, load), 1e-9);
    }

    #[test]
    fn more_threads_never_wait_longer(servers in 1usize..600, rate in 0.0f64..5_000.0, micros in 1u64..500_000, q in 0.0f64..0.999_9) {
        let service = Duration::from_micros(micros);
        let [fewer, more] = [servers, servers + 1].map(|c| ErlangC::new(c, rate, service).unwrap());
        prop_assert!(more.waiting_probability() <= fewer.waiting_probability());
        prop_assert!(more.blocking_probability() <= fewer.blocking_probability());
        let wait = |e: &ErlangC| (e.mean_wait().unwrap_or(Duration::MAX), e.wait_at(q).unwrap_or(Duration::MAX));
        let (fewer, more) = (wait(&fewer), wait(&more));
        prop_assert!(more.0 <= fewer.0 && more.1 <= fewer.1, "{more:?} {fewer:?}");
    }

    #[test]
    fn the_fewest_are_enough_and_one_less_is_not(rate in 0.0f64..2_000.0, micros in 1u64..200_000, wait in 0u64..100_000, cv in 0.0f64..3.0) {
        let (service, wait) = (Duration::from_micros(micros), Duration::from_micros(wait));
        let found = ErlangC::fewest(rate, service, cv, 0.99, wait).unwrap().unwrap();
        let of = |c| ErlangC::new(c, rate, service).unwrap().variation(cv);
        prop_assert_eq!(found, of(found.servers()));
        prop_assert!(found.wait_at(0.99).unwrap() <= wait);
        prop_assert!(found.servers() == 1 || of(found.servers() - 1).wait_at(0.99).is_none_or(|w| w > wait));
    }

    #[test]
    fn a_fit_finds_what_was_planted(lambda in 0.1f64..1e6, sigma in 0.0f64..0.9, kappa in 0.0f64..0.1) {
        let planted = Usl::new(lambda, sigma, kappa).unwrap();
        let found = Usl::fit([1, 2, 3, 4, 8, 16, 32, 64].map(|n| (n, planted.throughput(n as f64)))).unwrap();
        near(found.lambda(), lambda, 1e-6);
        prop_assert!((found.sigma() - sigma).abs() < 1e-6 && (found.kappa() - kappa).abs() < 1e-6, "{found}");
        prop_assert!(found.residual() < 1e-6);
    }

    #[test]
    fn a_fit_finds_what_was_planted_under_noise(
        sigma in 0.0f64..0.3, kappa in 0.0005f64..0.02, noise in proptest::collection::vec(-0.02f64..0.02, 9),
    ) {
        let planted = Usl::new(1_000.0, sigma, kappa).unwrap();
        let threads = [1, 2, 4, 6, 8, 12, 16, 32, 64];
        let points = threads.iter().zip(&noise).map(|(n, e)| (*n, planted.throughput(*n as f64) * (1.0 + e)));
        let found = Usl::fit(points).unwrap();
        prop_assert!(found.residual() < 0.03, "{found}");
        near(found.lambda(), 1_000.0, 0.06);
        for n in 1..=64 {
            near(found.throughput(f64::from(n)), planted.throughput(f64::from(n)), 0.06);
        }
        prop_assert!(found.sigma() >= 0.0 && found.kappa() >= 0.0);
    }

    #[test]
    fn no_other_thread_count_does_more_than_the_peak(sigma in 0.0f64..1.0, kappa in 0.0f64..1.0) {
        let law = Usl::new(100.0, sigma, kappa).unwrap();
        if let Some(peak) = law.peak() {
            for n in 1..200 {
                prop_assert!(law.throughput(f64::from(n)) <= law.throughput(peak as f64) * (1.0 + 1e-12));
            }
        }
        let knee = law.knee(0.9, 50);
        prop_assert!((1..=50).contains(&knee));
        let best = (1..=50).map(|n| law.throughput(f64::from(n))).fold(0.0, f64::max);
        prop_assert!(law.throughput(knee as f64) >= 0.9 * best * (1.0 - 1e-12));
        prop_assert!(knee == 1 || law.throughput(knee as f64 - 1.0) < 0.9 * best);
    }
}

/// Mean wait in service times, first come, first served, by playing it through: arrivals by chance, each job to whoever is
/// free first. `length` draws a job of mean 1.
fn simulated(servers: usize, utilisation: f64, jobs: u32, mut length: impl FnMut(&mut ChaCha8Rng) -> f64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let gap = Exp::new(utilisation * servers as f64).unwrap();
    let mut free = vec![0.0f64; servers];
    let (mut now, mut waited) = (0.0, 0.0);
    for _ in 0..jobs {
        now += gap.sample(&mut rng);
        let first = (0..servers).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap();
        let start = free[first].max(now);
        waited += start - now;
        free[first] = start + length(&mut rng);
    }
    waited / f64::from(jobs)
}

#[test]
fn erlang_c_is_what_a_simulation_shows() {
    for servers in [1, 2, 4, 8, 16] {
        for (utilisation, jobs) in [(0.5, 100_000), (0.7, 200_000), (0.9, 800_000)] {
            let shown = simulated(servers, utilisation, jobs, |rng| Exp1.sample(rng));
            let said = erlang(servers, utilisation).mean_wait().unwrap().as_secs_f64();
            // A twentieth, and a thousandth of a job where hardly any has to wait.
            assert!((shown - said).abs() <= 0.05 * said + 0.001, "{servers} at {utilisation}: {said}, shown {shown}");
        }
    }
}

#[test]
fn the_correction_for_other_service_times_is_near_a_simulation() {
    for servers in [1, 2, 4, 8] {
        let constant = simulated(servers, 0.8, 400_000, |_| 1.0);
        // One job in ten takes 5.5, the others 0.5: CV² = 2.25.
        let few_long = simulated(servers, 0.8, 800_000, |rng| if rng.random_bool(0.1) { 5.5 } else { 0.5 });
        for (shown, cv) in [(constant, 0.0), (few_long, 1.5)] {
            let said = erlang(servers, 0.8).variation(cv).mean_wait().unwrap().as_secs_f64();
            assert!((shown - said).abs() <= 0.15 * said, "{servers}, CV {cv}: {said}, shown {shown}");
        }
    }
}

#[test]
fn a_curve_that_only_rises_has_no_peak() {
    let linear = Usl::fit([(1, 10.0), (2, 20.0), (4, 40.0), (8, 80.0)]).unwrap();
    assert_eq!(linear.peak(), None);
    assert!(linear.sigma() < 1e-9 && linear.knee(1.0, 8) == 8);
    let amdahl = Usl::new(100.0, 0.1, 0.0).unwrap();
    assert_eq!((amdahl.peak(), amdahl.ceiling()), (None, 1_000.0));
    assert_eq!(
        amdahl.to_string(),
        "λ = 100.0/s, σ = 0.1000, κ = 0.000000, no peak, at most λ/σ = 1000/s (residual 0.0 %)"
    );
    // Better than linear is not in the law's power: it says linear, and that it does not fit.
    let beyond = Usl::fit([(1, 10.0), (2, 25.0), (4, 60.0), (8, 150.0)]).unwrap();
    assert_eq!((beyond.sigma(), beyond.kappa()), (0.0, 0.0));
    assert!(beyond.residual() > 0.1);
    assert_eq!(Usl::new(1.0, 1.0, 0.5).unwrap().peak(), Some(1));
}

fn stats() -> PoolStats {
    Pool::builder("sized").threads(2).queue(1_024).build().unwrap().stats()
}

fn load() -> Workload {
    Workload::per_second(30.0).service(100 * MS, 200 * MS).wait_budget(1_000 * MS)
}

#[test]
fn a_recommendation_can_be_built() {
    let over = |b: crate::pool::PoolBuilder| b.build().unwrap_err().to_string();
    assert_eq!(
        over(Pool::builder("x").threads(MAX_THREADS + 1)),
        format!("threads is 16385, must be 1 to {MAX_THREADS}")
    );
    assert_eq!(
        over(Pool::builder("x").threads(1).queue(MAX_QUEUE + 1)),
        format!("queue is 1048577, must be 0 to {MAX_QUEUE}")
    );
    let huge = Workload::per_second(MAX_RATE).service(MAX_TIME, MAX_TIME).wait_budget(MAX_TIME);
    let size = recommend(&stats(), &huge).unwrap();
    assert_eq!((size.threads, size.queue), (MAX_THREADS, 0));
    assert!(size.shortfall > 0.99 && size.to_string().contains("unstable"));
    let quick =
        Workload::per_second(1.0).service(Duration::from_nanos(1), Duration::from_nanos(1)).wait_budget(MAX_TIME);
    assert_eq!(recommend(&stats(), &quick).unwrap().queue, MAX_QUEUE);
}

#[test]
fn the_pool_of_ten_of_the_published_rule() {
    let size = recommend(&stats(), &load()).unwrap();
    assert_eq!(
        (size.threads, size.queue, size.limit, size.limit_now),
        (10, 80, Bottleneck::Threads, Bottleneck::Threads)
    );
    assert_eq!((size.capacity, size.capacity_now, size.shortfall), (100.0, 20.0, 0.0));
    assert_eq!(
        size.to_string(),
        "threads 10, queue 80; the limit is the number of threads
  busy        λ·S = 30/s × 100 ms = 3.00 threads (Little's law)
  bunches     R = λ·S_p99 = 30/s × 200 ms = 6.00; ⌈R + 1.5·√R⌉ = ⌈6.00 + 3.67⌉ = 10 threads (Hystrix's rule, square-root staffing)
  waits       p99 wait ≤ T − S_p99 = 1 s − 200 ms = 800 ms: from 4 threads on, 393 ms (Erlang-C)
  queue       ⌊c·(T − S_p99)/S⌋ = ⌊10 × (1 s − 200 ms) / 100 ms⌋ = 80
  then        capacity 100/s, used 30 %; 0.1 % wait, on average 16.53 µs, p99 0 ns (Erlang-C)
  now         threads 2, queue 1024: capacity 20/s for 30/s, limit: the number of threads; a full queue is 51.2 s long
  so far      0 accepted, 0 refused as full (0.0 %); 0 running, 0 queued"
    );
}

#[test]
fn the_output_shown_on_the_page_is_the_output() {
    let pool = Pool::builder("thumbnails").threads(4).queue(1_024).build().unwrap();
    let mut figures = pool.stats();
    figures.accepted = 3_000;
    let load = Workload::per_second(300.0).service(25 * MS, 60 * MS).cpu(5 * MS, 2.0).wait_budget(200 * MS);
    let text = recommend(&figures, &load).unwrap().to_string();
    for line in text.lines() {
        assert!(include_str!("mod.rs").contains(&format!("\n//! {line}\n")), "not on the page:\n{text}");
    }
}

#[test]
fn the_lowest_ceiling_is_the_limit() {
    let of = |w: Workload| {
        let size = recommend(&stats(), &w).unwrap();
        (size.threads, size.limit, size.limit_now)
    };
    let law = Usl::new(10.0, 0.0, 0.04).unwrap();
    assert_eq!(of(load().cpu(50 * MS, 2.0)), (4, Bottleneck::Cpu, Bottleneck::Threads));
    assert_eq!(of(load().cpu(100 * MS, 1.0)), (1, Bottleneck::Cpu, Bottleneck::Cpu));
    assert_eq!(of(load().cpu(Duration::ZERO, 1.0)), (10, Bottleneck::Threads, Bottleneck::Threads));
    assert_eq!(of(load().dependency(3)), (3, Bottleneck::Dependency, Bottleneck::Threads));
    assert_eq!(of(load().dependency(3).cpu(100 * MS, 2.0)), (2, Bottleneck::Cpu, Bottleneck::Cpu));
    assert_eq!(of(load().scaling(law)), (5, Bottleneck::Contention, Bottleneck::Threads));
    let short = recommend(&stats(), &load().cpu(100 * MS, 1.0)).unwrap();
    near(short.shortfall, 2.0 / 3.0, 1e-9);
    assert!(short.to_string().contains("unstable: the queue stays full, and at least 67 % are refused"), "{short}");
}

#[test]
fn a_budget_that_service_alone_uses_up_leaves_no_queue() {
    for budget in [10 * MS, 200 * MS] {
        let size = recommend(&stats(), &load().wait_budget(budget)).unwrap();
        assert_eq!(size.queue, 0);
        assert!(size.to_string().contains("only what starts at once is in time"), "{size}");
        assert_eq!(size.waits().wait_at(0.99), Some(Duration::ZERO));
    }
}

#[test]
fn no_arrivals_need_one_thread() {
    let size = recommend(&stats(), &Workload::per_second(0.0).service(MS, MS).wait_budget(10 * MS)).unwrap();
    assert_eq!((size.threads, size.queue, size.shortfall), (1, 9, 0.0));
    assert!(!size.to_string().contains("NaN"), "{size}");
}

#[test]
fn nonsense_in_a_workload_names_its_field() {
    let of = |w: Workload| recommend(&stats(), &w).unwrap_err().to_string();
    let range = "at least the mean, to 24 hours";
    assert_eq!(of(Workload::per_second(1.0)), "service(mean, p99) is missing");
    assert_eq!(of(Workload::per_second(1.0).service(MS, MS)), "wait_budget is missing");
    assert_eq!(of(Workload::per_second(f64::NAN)), "per_second is NaN, must be 0 to 1000000000");
    assert_eq!(of(Workload::per_second(-1.0)), "per_second is -1, must be 0 to 1000000000");
    assert_eq!(of(load().service(Duration::ZERO, MS)), "mean is 0ns, must be 1 ns to 24 hours");
    assert_eq!(of(load().service(2 * MS, MS)), format!("p99 is 1ms, must be {range}"));
    assert!(of(load().service(MS, Duration::MAX)).starts_with("p99 is "));
    assert_eq!(of(load().wait_budget(Duration::ZERO)), "wait_budget is 0ns, must be 1 ns to 24 hours");
    assert_eq!(of(load().variation(f64::INFINITY)), "variation is inf, must be 0 to 1000");
    assert_eq!(of(load().cpu(MS, 0.0)), "cpus is 0, must be above 0, to 16384");
    assert_eq!(of(load().cpu(MS, f64::NAN)), "cpus is NaN, must be above 0, to 16384");
    assert!(of(load().cpu(Duration::MAX, 1.0)).starts_with("per_job is "));
    assert_eq!(of(load().dependency(0)), "dependency is 0, must be 1 to 16384");
}

#[test]
fn the_rate_counts_what_was_refused_for_want_of_a_place() {
    let earlier = stats();
    let mut later = earlier;
    (later.accepted, later.refused_full, later.refused_ended) = (90, 10, 1_000);
    assert_eq!(arrival_rate(&earlier, &later, Duration::from_secs(10)).unwrap(), 10.0);
    assert!(arrival_rate(&later, &earlier, Duration::from_secs(10)).is_err());
    assert!(arrival_rate(&earlier, &later, Duration::ZERO).is_err());
}

proptest! {
    #[test]
    fn what_is_recommended_keeps_its_invariants(
        rate in 0.0f64..10_000.0, mean in 1u64..1_000_000, tail in 0u64..5_000_000, budget in 1u64..10_000_000,
        cpu in 0u64..1_000_000, cpus in 0.1f64..64.0, calls in proptest::option::of(1usize..200),
    ) {
        let us = Duration::from_micros;
        let mut load = Workload::per_second(rate).service(us(mean), us(mean + tail)).wait_budget(us(budget)).cpu(us(cpu), cpus);
        if let Some(calls) = calls {
            load = load.dependency(calls);
        }
        let size = recommend(&stats(), &load).unwrap();
        prop_assert!((1..=calls.unwrap_or(MAX_THREADS)).contains(&size.threads));
        prop_assert!((0.0..=1.0).contains(&size.shortfall));
        let last = wait_in_queue(size.queue, size.threads, us(mean)) + us(mean + tail);
        prop_assert!(size.queue == 0 || last <= us(budget) + us(1));
        let text = size.to_string();
        prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{}", text);
    }
}
