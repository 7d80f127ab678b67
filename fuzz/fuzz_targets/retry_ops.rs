//! The budget against exact arithmetic in 128 bits, with time that jumps; and schedules against their bounds.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use watertight::{Budget, Jitter, ManualClock, Retry};

#[derive(Arbitrary, Debug)]
struct Script {
    /// Of a per cent.
    millionths: u32,
    burst: u16,
    floor: u16,
    ops: Vec<Op>,
    base: u64,
    max: u64,
    attempts: u8,
    seed: u64,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Deposit(u8),
    Withdraw(u8),
    Pass(u32),
    PassLong(u16),
}

fn budget(script: &Script) {
    let time = ManualClock::new();
    let (burst, floor) = (u32::from(script.burst), u128::from(script.floor));
    let budget = Budget::percent(f64::from(script.millionths) / 1e6)
        .burst(burst)
        .floor(script.floor.into())
        .clock(&time.clock());
    let sound = script.millionths <= 100_000_000 && burst > 0;
    assert_eq!(Retry::constant(Duration::ZERO).budget(budget.clone()).validate().is_ok(), sound);
    if !sound {
        return;
    }
    let token = 100_000_000_u128;
    let second = 1_000_000_000_u128;
    // What there is of each, and what was had of the time, in its own unit.
    let (mut balance, mut now, mut spent) = (0_u128, 0_u128, 0_u128);
    let (mut firsts, mut retries) = (0_u64, 0_u64);
    for op in &script.ops {
        match op {
            Op::Deposit(n) => (0..*n).for_each(|_| {
                budget.deposit();
                firsts += 1;
                balance = (balance + u128::from(script.millionths)).min(u128::from(burst) * token);
            }),
            Op::Withdraw(n) => (0..*n).for_each(|_| {
                let share = balance >= token;
                spent = spent.max(now.saturating_sub(second));
                let each = if floor > 0 { second / floor } else { u128::MAX };
                let pays = share || now - spent >= each;
                assert_eq!(budget.try_withdraw(), pays);
                match (share, pays) {
                    (true, _) => balance -= token,
                    (false, true) => spent += each,
                    (false, false) => {}
                }
                retries += u64::from(pays);
            }),
            Op::Pass(nanos) => {
                time.advance(Duration::from_nanos((*nanos).into()));
                now += u128::from(*nanos);
            }
            Op::PassLong(seconds) => {
                time.advance(Duration::from_secs((*seconds).into()));
                now += u128::from(*seconds) * second;
            }
        }
        let stats = budget.stats();
        assert_eq!((stats.firsts, stats.retries), (firsts, retries));
        assert_eq!(u128::from(stats.available), balance / token);
    }
}

fn schedules(script: &Script) {
    let (base, max) = (Duration::from_nanos(script.base), Duration::from_nanos(script.max));
    let attempts = u32::from(script.attempts);
    let pauses = attempts.saturating_sub(1) as usize;
    let all = |retry: Retry| retry.max(max).attempts(attempts).seed(script.seed).schedule().collect::<Vec<_>>();
    let ceilings = all(Retry::exponential(base).jitter(Jitter::None));
    let spread = [Jitter::Full, Jitter::Equal].map(|jitter| all(Retry::exponential(base).jitter(jitter)));
    let decorrelated = all(Retry::decorrelated(base));
    assert!([&ceilings, &spread[0], &spread[1], &decorrelated].iter().all(|all| all.len() == pauses));
    for (i, ceiling) in ceilings.iter().enumerate() {
        assert!(*ceiling <= max && spread[0][i] <= *ceiling);
        assert!(spread[1][i] <= *ceiling && spread[1][i] >= *ceiling - *ceiling / 2);
        assert!(decorrelated[i] <= max && decorrelated[i] >= base.min(max));
    }
}

fuzz_target!(|script: Script| {
    budget(&script);
    schedules(&script);
});
