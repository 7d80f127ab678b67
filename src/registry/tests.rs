//! The shelf against a naive reading of its rules, and the registry through its public face.

use super::shelf::{Full, Kept, Shelf};
use super::{Registry, RegistryError};
use crate::{BuildError, Bulkhead, Context, Isolation, ManualClock};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SEC: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Thing(Arc<u8>);

impl Kept for Thing {
    fn is_held_elsewhere(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

#[derive(Clone, Debug)]
enum Op {
    Get(u8),
    LetGo(u8),
    Later(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![4 => (0_u8..6).prop_map(Op::Get), 2 => (0_u8..6).prop_map(Op::LetGo), 1 => (1_u8..4).prop_map(Op::Later)]
}

proptest! {
    #[test]
    fn who_goes_is_idle_old_enough_and_the_longest_unasked_for(ops in prop::collection::vec(op(), 1..80)) {
        let (limit, residence) = (3, SEC * 2);
        let (mut shelf, mut now) = (Shelf::new(limit, residence), Instant::now());
        let mut held: Vec<Thing> = Vec::new();
        // What there is, the longest unasked-for first: key and since when.
        let mut there: Vec<(u8, Instant)> = Vec::new();
        for op in ops {
            match op {
                Op::Later(seconds) => now += SEC * u32::from(seconds),
                Op::LetGo(key) => held.retain(|thing| *thing.0 != key),
                Op::Get(key) => {
                    let at = there.iter().position(|(k, _)| *k == key);
                    let goes = there.iter().position(|(k, since)| {
                        held.iter().all(|thing| *thing.0 != *k) && now - *since >= residence
                    });
                    let got = match shelf.get(&key) {
                        Some(thing) => Ok(thing),
                        None => shelf.put(key, Thing(Arc::new(key)), now).map(|(thing, _)| thing).map_err(|(full, _)| full),
                    };
                    match (at, goes) {
                        (Some(at), _) => {
                            let entry = there.remove(at);
                            there.push(entry);
                        }
                        (None, _) if there.len() < limit => there.push((key, now)),
                        (None, Some(goes)) => {
                            there.remove(goes);
                            there.push((key, now));
                        }
                        (None, None) => {
                            prop_assert_eq!(got.unwrap_err(), Full { limit });
                            continue;
                        }
                    }
                    let got = got.unwrap();
                    prop_assert_eq!(*got.0, key);
                    held.push(got);
                }
            }
            let mut keys: Vec<_> = shelf.all().iter().map(|(key, _)| *key).collect();
            let mut expected: Vec<_> = there.iter().map(|(key, _)| *key).collect();
            keys.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(keys, expected);
        }
    }
}

fn hosts(keys: usize, time: &ManualClock) -> Registry<String> {
    Registry::with(keys, SEC * 300, &time.clock(), |host: &String| {
        Bulkhead::builder(host.clone(), Isolation::Permits(1)).no_timeout().build()
    })
}

#[test]
fn what_is_in_use_or_new_stays_and_the_rest_makes_room() {
    let time = ManualClock::new();
    let hosts = hosts(2, &time);
    let (a, cx) = (hosts.get("a").unwrap(), Context::background());
    drop(hosts.get("b").unwrap());
    assert!(matches!(hosts.get("c"), Err(RegistryError::Full { limit: 2 }))); // b is new
    time.advance(SEC * 300);
    hosts.get("c").unwrap(); // b went, a is held
    assert!(a.call_here(&cx, |_| Ok::<_, ()>(())).is_ok());
    assert_eq!(hosts.get("a").unwrap().state().succeeded, 1);
    // An admission is a use, also when every handle is gone.
    let admission = hosts.get("a").unwrap().admit(&cx).unwrap();
    drop(a);
    time.advance(SEC * 300);
    hosts.get("d").unwrap();
    assert!(hosts.get("e").is_err());
    admission.success();
    hosts.get("e").unwrap();
    assert_eq!((hosts.len(), hosts.is_empty(), hosts.residence()), (2, false, SEC * 300));
    let mut names: Vec<_> = hosts.clone().snapshot().into_iter().map(|(key, _)| key).collect();
    names.sort();
    assert_eq!(names, ["d", "e"]);
}

#[test]
fn so_many_keys_and_no_more_whoever_asks_for_how_many() {
    let time = ManualClock::new();
    let hosts = hosts(50, &time);
    for n in 0..20_000 {
        time.advance(SEC * 10);
        hosts.get(&n.to_string()).unwrap();
        assert!(hosts.len() <= 50);
    }
    assert_eq!(hosts.len(), 50);
}

#[test]
fn what_cannot_be_built_takes_no_room() {
    let none = Registry::new(1, |n: &u32| match n {
        0 => Bulkhead::builder("no time-out", Isolation::Permits(1)).build(),
        _ => Bulkhead::builder("well", Isolation::Permits(1)).no_timeout().build(),
    });
    assert!(matches!(none.get(&0), Err(RegistryError::Build(BuildError::Conflict(_)))));
    assert!(none.is_empty() && none.get(&1).is_ok());
}
