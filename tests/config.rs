//! Configurations from text and back: what is read is what was written, what is not said is as the builders have it, and
//! what is wrong is said by whoever finds it.

use proptest::option::of;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;
use watertight::config::*;
use watertight::cpus::Pin;
use watertight::permit::{Order, Oversize, Share};
use watertight::pool::{Spin, Wake};
use watertight::{Budget, Bulkhead, Isolation, Jitter, OnFull, Pool, Recovery, Retry, Trip};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

/// By either format.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(it: &T) {
    let toml = toml::to_string(it).unwrap();
    assert_eq!(&toml::from_str::<T>(&toml).unwrap(), it, "{toml}");
    let json = serde_json::to_string(it).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), it, "{json}");
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..10_000).prop_map(Duration::from_millis),
        (0_u64..1 << 40).prop_map(Duration::from_nanos),
        (0_u64..1 << 40).prop_map(Duration::from_secs),
    ]
}

/// Numbers as people write them, to the thousandth.
fn up_to(most: u32) -> impl Strategy<Value = f64> {
    (0..=most * 1_000).prop_map(|n| f64::from(n) / 1_000.0)
}

prop_compose! {
    fn trip()(
        rate in of(up_to(1)),
        slow in of((up_to(1), duration())),
        consecutive in of(any::<u32>()),
        window in of(prop_oneof![any::<u32>().prop_map(WindowConfig::Last), duration().prop_map(WindowConfig::Within)]),
        min_calls in of(any::<u32>()),
        lump in of(duration()),
    ) -> TripConfig {
        let mut trip = TripConfig::default();
        (trip.rate, trip.consecutive, trip.window) = (rate, consecutive, window);
        trip.slow_rate = slow.map(|(rate, over)| SlowConfig { rate, over });
        (trip.min_calls, trip.lump) = (min_calls, lump);
        trip
    }
}

prop_compose! {
    fn recovery()(
        after in of(duration()),
        (growth, jitter) in (of(up_to(100)), of(up_to(1))),
        (at_most, probe_timeout) in (of(duration()), of(duration())),
        (probes, successes, ramp) in (of(any::<u32>()), of(any::<u32>()), of(any::<u32>())),
    ) -> RecoveryConfig {
        let mut recovery = RecoveryConfig::default();
        (recovery.after, recovery.growth, recovery.jitter) = (after, growth, jitter);
        (recovery.at_most, recovery.probe_timeout) = (at_most, probe_timeout);
        (recovery.probes, recovery.successes, recovery.ramp) = (probes, successes, ramp);
        recovery
    }
}

prop_compose! {
    fn retry()(
        kind in 0_u8..3,
        base in duration(),
        (max, expect) in (of(duration()), of(duration())),
        attempts in of(any::<u32>()),
        jitter in of(prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal)]),
        budget in of((up_to(100), of(any::<u32>()), of(any::<u32>()))),
    ) -> RetryConfig {
        let kinds = [PauseConfig::Exponential, PauseConfig::Decorrelated, PauseConfig::Constant];
        let mut retry = RetryConfig::new(kinds[usize::from(kind)](base));
        (retry.max, retry.expect, retry.attempts, retry.jitter) = (max, expect, attempts, jitter);
        retry.budget = budget.map(|(percent, burst, floor)| {
            let mut budget = BudgetConfig::percent(percent);
            (budget.burst, budget.floor) = (burst, floor);
            budget
        });
        retry
    }
}

