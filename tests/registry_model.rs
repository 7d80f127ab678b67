//! The registry against a list and its rules as they are written for users, with the manual clock: who is in use stays, whoever
//! is idle, old enough and the longest unasked-for goes, and for one key there is one compartment.

use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use watertight::registry::RegistryError;
use watertight::{Admission, Bulkhead, Context, Isolation, ManualClock, Registry};

const RESIDENCE: u64 = 3;

#[derive(Clone, Debug)]
enum Op {
    /// Asks for one and lets go of it at once, after a call.
    Call(u8),
    /// Asks for one and keeps the handle, or an admission and no handle.
    Hold(u8),
    Admit(u8),
    /// Lets go of everything that is held of this key.
    LetGo(u8),
    Later(u8),
    Look,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u8..7).prop_map(Op::Call),
        2 => (0_u8..7).prop_map(Op::Hold),
        2 => (0_u8..7).prop_map(Op::Admit),
        3 => (0_u8..7).prop_map(Op::LetGo),
        3 => (1_u8..4).prop_map(Op::Later),
        1 => Just(Op::Look),
    ]
}

/// One of those that there are: since when, and how many calls it has seen.
struct There {
    key: u8,
    since: u64,
    calls: u64,
}

#[derive(Default)]
struct Model {
    now: u64,
    /// The longest unasked-for first.
    there: Vec<There>,
    held: Vec<u8>,
}

impl Model {
    /// Whether there is one for the key now; at the end of the list, then.
    fn ask(&mut self, key: u8, limit: usize) -> bool {
        if let Some(at) = self.there.iter().position(|one| one.key == key) {
            let one = self.there.remove(at);
            self.there.push(one);
            return true;
        }
        if self.there.len() >= limit {
            let idle = |one: &There| !self.held.contains(&one.key) && self.now - one.since >= RESIDENCE;
            let Some(goes) = self.there.iter().position(idle) else { return false };
            self.there.remove(goes);
        }
        self.there.push(There { key, since: self.now, calls: 0 });
        true
    }

    fn sorted(&self) -> Vec<(u8, u64)> {
        let mut all: Vec<_> = self.there.iter().map(|one| (one.key, one.calls)).collect();
        all.sort_unstable();
        all
    }
}

enum Held {
    Handle(#[expect(dead_code, reason = "held, not read")] Bulkhead),
    Admission(#[expect(dead_code, reason = "held, not read")] Admission),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn the_registry_does_what_the_list_does(limit in 1_usize..5, ops in prop::collection::vec(op(), 1..150)) {
        let (time, alive) = (ManualClock::new(), Arc::new(()));
        let built = alive.clone();
        let residence = Duration::from_secs(RESIDENCE);
        let registry = Registry::with(limit, residence, &time.clock(), move |key: &u8| {
            let with_it = built.clone();
            Bulkhead::builder(key.to_string(), Isolation::Permits(100))
                .observer(watertight::event::from_fn(move |_| _ = &with_it))
                .no_timeout()
                .build()
        });
        let (mut model, mut held, cx) = (Model::default(), Vec::new(), Context::background());
        for op in ops {
            let asked = match op {
                Op::Later(seconds) => {
                    time.advance(Duration::from_secs(seconds.into()));
                    model.now += u64::from(seconds);
                    continue;
                }
                Op::LetGo(key) => {
                    held.retain(|(there, _)| *there != key);
                    model.held.retain(|there| *there != key);
                    continue;
                }
                Op::Look => {
                    let mut all: Vec<_> =
                        registry.snapshot().into_iter().map(|(key, state)| (key, state.attempts)).collect();
                    all.sort_unstable();
                    prop_assert_eq!(all, model.sorted());
                    continue;
                }
                Op::Call(key) | Op::Hold(key) | Op::Admit(key) => key,
            };
            match registry.get(&asked) {
                Err(e) => {
                    let full = matches!(e, RegistryError::Full { limit: said } if said == limit);
                    prop_assert!(full, "{}", e);
                    prop_assert!(!model.ask(asked, limit), "{} was refused", asked);
                }
                Ok(it) => {
                    prop_assert!(model.ask(asked, limit), "{} was not refused", asked);
                    prop_assert_eq!(it.name(), asked.to_string());
                    let one = model.there.last_mut().unwrap();
                    // The same compartment as before, or a new one: it knows what calls it has seen.
                    prop_assert_eq!(it.state().attempts, one.calls);
                    match op {
                        Op::Call(_) => {
                            it.call_here(&cx, |_| Ok::<_, ()>(())).unwrap();
                            one.calls += 1;
                        }
                        Op::Hold(_) => {
                            held.push((asked, Held::Handle(it)));
                            model.held.push(asked);
                        }
                        _ => {
                            held.push((asked, Held::Admission(it.admit(&cx).unwrap())));
                            one.calls += 1;
                            model.held.push(asked);
                        }
                    }
                }
            }
            prop_assert_eq!(registry.len(), model.there.len());
            prop_assert!(registry.len() <= limit);
            prop_assert_eq!(Arc::strong_count(&alive), 2 + model.there.len(), "what went is gone");
        }
    }
}
