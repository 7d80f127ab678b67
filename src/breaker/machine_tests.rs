//! What the machine alone promises. That it is right as a whole is seen from outside: `tests/breaker_model.rs`.

use super::*;

const OK: Option<Seen> = Some(Seen { failed: false, slow: false });
const FAILED: Option<Seen> = Some(Seen { failed: true, slow: false });
const SECOND: u64 = 1_000_000_000;

fn machine(trip: &Trip, recovery: &Recovery) -> Machine {
    Machine::new(trip, recovery, 0, 1)
}

fn steady() -> Recovery {
    Recovery::after(Duration::from_secs(1)).growth(1.0)
}

fn never() -> u64 {
    unreachable!("no need to know")
}

#[test]
fn a_closed_machine_never_asks_the_time_of_a_call_that_changes_nothing() {
    let mut machine = machine(&Trip::consecutive(2).or_slow_rate(0.5, Duration::from_secs(1)), &Recovery::default());
    for seen in [FAILED, OK, None, FAILED] {
        let ticket = machine.admit(never).unwrap();
        assert!(!machine.record(ticket, seen, never));
        assert_eq!((machine.state(never), machine.take_change()), (BreakerState::Closed, None));
    }
    machine.force(BreakerState::ForcedOpen);
    assert_eq!(machine.admit(never), Err(5 * SECOND));
    machine.force(BreakerState::ForcedClosed);
    assert!(machine.admit(never).is_ok());
}

#[test]
fn time_that_runs_backwards_only_lengthens_the_wait() {
    let mut machine = machine(&Trip::consecutive(1), &steady());
    let ticket = machine.admit(never).unwrap();
    machine.record(ticket, FAILED, || 100 * SECOND);
    assert_eq!(machine.admit(|| 50 * SECOND), Err(51 * SECOND));
    assert!(machine.admit(|| 101 * SECOND).is_ok());
    assert!(machine.admit(|| 3).is_err(), "the probe is out, and its lease is not over");
}

/// What the holder may decide by itself is what the machine would have done: a success it calls indifferent, given to
/// the machine all the same, changes nothing but the count it says.
#[test]
fn what_the_view_calls_indifferent_is() {
    let trips = [
        Trip::consecutive(3),
        Trip::rate(0.5).last(4).min_calls(2),
        Trip::rate(0.5).within(Duration::from_secs(10)).min_calls(4),
        Trip::rate(0.3).within(Duration::from_secs(10)).min_calls(2).or_consecutive(4),
        Trip::rate(0.9).or_slow_rate(0.5, Duration::from_secs(1)).last(3),
    ];
    let seen = |n: u64| Some(Seen { failed: n % 3 == 0, slow: n % 7 == 0 });
    let mut looked = [0; 4];
    for (trip, script) in trips.iter().flat_map(|trip| (0..2_000_u64).map(move |script| (trip, script))) {
        let mut m = machine(trip, &steady());
        for step in 0..10 {
            let now = step * (script % 5) * SECOND / 2;
            let Ok(ticket) = m.admit(|| now) else { break };
            m.record(ticket, seen(script >> step), || now);
            m.take_change();
            let (view, mut told) = (m.view(), m.clone());
            let mut folded = m.clone();
            let (mode, calls, counted) = match view.mode {
                Mode::Clean => (0, 1, 0),
                Mode::CountUntil(until) if now < until => (1, 1 + script % 7, 1 + script % 7),
                Mode::CountTo(most) => (2, 1 + script % 70, u64::from(most).min(1 + script % 70)),
                _ => {
                    looked[3] += 1;
                    continue;
                }
            };
            looked[mode] += 1;
            for _ in 0..calls {
                let ticket = Ticket { epoch: view.epoch, probe: 0 };
                assert!(!told.record(ticket, OK, || now) && told.change.is_none(), "{trip:?}");
            }
            folded.fold(counted);
            assert_eq!((told.counts(), told.view()), (folded.counts(), folded.view()), "{trip:?}");
            if mode == 0 {
                assert_eq!((told.counts(), told.view()), (m.counts(), view), "{trip:?}");
            }
        }
    }
    assert!(looked.iter().all(|n| *n > 1_000), "{looked:?}");
}

#[test]
fn chance_is_spread_between_zero_and_one() {
    let mut dice = 42;
    let rolled: Vec<_> = (0..10_000).map(|_| chance(&mut dice)).collect();
    assert!(rolled.iter().all(|c| (0.0..1.0).contains(c)));
    let mean = rolled.iter().sum::<f64>() / 10_000.0;
    assert!((0.48..0.52).contains(&mean), "{mean}");
}

#[test]
fn a_flapping_dependency_is_left_alone_longer_and_health_makes_up_for_it() {
    let mut m = machine(&Trip::consecutive(1), &Recovery::after(Duration::from_secs(1)).jitter(0.0));
    let mut now = 0;
    let mut flap = |healthy: u64| {
        now += healthy;
        let ticket = m.admit(|| now).unwrap();
        m.record(ticket, FAILED, || now);
        let waits = m.take_change().unwrap().retry_after.unwrap();
        now += nanos(waits);
        let probe = m.admit(|| now).unwrap();
        m.record(probe, OK, || now);
        m.take_change().unwrap();
        waits.as_secs()
    };
    assert_eq!([(); 8].map(|()| flap(0)), [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(flap(59 * SECOND), 60);
    assert_eq!(flap(60 * SECOND), 60, "one step back, and one on");
    assert_eq!(flap(180 * SECOND), 60, "the steps above the cap were counted too");
    assert_eq!(flap(3_600 * SECOND), 1);
}

/// The same failure once more is no outcome: nobody is asked about it, by whatever rules.
#[test]
fn an_own_rule_is_not_asked_about_a_lumped_failure() {
    let lumps = |trip: Trip| trip.lump(Duration::from_nanos(10));
    let mut machine = machine(&lumps(Trip::own(|counts| counts.failures > 8)), &steady());
    for (at, asked) in [(5, true), (14, false), (15, true)] {
        let ticket = machine.admit(never).unwrap();
        assert_eq!(machine.record(ticket, FAILED, || at), asked, "at {at}");
    }
}