prop_compose! {
    fn bulkhead()(
        isolation in prop_oneof![
            (0_usize..100_000).prop_map(IsolationConfig::Threads),
            (0_usize..100_000).prop_map(IsolationConfig::Permits),
        ],
        timeout in of(duration()),
        (queue, fallbacks, max_wait) in (of(0_usize..100_000), of(0_usize..100_000), of(duration())),
        resizable in of((0_usize..100_000, 0_usize..100_000)),
        breaker in of((trip().boxed(), recovery().boxed())),
        retry in of(retry().boxed()),
        partitions in prop::collection::btree_map("[a-z .]{1,8}", (any::<bool>(), up_to(1)), 0..3),
    ) -> BulkheadConfig {
        let mut config = BulkheadConfig::new(isolation, timeout.map_or(Timeout::Never, Timeout::After));
        (config.queue, config.fallbacks, config.retry) = (queue, fallbacks, retry);
        config.max_wait = max_wait;
        config.resizable = resizable.map(|(threads, queue)| ResizableConfig { threads, queue });
        let share = |(kept, of)| if kept { Share::Kept(of) } else { Share::Lent(of) };
        config.partitions = partitions.into_iter().map(|(name, of)| (name, share(of))).collect();
        config.breaker = breaker.map(|(trip, recovery)| {
            let mut breaker = BreakerConfig::default();
            (breaker.trip, breaker.recovery) = (trip, recovery);
            breaker
        });
        config
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(config in bulkhead()) {
        comes_back(&config);
    }
}

#[test]
fn pools_and_limits_come_back_too() {
    comes_back(&PoolConfig::default());
    for pin in [Pin::No, Pin::Cores, Pin::Numa, Pin::Node(3)] {
        for (on_full, spin, wake) in [
            (OnFullConfig::Wait, Spin::Never, Wake::Lifo),
            (OnFullConfig::Refuse, Spin::Brief, Wake::Fifo),
            (OnFullConfig::CallerRuns, Spin::Adaptive, Wake::Fifo),
            (OnFullConfig::DropNewest, Spin::Brief, Wake::Lifo),
            (OnFullConfig::DropOldest, Spin::Brief, Wake::Lifo),
        ] {
            let mut pool = PoolConfig::default();
            (pool.threads, pool.queue, pool.stack_size, pool.retire_after) = (Some(2), Some(0), Some(1 << 20), Some(9));
            (pool.pin, pool.on_full, pool.spin, pool.wake) = (Some(pin), Some(on_full), Some(spin), Some(wake));
            pool.resizable = Some(ResizableConfig { threads: 4, queue: 8 });
            comes_back(&pool);
        }
    }
    let mut limit = LimitConfig::new(10);
    comes_back(&limit);
    (limit.queue, limit.max_wait) = (Some(3), Some(MS * 1_500));
    (limit.order, limit.oversize) = (Some(Order::Lifo), Some(Oversize::Refuse));
    limit.partitions = BTreeMap::from([("live".into(), Share::Lent(0.9)), ("batch".into(), Share::Kept(0.1))]);
    comes_back(&limit);
    let limit = limit.builder().build().unwrap();
    assert!(limit.partition("live").is_some() && limit.partition("batch").is_some());
}

/// What can be seen of a builder.
fn shown(it: impl Debug) -> String {
    let text = format!("{it:?}");
    // A budget that has a floor counts from when it was made.
    text.split(", clock").next().unwrap_or_default().to_owned()
}

#[test]
fn what_is_not_said_is_as_the_builders_have_it() {
    let read: BulkheadConfig = toml::from_str("isolation = { permits = 3 }\ntimeout = 'never'").unwrap();
    assert_eq!(read, BulkheadConfig::new(IsolationConfig::Permits(3), Timeout::Never));
    let by_hand = Bulkhead::builder("b", Isolation::Permits(3)).no_timeout();
    assert_eq!(shown(read.builder("b")), shown(by_hand));
    let read: PoolConfig = toml::from_str("").unwrap();
    assert_eq!(shown(read.builder("p")), shown(Pool::builder("p")));
    let read: BreakerConfig = toml::from_str("").unwrap();
    assert_eq!((read.trip.trip(), read.recovery.recovery()), (Trip::default(), Recovery::default()));
    let read: RetryConfig = toml::from_str("pause = { exponential = '50ms' }\nbudget = { percent = 20 }").unwrap();
    assert_eq!(shown(read.retry()), shown(Retry::exponential(MS * 50).budget(Budget::percent(20))));
    let read: LimitConfig = toml::from_str("permits = 3").unwrap();
    assert_eq!(shown(read.builder()), shown(watertight::Limit::builder(3)));
}

#[test]
fn what_is_said_is_as_by_hand() {
    let read: BulkheadConfig = toml::from_str(
        "isolation = { threads = 2 }
         queue = 10
         timeout = '1m 500ms'
         fallbacks = 3
         [breaker]
         trip = { rate = 0.5, slow_rate = { rate = 1, over = '2s' }, consecutive = 7, window = { within = '10s' }, \
                  min_calls = 30, lump = '10ms' }
         recovery = { after = '3s', growth = 1.5, at_most = '30s', jitter = 0.25, probes = 4, successes = 3, \
                      probe_timeout = '1s', ramp = 2 }
         [retry]
         pause = { exponential = '50ms' }
         max = '1s'
         attempts = 4
         jitter = 'equal'
         expect = '150ms'
         budget = { percent = 20, burst = 100, floor = 5 }",
    )
    .unwrap();
    let trip =
        Trip::rate(0.5).or_slow_rate(1.0, SEC * 2).or_consecutive(7).within(SEC * 10).min_calls(30).lump(MS * 10);
    let recovery = Recovery::after(SEC * 3).growth(1.5).at_most(SEC * 30).jitter(0.25).probes(4).successes(3);
    let recovery = recovery.probe_timeout(SEC).ramp(2);
    let retry = Retry::exponential(MS * 50).max(SEC).attempts(4).jitter(Jitter::Equal).expect(MS * 150);
    let retry = retry.budget(Budget::percent(20).burst(100).floor(5));
    let by_hand = Bulkhead::builder("b", Isolation::Threads(2)).queue(10).timeout(MS * 60_500).fallbacks(3);
    assert_eq!(shown(read.builder("b")), shown(by_hand.breaker(trip, recovery).retry(retry)));
    let most: BulkheadConfig = toml::from_str(
        "isolation = { threads = 2 }\nqueue = 1\ntimeout = '1s'\nresizable = { threads = 3, queue = 5 }",
    )
    .unwrap();
    let by_hand = Bulkhead::builder("b", Isolation::Threads(2)).queue(1).timeout(SEC).resizable(3, 5);
    assert_eq!(shown(most.builder("b")), shown(by_hand));
    let state = read.builder("b").build().unwrap().state();
    assert_eq!((state.limit, state.queue, state.breaker.is_some()), (2, 10, true));

    let trips = [
        ("consecutive = 5", Trip::consecutive(5)),
        ("slow_rate = { rate = 0.5, over = '1s' }", Trip::slow_rate(0.5, SEC)),
        ("slow_rate = { rate = 0.5, over = '1s' }\nconsecutive = 5", Trip::slow_rate(0.5, SEC).or_consecutive(5)),
        ("window = { last = 50 }", Trip::rate(0.5).last(50)),
    ];
    for (text, trip) in trips {
        assert_eq!(toml::from_str::<TripConfig>(text).unwrap().trip(), trip);
    }
    let read: PoolConfig = toml::from_str(
        "threads = 2\nqueue = 4\nstack_size = 131072\npin = { node = 1 }\non_full = 'drop_oldest'\nspin = 'never'\n\
         resizable = { threads = 3, queue = 5 }\nwake = 'fifo'\nretire_after = 1000",
    )
    .unwrap();
    let by_hand =
        Pool::builder("p").threads(2).queue(4).stack_size(131_072).pin(Pin::Node(1)).on_full(OnFull::DropOldest);
    let by_hand = by_hand.spin(Spin::Never).resizable(3, 5).wake(Wake::Fifo).retire_after(1_000);
    assert_eq!(shown(read.builder("p")), shown(by_hand));
}

#[test]
fn two_compartments_of_one_configuration_pay_from_two_budgets() {
    let mut config = BulkheadConfig::new(IsolationConfig::Permits(1), SEC);
    let mut retry = RetryConfig::new(PauseConfig::Constant(Duration::ZERO));
    retry.budget = Some(BudgetConfig::percent(100));
    config.retry = Some(retry);
    let (a, b) = (config.builder("a").build().unwrap(), config.builder("b").build().unwrap());
    let cx = watertight::Context::background();
    a.call_here(&cx, |_| Ok::<_, ()>(())).unwrap(); // what a has earned b cannot spend
    assert!(b.idempotent().call_here(&cx, |_| Err::<(), _>(())).is_err());
    assert!(b.idempotent().call_here(&cx, |_| Err::<(), _>(())).is_err());
    assert_eq!((a.state().attempts, b.state().attempts), (1, 4));
}

/// What is wrong with a text, in both formats' common words.
fn refused<T: DeserializeOwned + Debug>(text: &str) -> String {
    toml::from_str::<T>(text).unwrap_err().message().to_owned()
}

#[test]
fn unknown_fields_are_refused_wherever_they_are() {
    let with =
        |more: &str| refused::<BulkheadConfig>(&format!("isolation = {{ permits = 1 }}\ntimeout = '1s'\n{more}"));
    for (more, field) in [
        ("timeuot = '1s'", "timeuot"),
        ("name = 'payments'", "name"),
        ("breaker = { tripp = {} }", "tripp"),
        ("breaker = { trip = { rates = 0.5 } }", "rates"),
        ("breaker = { trip = { slow_rate = { rate = 0.5, over = '1s', at = 1 } } }", "at"),
        ("breaker = { recovery = { afters = '1s' } }", "afters"),
        ("retry = { pause = { constant = '1s' }, attempt = 3 }", "attempt"),
        ("retry = { pause = { constant = '1s' }, budget = { percent = 1, brust = 3 } }", "brust"),
    ] {
        let said = with(more);
        assert!(said.starts_with(&format!("unknown field `{field}`, expected ")), "{said}");
    }
    assert!(refused::<PoolConfig>("thread = 1").starts_with("unknown field `thread`, expected one of `threads`"));
    assert!(refused::<PoolConfig>("resizable = { threads = 1, queue = 1, x = 1 }").starts_with("unknown field `x`"));
    assert!(refused::<LimitConfig>("permits = 1\nwait = 1").starts_with("unknown field `wait`"));
    for (more, variant) in [
        ("retry = { pause = { linear = '1s' } }", "linear"),
        ("retry = { pause = { constant = '1s' }, jitter = 'some' }", "some"),
        ("breaker = { trip = { window = { first = 3 } } }", "first"),
    ] {
        let said = with(more);
        assert!(said.starts_with(&format!("unknown variant `{variant}`, expected ")), "{said}");
    }
}

#[test]
fn what_must_be_given_is_asked_for() {
    assert_eq!(refused::<BulkheadConfig>("timeout = '1s'"), "missing field `isolation`");
    assert_eq!(refused::<BulkheadConfig>("isolation = { threads = 1 }"), "missing field `timeout`");
    assert_eq!(refused::<RetryConfig>("attempts = 3"), "missing field `pause`");
    assert_eq!(refused::<BudgetConfig>("burst = 3"), "missing field `percent`");
    assert_eq!(refused::<LimitConfig>("queue = 3"), "missing field `permits`");
}

#[test]
fn durations_have_a_unit() {
    let of = |text: &str| refused::<BulkheadConfig>(&format!("isolation = {{ permits = 1 }}\ntimeout = {text}"));
    const WANTED: &str = "a duration with its unit, such as \"250ms\", \"5s\" or \"1h 30m\"";
    assert_eq!(of("5"), format!("invalid type: integer `5`, expected {WANTED}, or \"never\""));
    assert_eq!(of("'soon'"), format!("\"soon\" is not {WANTED}: expected number at 0"));
    for text in ["'5'", "'5 parsecs'", "''", "'-1s'", "'99999999999999999999s'"] {
        assert!(of(text).contains(WANTED), "{}", of(text));
    }
    let said = refused::<RecoveryConfig>("after = 5.5");
    assert_eq!(said, format!("invalid type: floating point `5.5`, expected {WANTED}"));
    assert!(refused::<PauseConfig>("exponential = 'x'").contains(WANTED));
    for (text, d) in [("250ms", MS * 250), ("1h 30m", SEC * 5_400), ("0s", Duration::ZERO), ("2us", MS / 500)] {
        let read: RecoveryConfig = toml::from_str(&format!("after = '{text}'")).unwrap();
        assert_eq!(read.after, Some(d), "{text}");
    }
    let read: RecoveryConfig = serde_json::from_str(r#"{ "after": null }"#).unwrap();
    assert_eq!(read, RecoveryConfig::default());
}

#[test]
fn nonsense_is_refused_when_it_is_built_by_name_and_range() {
    let built = |more: &str| {
        let text = format!("isolation = {{ permits = 1 }}\n{more}");
        toml::from_str::<BulkheadConfig>(&text).unwrap().builder("b").build().unwrap_err().to_string()
    };
    assert_eq!(built("timeout = '25h'"), "timeout is 90000s, must be above 0 and at most one day");
    assert_eq!(built("timeout = '1s'\nqueue = 2000000"), "queue is 2000000, must be 0 to 1048576");
    assert_eq!(built("timeout = '1s'\nfallbacks = 0"), "fallbacks is 0, must be 1 to 2147483647");
    assert_eq!(
        built("timeout = '1s'\nbreaker = { trip = { rate = 1.5 } }"),
        "rate is 1.5, must be above 0 and at most 1"
    );
    assert_eq!(
        built("timeout = '1s'\nbreaker = { trip = { rate = nan } }"),
        "rate is NaN, must be above 0 and at most 1"
    );
    assert_eq!(
        built("timeout = '1s'\nbreaker = { trip = { consecutive = 3, min_calls = 5 } }"),
        "last, within and min_calls belong to rates, not to Trip::consecutive"
    );
    assert_eq!(built("timeout = '1s'\nbreaker = { recovery = { probes = 0 } }"), "probes is 0, must be 1 to 10000");
    assert_eq!(
        built("timeout = '1s'\nretry = { pause = { constant = '1s' }, attempts = 0 }"),
        "attempts is 0, must be 1 to 1000"
    );
    assert_eq!(
        built("timeout = '1s'\nretry = { pause = { constant = '1s' }, budget = { percent = 120 } }"),
        "percent is 120, must be 0 to 100"
    );
    let pool: PoolConfig = toml::from_str("threads = 0").unwrap();
    assert_eq!(pool.builder("p").build().unwrap_err().to_string(), "threads is 0, must be 1 to 16384");
    let limit: LimitConfig = toml::from_str("permits = 0").unwrap();
    assert!(limit.builder().build().unwrap_err().to_string().contains("is 0, must be 1 to"));
}

prop_compose! {
    fn different()(
        config in bulkhead().boxed(),
        said in prop::array::uniform6(any::<bool>()),
        (no_breaker, no_retry) in (any::<bool>(), any::<bool>()),
    ) -> BulkheadOverride {
        let mut own = BulkheadOverride::default();
        own.isolation = said[0].then_some(config.isolation);
        own.timeout = said[1].then_some(config.timeout);
        own.queue = config.queue.filter(|_| said[2]);
        own.breaker = config.breaker.map(OrOff::As).or(no_breaker.then_some(OrOff::Off)).filter(|_| said[3]);
        own.retry = config.retry.map(OrOff::As).or(no_retry.then_some(OrOff::Off)).filter(|_| said[4]);
        own.fallbacks = config.fallbacks.filter(|_| said[5]);
        own.max_wait = config.max_wait;
        own.partitions = Some(config.partitions).filter(|parts| !parts.is_empty());
        own
    }
}

fn replaced<T: Clone>(own: &Option<OrOff<T>>, shared: &Option<T>) -> Option<T> {
    match own {
        Some(OrOff::As(own)) => Some(own.clone()),
        Some(_) => None,
        None => shared.clone(),
    }
}

proptest! {
    #[test]
    fn an_override_replaces_what_it_says_and_nothing_else(
        shared in bulkhead().boxed(), own in different().boxed(), keys in 0_usize..1_000, residence in of(duration()),
    ) {
        let is = own.over(&shared);
        prop_assert_eq!(is.isolation, own.isolation.unwrap_or(shared.isolation));
        prop_assert_eq!(is.timeout, own.timeout.unwrap_or(shared.timeout));
        prop_assert_eq!((is.queue, is.fallbacks), (own.queue.or(shared.queue), own.fallbacks.or(shared.fallbacks)));
        prop_assert_eq!(&is.breaker, &replaced(&own.breaker, &shared.breaker));
        prop_assert_eq!(&is.retry, &replaced(&own.retry, &shared.retry));
        prop_assert_eq!(BulkheadOverride::default().over(&shared), shared.clone());

        let mut registry = RegistryConfig::new(keys, shared.clone());
        registry.residence = residence;
        registry.overrides.insert("a.b c".into(), own);
        prop_assert_eq!((registry.of("a.b c"), registry.of("other")), (is, shared));
        comes_back(&registry);
    }
}

const HOSTS: &str = "
    keys = 2
    residence = '1m'
    [shared]
    isolation = { permits = 8 }
    timeout = '2s'
    breaker = {}
    [overrides.big]
    isolation = { permits = 64 }
    queue = 5
    [overrides.plain]
    breaker = 'off'
    retry = { pause = { constant = '1ms' } }
";

#[test]
fn a_registry_has_what_all_share_and_what_is_different_for_some() {
    let config: RegistryConfig = toml::from_str(HOSTS).unwrap();
    let time = watertight::ManualClock::new();
    let named = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let names = named.clone();
    let hosts = config.registry_with(&time.clock(), move |key, builder| {
        names.lock().unwrap().push(key.to_owned());
        builder.observer(watertight::event::from_fn(|_| {}))
    });
    let hosts = hosts.unwrap();
    assert_eq!(hosts.residence(), SEC * 60);
    let big = hosts.get("big").unwrap();
    assert_eq!((big.state().limit, big.state().queue, big.breaker().is_some()), (64, 5, true));
    let long = "x".repeat(63) + "é and so on";
    assert_eq!(hosts.get(long.as_str()).unwrap().name(), "x".repeat(63));
    assert!(hosts.get("plain").is_err()); // the long one is new
    time.advance(SEC * 60);
    let plain = hosts.get("plain").unwrap();
    assert_eq!((plain.state().limit, plain.breaker().is_some()), (8, false));
    assert_eq!(*named.lock().unwrap(), ["big", &long, "plain"]);
}

#[test]
fn what_makes_no_sense_for_some_key_is_found_when_the_registry_is_made() {
    let with = |more: &str| {
        let config: RegistryConfig = toml::from_str(&format!("{HOSTS}{more}")).unwrap();
        let e = config.registry().unwrap_err();
        (e.to_string(), e.source.to_string())
    };
    let (place, what) = with("[overrides.odd]\ntimeout = '0s'");
    assert_eq!(place, "the override of \"odd\" makes no sense");
    assert_eq!(what, "timeout is 0ns, must be above 0 and at most one day");
    assert_eq!(with("[overrides.odd]\nisolation = { threads = 20000 }").1, "threads is 20000, must be 1 to 16384");
    assert!(with("[overrides.odd]\nisolation = { permits = 0 }").1.contains("is 0, must be 1"));
    assert!(with("[overrides.odd]\nbreaker = { trip = { consecutive = 0 } }").1.starts_with("consecutive is 0"));
    assert!(with("[overrides.'']\nqueue = 1").1.ends_with("must not be empty"));
    for absurd in ["0s", "2d", "5M"] {
        let absurd: RegistryConfig = toml::from_str(&HOSTS.replace("'1m'", &format!("'{absurd}'"))).unwrap();
        let refused = absurd.check().unwrap_err().source.to_string();
        assert!(refused.ends_with("must be above 0 and at most one day"), "{refused}");
    }
    let none: RegistryConfig = toml::from_str(&HOSTS.replace("keys = 2", "keys = 0")).unwrap();
    assert_eq!(none.check().unwrap_err().source.to_string(), "keys is 0, must be 1 or more");
    let absurd: RegistryConfig = toml::from_str(&HOSTS.replace("'2s'", "'2 days'")).unwrap();
    assert_eq!(absurd.check().unwrap_err().to_string(), "the configuration makes no sense");

    let refused = |more: &str| refused::<RegistryConfig>(&format!("{HOSTS}{more}"));
    assert!(refused("[overrides.odd]\ntimeuot = '1s'").starts_with("unknown field `timeuot`"));
    assert!(refused("[overrides.odd]\nbreaker = { trips = {} }").starts_with("unknown field `trips`"));
    assert_eq!(refused("[overrides.odd]\nretry = 'none'"), "\"none\" is neither settings nor \"off\"");
    assert_eq!(refused("[overrides.odd]\nretry = 3"), "invalid type: integer `3`, expected settings, or \"off\"");
    assert!(refused("[override.odd]").starts_with("unknown field `override`"));
}

#[test]
fn what_belongs_to_threads_is_no_setting_of_permits() {
    let mut shared = BulkheadConfig::new(IsolationConfig::Threads(4), SEC);
    shared.resizable = Some(ResizableConfig { threads: 8, queue: 16 });
    assert!(shared.builder("threads").check().is_ok());
    let mut own = BulkheadOverride::default();
    assert_eq!(own.over(&shared).resizable, shared.resizable);
    own.isolation = Some(IsolationConfig::Permits(4));
    assert_eq!(own.over(&shared).resizable, None, "it is not this one's to inherit");
    assert!(own.over(&shared).builder("permits").check().is_ok());
    own.resizable = shared.resizable;
    let said = own.over(&shared).builder("permits").check().unwrap_err().to_string();
    assert!(said.starts_with("resizable is for threads"), "{said}");

    let mut shared = BulkheadConfig::new(IsolationConfig::Permits(4), SEC);
    shared.partitions.insert("live".into(), Share::Lent(0.5));
    shared.max_wait = Some(SEC);
    let mut own = BulkheadOverride::default();
    assert_eq!(own.over(&shared).partitions, shared.partitions);
    own.isolation = Some(IsolationConfig::Threads(4));
    assert!(own.over(&shared).partitions.is_empty() && own.over(&shared).max_wait.is_none());
    assert!(own.over(&shared).builder("threads").check().is_ok());
    own.partitions = Some(shared.partitions.clone());
    let said = own.over(&shared).builder("threads").check().unwrap_err().to_string();
    assert!(said.starts_with("partition is for permits"), "{said}");
}
