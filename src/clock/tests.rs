//! Alarms of both clocks: what rings, in which order, and what disarming says.

use super::{Alarm, Clock};
use crate::ManualClock;
use crate::sync::{Mutex, Waiter};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::Wake;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Does something when it is woken.
struct Does<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn that(does: impl Fn() + Send + Sync + 'static) -> Waiter {
    Waiter::task(&Arc::new(Does(does)).into())
}

fn says(name: u32, to: &Sender<u32>) -> Waiter {
    let to = to.clone();
    that(move || to.send(name).unwrap())
}

#[test]
fn the_system_clock_rings_in_order_and_disarming_says_what_came_of_it() {
    let (clock, (to, rung)) = (Clock::system(), channel());
    let now = clock.now();
    let arm = |name: u32, after: Duration| clock.wake_at(now + after, says(name, &to)).expect("a timer thread");
    let far = arm(0, 3600 * SECOND);
    let alarms: Vec<_> = [40, 20, 30].into_iter().map(|ms| arm(ms, Duration::from_millis(ms.into()))).collect();
    let in_time = clock.now() < now + Duration::from_millis(20);
    let order: Vec<_> = rung.iter().take(3).collect();
    assert!(order.is_sorted() || !in_time, "{order:?}");
    assert!(alarms.into_iter().all(|alarm| !alarm.disarm()), "they have rung");
    assert!(far.disarm(), "an hour before it was to ring");
}

#[test]
fn a_manual_clock_rings_in_order_and_disarming_says_what_came_of_it() {
    let (time, (to, rung)) = (ManualClock::new(), channel());
    let (clock, now) = (time.clock(), time.now());
    let arm = |name: u32| clock.wake_at(now + name * SECOND, says(name, &to));
    let [one, two, three, four] = [3, 1, 2, 4].map(|name| arm(name).unwrap());
    assert!(two.disarm(), "in time");
    time.advance(3 * SECOND);
    assert_eq!(rung.try_iter().collect::<Vec<_>>(), [2, 3]);
    assert!(!one.disarm() && !three.disarm(), "too late");
    assert!(arm(3).is_none() && rung.try_recv() == Ok(3), "what is due rings at once and is not armed");
    drop(four);
    time.advance(3600 * SECOND);
    assert_eq!((rung.try_recv().ok(), time.waiting()), (None, 0));
}

#[test]
fn a_waker_may_disarm_itself_and_others_and_arm_again() {
    let (time, (to, rung)) = (ManualClock::new(), channel());
    let (clock, now) = (time.clock(), time.now());
    let alarms: Arc<Mutex<Vec<Alarm>>> = Arc::default();
    let (of_all, again, tell) = (alarms.clone(), clock.clone(), to.clone());
    let first = that(move || {
        let all = std::mem::take(&mut *of_all.lock());
        let called_off: Vec<_> = all.into_iter().map(Alarm::disarm).collect();
        assert_eq!(called_off, [false, true, true], "itself, which rings, and two that were due with it");
        *of_all.lock() = again.wake_at(now + 2 * SECOND, says(4, &tell)).into_iter().collect();
        tell.send(0).unwrap();
    });
    let all = [first, says(1, &to), says(2, &to)].map(|waiter| clock.wake_at(now + SECOND, waiter).unwrap());
    alarms.lock().extend(all);
    time.advance(SECOND);
    assert_eq!((rung.try_iter().collect::<Vec<_>>(), time.waiting()), (vec![0], 1));
    time.advance(SECOND);
    assert_eq!((rung.try_iter().collect::<Vec<_>>(), time.waiting()), (vec![4], 0));
}
