//! The schedule: the same arrivals in every window, and phases that add up.

use super::*;

fn offsets(plan: &Plan, phase: Phase, replay_ms: u64) -> Vec<(u64, Route)> {
    let stretch = plan.stretch(phase).unwrap();
    let from = (stretch.from_ms + replay_ms) * 1_000;
    let to = (from + plan.window_ms * 1_000).min(stretch.end_ms() * 1_000);
    let within = plan.arrivals().into_iter().filter(|a| a.phase == phase && (from..to).contains(&a.at_us));
    within.map(|a| (a.at_us - from, a.route)).collect()
}

#[test]
fn every_window_replays_the_same_offsets() {
    let plan = Plan::full(Arch::D, 1.0);
    let before = offsets(&plan, Phase::Before, 0);
    assert!(before.len() > 3_000, "{} arrivals in a window of 4 s", before.len());
    assert_eq!(before, offsets(&plan, Phase::Before, 4_000));
    assert_eq!(before, offsets(&plan, Phase::Fault, 0));
    assert_eq!(before, offsets(&plan, Phase::Fault, 4_000));
    assert_eq!(before, offsets(&plan, Phase::After, 0));
    let burst = offsets(&plan, Phase::Burst, 0);
    assert_eq!(before[..burst.len()], burst[..], "a short window is a prefix");
    assert_eq!(plan.arrivals(), Plan::full(Arch::D, 1.0).arrivals(), "the seed is fixed");
}

#[test]
fn arrivals_keep_rate_shares_and_order() {
    let plan = Plan::full(Arch::D, 1.0);
    let window = plan.window();
    let all = window.len() as f64;
    assert!((all / 4.0 - RATE).abs() < 0.08 * RATE, "{all} arrivals");
    for route in Route::ALL {
        let part = window.iter().filter(|(_, r)| *r == route).count() as f64 / all;
        assert!((part - route.share()).abs() < 0.02, "{} has {part}", route.name());
    }
    assert!(plan.arrivals().is_sorted_by_key(|a| a.at_us));
    let half = Plan::full(Arch::D, 0.5).window().len() as f64;
    assert!((half / 4.0 - 0.5 * RATE).abs() < 0.08 * RATE, "{half} arrivals at half the rate");
}

#[test]
fn the_story_is_about_ninety_seconds_and_the_short_one_under_forty() {
    let all = [Arch::A, Arch::B, Arch::C, Arch::D].map(|arch| Plan::full(arch, 1.0).total());
    assert_eq!(all.into_iter().sum::<Duration>(), Duration::from_secs(87));
    let quick = Plan::quick(Arch::B, 1.0).total() + Plan::quick(Arch::D, 1.0).total();
    assert!(quick <= Duration::from_secs(36), "{quick:?}, and each architecture needs time to start and to drain");
}

#[test]
fn the_phase_at_a_moment() {
    let plan = Plan::full(Arch::D, 1.0);
    assert_eq!(plan.at(0).phase, Phase::WarmUp);
    assert_eq!(plan.at(9_999).phase, Phase::Before);
    assert_eq!(plan.at(10_000).phase, Phase::Fault);
    assert_eq!(plan.at(17_999).phase, Phase::Fault);
    assert_eq!(plan.at(99_000).phase, Phase::End);
}

/// 3 x 700 are more than 100 threads can carry, and luck must not make fewer of them.
#[test]
fn exactly_so_many_come_whatever_the_trigger() {
    for trigger in Trigger::ALL {
        let plan = Plan::metastable(trigger, false);
        let in_phase = |phase| plan.arrivals().into_iter().filter(|a| a.phase == phase).count() as f64;
        assert_eq!(in_phase(Phase::Before), 4.0 * OVERCOMMITTED_RATE);
        let times = if trigger == Trigger::Spike { Trigger::SPIKE } else { 1.0 };
        let come = in_phase(Phase::Fault) / (trigger.seconds() as f64 * OVERCOMMITTED_RATE * times);
        assert!((come - 1.0).abs() < 0.02, "{trigger:?}: {come}");
        assert!(plan.arrivals().is_sorted_by_key(|a| a.at_us));
        assert_eq!(plan.shared_threads(), OVERCOMMITTED_THREADS);
        let faults = Route::ALL.map(|r| trigger.fault(r) != Fault::None);
        let sick = match trigger {
            Trigger::Slow => [false, false, true],
            Trigger::Errors => [true; 3],
            Trigger::Spike => [false; 3],
        };
        assert_eq!(faults, sick);
    }
}
