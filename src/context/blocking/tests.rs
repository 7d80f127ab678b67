use super::super::Context;
use super::*;
use crate::sync::channel::{Sender, bounded};
use crate::wait::{Nothing, block_on};
use crate::{CancelCause, CancelToken, Interrupted, ManualClock};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{scope, yield_now};
use std::time::{Duration, Instant};

const CANCELLED: Interrupted = Interrupted::Cancelled(CancelCause::Requested);

fn ended() -> (Context, CancelToken) {
    let token = CancelToken::new();
    token.cancel();
    (Context::background().with_token(&token), token)
}

#[test]
fn what_is_there_is_received_before_the_end_is_looked_at() {
    let (cx, _) = ended();
    let (send, receive) = bounded(2);
    assert_eq!(cx.send(&send, 1).map_err(ChannelError::from), Ok(()), "there was room");
    send.send(2).unwrap();
    let refused = cx.send(&send, 3).unwrap_err();
    assert_eq!((refused.reason, refused.into_value()), (ChannelError::Interrupted(CANCELLED), 3));
    assert_eq!((cx.recv(&receive), cx.recv(&receive)), (Ok(1), Ok(2)));
    assert_eq!(cx.recv(&receive), Err(ChannelError::Interrupted(CANCELLED)));
    drop(send);
    assert_eq!(cx.recv(&receive), Err(ChannelError::Closed));
    let (send, receive) = bounded(0);
    drop(receive);
    let refused = cx.send(&send, 4).unwrap_err();
    assert_eq!((refused.reason, refused.into_value()), (ChannelError::Closed, 4));
}

#[test]
fn a_blocked_receive_and_a_blocked_send_meet_end_and_close() {
    let time = ManualClock::new();
    let token = CancelToken::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1)).with_token(&token);
    let blocked = |n| {
        while time.waiting() < n {
            yield_now();
        }
    };
    let (send, receive) = bounded(0); // both sides select, and must find each other
    scope(|s| {
        let receiver = s.spawn(|| cx.recv(&receive));
        blocked(1);
        assert!(cx.send(&send, "met").is_ok());
        assert_eq!(receiver.join().unwrap(), Ok("met"));
        let sender = s.spawn(|| cx.send(&send, "back").map_err(Unsent::into_value));
        blocked(1);
        assert_eq!(cx.recv(&receive), Ok("back"));
        assert_eq!(sender.join().unwrap(), Ok(()));
    });
    assert_eq!((time.waiting(), cx.token().registrations()), (0, 0));
    scope(|s| {
        let receiver = s.spawn(|| cx.recv(&receive));
        blocked(1);
        time.advance(Duration::from_secs(1));
        assert_eq!(receiver.join().unwrap(), Err(ChannelError::Interrupted(Interrupted::DeadlinePassed)));
    });
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1)).with_token(&token);
    let (full, kept) = bounded(1);
    full.send("first").unwrap();
    scope(|s| {
        let sender = s.spawn(|| cx.send(&full, "second").map_err(|unsent| (unsent.reason, unsent.into_value())));
        let receiver = s.spawn(|| cx.recv(&receive));
        blocked(2);
        token.cancel();
        assert_eq!(sender.join().unwrap(), Err((ChannelError::Interrupted(CANCELLED), "second")));
        assert_eq!(receiver.join().unwrap(), Err(ChannelError::Interrupted(CANCELLED)));
    });
    assert_eq!((kept.len(), time.waiting(), cx.token().registrations()), (1, 0, 0));
    scope(|s| {
        let receiver = s.spawn(|| Context::background().recv(&receive));
        drop(send);
        assert_eq!(receiver.join().unwrap(), Err(ChannelError::Closed));
    });
}

#[test]
fn a_receive_ends_at_the_deadline_of_the_systems_clock() {
    let (_send, receive) = bounded::<()>(1);
    let cx = Context::background().with_timeout(Duration::from_millis(5));
    assert_eq!(cx.recv(&receive), Err(ChannelError::Interrupted(Interrupted::DeadlinePassed)));
    assert!(cx.token().is_cancelled(), "and tells those below");
    assert_eq!(cx.token().registrations(), 0);
}

/// Whoever selects until an instant of a clock that stands still would spin from then on.
#[test]
fn a_channel_is_selected_until_the_deadline_of_the_systems_clock_only() {
    let until = |cx: &Context| channel::drive(cx, Nothing::<Option<Instant>>::new(), |_, until| Some(until)).unwrap();
    let hour = Duration::from_secs(3600);
    let cx = Context::background().with_timeout(hour);
    assert!(until(&cx).is_some_and(|at| cx.deadline().instant() == Some(at)));
    assert_eq!(until(&Context::background()), None);
    assert_eq!(until(&Context::background().with_clock(&ManualClock::new().clock()).with_timeout(hour)), None);
}

/// Goes on until it has happened: values enough, and interruptions enough.
#[test]
fn receivers_and_senders_that_are_cancelled_all_the_time_lose_nothing() {
    let (send, receive) = bounded(1);
    let stop = Mutex::new(CancelToken::new());
    let fresh = || Context::background().with_token(&stop.lock().unwrap());
    let interrupted = AtomicUsize::new(0);
    let enough = |sent: usize| sent >= 1_000 && interrupted.load(Relaxed) >= 100;
    let fill = |half: usize, send: Sender<usize>| {
        let mut sent = 0;
        while !enough(sent) {
            let mut value = 2 * sent + half;
            while let Err(unsent) = fresh().send(&send, value) {
                interrupted.fetch_add(1, Relaxed);
                value = unsent.into_value();
            }
            sent += 1;
        }
        sent
    };
    let (mut received, [even, odd]) = scope(|s| {
        let fill = &fill;
        let senders = [0, 1].map(|half| {
            let send = send.clone();
            s.spawn(move || fill(half, send))
        });
        drop(send);
        let receiver = s.spawn(|| {
            let mut received = Vec::new();
            loop {
                match fresh().recv(&receive) {
                    Ok(value) => received.push(value),
                    Err(ChannelError::Interrupted(_)) => _ = interrupted.fetch_add(1, Relaxed),
                    Err(ChannelError::Closed) => return received,
                }
            }
        });
        while !receiver.is_finished() {
            let before = std::mem::take(&mut *stop.lock().unwrap());
            before.cancel();
        }
        (receiver.join().unwrap(), senders.map(|sender| sender.join().unwrap()))
    });
    received.sort_unstable();
    let mut all: Vec<_> = (0..even).map(|n| 2 * n).chain((0..odd).map(|n| 2 * n + 1)).collect();
    all.sort_unstable();
    assert!(received == all, "each once");
}

#[test]
fn a_condition_tells_the_first_in_line_and_all_of_them() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let condition = Condition::new();
    let lock = parking_lot::RwLock::new(0);
    let waits = |value: i32| {
        let (cx, condition, lock) = (&cx, &condition, &lock);
        move || cx.wait_while(condition, lock.read(), || lock.read(), |guard| **guard < value).map(|guard| *guard)
    };
    condition.notify_one(); // kept for nobody
    scope(|s| {
        let first = s.spawn(waits(1));
        while condition.places().0 < 1 {
            yield_now();
        }
        let second = s.spawn(waits(1));
        while condition.places().0 < 2 {
            yield_now();
        }
        *lock.write() = 1;
        condition.notify_one();
        assert_eq!(first.join().unwrap(), Ok(1));
        assert_eq!(condition.places(), (1, 0));
        condition.notify_all();
        assert_eq!(second.join().unwrap(), Ok(1));
        let late = s.spawn(waits(2));
        while time.waiting() < 1 {
            yield_now();
        }
        time.advance(Duration::from_secs(1));
        assert_eq!(late.join().unwrap(), Err(Interrupted::DeadlinePassed));
    });
    assert_eq!((condition.places(), time.waiting(), cx.token().registrations()), ((0, 0), 0, 0));
    assert_eq!(waits(1)(), Ok(1), "what holds is seen before the end");
    assert!(lock.try_write().is_some(), "no guard is left");
}

#[test]
fn a_notification_of_one_is_passed_on_and_one_of_all_is_not() {
    let condition = Condition::new();
    let [first, second] = [condition.join(), condition.join()];
    condition.notify_all();
    let third = condition.join();
    assert_eq!(condition.places(), (1, 2));
    drop(first);
    assert_eq!(condition.places(), (1, 1), "the third came later");
    drop(block_on(second, &Context::background()));
    assert_eq!(condition.places(), (1, 0));
    let fourth = condition.join();
    condition.notify_one();
    drop(third);
    assert_eq!(condition.places(), (0, 1), "the fourth was told instead");
    block_on(fourth, &Context::background()).unwrap().used();
}

#[test]
fn a_notification_to_one_whose_lock_panics_is_passed_on() {
    let condition = Condition::new();
    scope(|s| {
        let panics = s.spawn(|| Context::background().wait(&condition, (), || panic!("on purpose")));
        while condition.places() != (1, 0) {
            yield_now();
        }
        let next = condition.join();
        condition.notify_one();
        assert!(panics.join().is_err());
        assert_eq!(condition.places(), (0, 1));
        block_on(next, &Context::background()).unwrap().used();
    });
}

#[test]
fn time_outs_are_what_is_left_and_never_none_by_mistake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let time = ManualClock::new();
    let base = Context::background().with_clock(&time.clock());
    let timeouts = || (stream.read_timeout().unwrap(), stream.write_timeout().unwrap());
    let cx = base.with_timeout(Duration::from_secs(8));
    cx.apply_to(&stream).unwrap();
    assert_eq!(timeouts(), (Some(Duration::from_secs(8)), Some(Duration::from_secs(8))));
    time.advance(Duration::from_secs(8) - Duration::from_nanos(1));
    cx.apply_to(&stream).unwrap();
    let least = timeouts().0.expect("a nanosecond is not for ever");
    assert!(!least.is_zero() && least < Duration::from_millis(100), "{least:?}"); // the system's own grain
    time.advance(Duration::from_nanos(1));
    let error = cx.apply_to(&stream).unwrap_err();
    assert_eq!(error.get_ref().and_then(|e| e.downcast_ref()), Some(&Interrupted::DeadlinePassed));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(timeouts().0, Some(least), "as it was");
    base.apply_to(&stream).unwrap();
    assert_eq!(timeouts(), (None, None));
    base.with_timeout(Duration::MAX).apply_to(&stream).unwrap();
    assert!(ended().0.apply_to(&stream).is_err());
}

#[test]
fn a_guard_of_an_ended_context_leaves_the_socket_alone_and_a_dropped_one_too() {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    assert!(ended().0.guard(&stream).is_err());
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let guard = cx.guard(&stream).unwrap();
    assert_eq!(token.registrations(), 1);
    assert_eq!(guard.check(), Ok(()));
    drop(guard);
    assert_eq!(token.registrations(), 0);
    token.cancel();
    peer.write_all(b"alive").unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"alive");
    let guard = Context::background().guard(&stream).unwrap();
    drop(peer);
    assert_eq!(guard.run(|| stream.read(&mut heard)).unwrap(), 0, "an end of file of the peer's own");
}
