//! Configurations: any text, and any tree of the right names with right and wrong values. Reading never panics; what is read
//! and written is the same again; what `check` refuses `build` refuses in the same words, which name a field; and what it
//! accepts is built, unless it is too large to be built here.

#![no_main]

use Kind::*;
use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use watertight::BuildError;
use watertight::config::*;

/// What a setting takes.
enum Kind {
    Count,
    Ratio,
    Span,
    Word(&'static [&'static str]),
    /// All of them, each said or not.
    Fields(&'static [(&'static str, Kind)]),
    /// One of them.
    Choice(&'static [(&'static str, Kind)]),
    Or(&'static str, &'static Kind),
    Named(&'static Kind),
}

const TRIP: Kind = Fields(&[
    ("rate", Ratio),
    ("slow_rate", Fields(&[("rate", Ratio), ("over", Span)])),
    ("consecutive", Count),
    ("window", Choice(&[("last", Count), ("within", Span)])),
    ("min_calls", Count),
    ("lump", Span),
]);
const RECOVERY: Kind = Fields(&[
    ("after", Span),
    ("growth", Ratio),
    ("at_most", Span),
    ("jitter", Ratio),
    ("probes", Count),
    ("successes", Count),
    ("probe_timeout", Span),
    ("ramp", Count),
]);
const BREAKER: Kind = Fields(&[("trip", TRIP), ("recovery", RECOVERY)]);
const RETRY: Kind = Fields(&[
    ("pause", Choice(&[("exponential", Span), ("decorrelated", Span), ("constant", Span)])),
    ("max", Span),
    ("attempts", Count),
    ("jitter", Word(&["full", "equal", "none"])),
    ("budget", Fields(&[("percent", Ratio), ("burst", Count), ("floor", Count)])),
    ("expect", Span),
]);
const ISOLATION: Kind = Choice(&[("threads", Count), ("permits", Count)]);
const RESIZABLE: Kind = Fields(&[("threads", Count), ("queue", Count)]);
const PARTITIONS: Kind = Named(&Choice(&[("lent", Ratio), ("kept", Ratio)]));
const BULKHEAD: Kind = Fields(&[
    ("isolation", ISOLATION),
    ("timeout", Or("never", &Span)),
    ("queue", Count),
    ("max_wait", Span),
    ("resizable", RESIZABLE),
    ("breaker", BREAKER),
    ("retry", RETRY),
    ("fallbacks", Count),
    ("partitions", PARTITIONS),
]);
const OVERRIDE: Kind = Fields(&[
    ("isolation", ISOLATION),
    ("timeout", Or("never", &Span)),
    ("queue", Count),
    ("max_wait", Span),
    ("resizable", RESIZABLE),
    ("breaker", Or("off", &BREAKER)),
    ("retry", Or("off", &RETRY)),
    ("fallbacks", Count),
    ("partitions", PARTITIONS),
]);
const REGISTRY: Kind =
    Fields(&[("keys", Count), ("residence", Span), ("shared", BULKHEAD), ("overrides", Named(&OVERRIDE))]);
const LIMIT: Kind = Fields(&[
    ("permits", Count),
    ("queue", Count),
    ("max_wait", Span),
    ("order", Word(&["fifo", "lifo"])),
    ("oversize", Word(&["refuse", "alone"])),
    ("partitions", PARTITIONS),
]);
const POOL: Kind = Fields(&[
    ("threads", Count),
    ("queue", Count),
    ("stack_size", Count),
    ("pin", Or("cores", &Choice(&[("node", Count)]))),
    ("on_full", Word(&["wait", "refuse", "caller_runs", "drop_newest", "drop_oldest"])),
    ("spin", Word(&["never", "brief", "adaptive"])),
    ("resizable", RESIZABLE),
    ("wake", Word(&["lifo", "fifo"])),
    ("retire_after", Count),
]);

type Made<T> = arbitrary::Result<T>;

fn tree(kind: &Kind, u: &mut Unstructured<'_>, depth: u32) -> Made<Value> {
    if u.ratio(1, 40)? {
        return anything(u, depth);
    }
    Ok(match kind {
        Count => match u.int_in_range(0..=5)? {
            0 => u.arbitrary::<u64>()?.into(),
            1 => u.arbitrary::<u32>()?.into(),
            _ => u.int_in_range(0..=12_u64)?.into(),
        },
        Ratio => match u.int_in_range(0..=5)? {
            0 => u.arbitrary::<f64>()?.into(),
            _ => (f64::from(u.int_in_range(0..=110_u32)?) / 100.0).into(),
        },
        Span => {
            let units = ["ns", "us", "ms", "s", "m", "h", "days", "weeks", "years", "", " s"];
            let n = if u.ratio(1, 8)? { u.arbitrary::<u64>()? } else { u.int_in_range(0..=90)? };
            format!("{n}{}", u.choose(&units)?).into()
        }
        Word(words) => (*u.choose(words)?).into(),
        Fields(fields) => {
            let mut all = serde_json::Map::new();
            for (name, kind) in *fields {
                if u.ratio(2, 3)? {
                    all.insert((*name).into(), tree(kind, u, depth + 1)?);
                }
            }
            all.into()
        }
        Choice(of) => {
            let (name, kind) = u.choose(of)?;
            serde_json::Map::from_iter([((*name).into(), tree(kind, u, depth + 1)?)]).into()
        }
        Or(word, _) if u.ratio(1, 3)? => (*word).into(),
        Or(_, kind) => tree(kind, u, depth)?,
        Named(kind) => {
            let mut all = serde_json::Map::new();
            for _ in 0..u.int_in_range(0..=3)? {
                all.insert(u.arbitrary()?, tree(kind, u, depth + 1)?);
            }
            all.into()
        }
    })
}

fn anything(u: &mut Unstructured<'_>, depth: u32) -> Made<Value> {
    Ok(match u.int_in_range(0..=if depth > 4 { 4 } else { 6 })? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        2 => u.arbitrary::<i64>()?.into(),
        3 => u.arbitrary::<f64>()?.into(),
        4 => u.arbitrary::<&str>()?.into(),
        5 => vec![anything(u, depth + 1)?, anything(u, depth + 1)?].into(),
        _ => serde_json::Map::from_iter([(u.arbitrary()?, anything(u, depth + 1)?)]).into(),
    })
}

/// All names in it.
fn names(kind: &Kind, found: &mut Vec<&'static str>) {
    match kind {
        Fields(all) | Choice(all) => all.iter().for_each(|(name, kind)| {
            found.push(name);
            names(kind, found);
        }),
        Or(_, kind) | Named(kind) => names(kind, found),
        Count | Ratio | Span | Word(_) => {}
    }
}

/// It names a setting of this kind, and what it was if it says that one was out of range.
fn is_said(e: &BuildError, kind: &Kind) -> String {
    let mut known = vec!["partition", "share"];
    names(kind, &mut known);
    let said = e.to_string();
    let is_word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let has = |text: &str| {
        text.split(is_word).any(|word| known.contains(&word.trim_end_matches('s')) || known.contains(&word))
    };
    match e {
        BuildError::OutOfRange { field, value, allowed } => {
            assert!(has(field) && !value.is_empty() && !allowed.is_empty(), "{said}")
        }
        BuildError::Name { .. } => {}
        _ => assert!(has(&said), "{said}"),
    }
    said
}

/// `check` and `build` say the same; `small`: whether it may be built at all, if it is sound.
fn agree<T>(kind: &Kind, check: Result<(), BuildError>, small: bool, build: impl FnOnce() -> Result<T, BuildError>) {
    match check {
        Err(refused) => {
            let said = is_said(&refused, kind);
            let built = build().map(drop).unwrap_err();
            assert_eq!(built.to_string(), said);
        }
        Ok(()) if small => drop(build().unwrap_or_else(|e| panic!("{e}"))),
        Ok(()) => {}
    }
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &[u8]) -> Option<T> {
    let it: T = match serde_json::from_slice(text) {
        Ok(it) => it,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return None;
        }
    };
    let written = serde_json::to_vec(&it).unwrap();
    match serde_json::from_slice::<T>(&written) {
        Ok(again) => assert_eq!(again, it),
        Err(e) => panic!("{}: {e}", String::from_utf8_lossy(&written)),
    }
    Some(it)
}

fn bulkhead(it: &BulkheadConfig) {
    let small = match it.isolation {
        IsolationConfig::Threads(n) => n <= 3 && it.queue.unwrap_or(0) <= 64,
        _ => true,
    };
    let small = small && it.resizable.is_none_or(|most| most.threads <= 8 && most.queue <= 64);
    agree(&BULKHEAD, it.builder("b").check(), small, || it.builder("b").build());
}

fn any_of(which: u8, text: &[u8]) {
    match which % 7 {
        0 => {
            let _ = read::<BulkheadConfig>(text).map(|it| bulkhead(&it));
        }
        1 => {
            let Some(it) = read::<BreakerConfig>(text) else { return };
            agree(&BREAKER, it.builder("b").check(), true, || it.builder("b").build());
        }
        2 => {
            let Some(it) = read::<RetryConfig>(text) else { return };
            agree(&RETRY, it.retry().validate(), true, || it.retry().validate());
        }
        3 => {
            let Some(it) = read::<LimitConfig>(text) else { return };
            agree(&LIMIT, it.builder().build().map(drop), true, || it.builder().build());
        }
        4 => {
            let Some(it) = read::<PoolConfig>(text) else { return };
            let small = it.threads.is_some_and(|n| n <= 3) && it.queue.is_some_and(|n| n <= 64);
            let small = small && it.resizable.is_none_or(|most| most.threads <= 8 && most.queue <= 64);
            let small = small && it.stack_size.is_none_or(|bytes| bytes <= 1 << 22);
            agree(&POOL, it.builder("p").check(), small, || it.builder("p").build());
        }
        5 => {
            let Some(it) = read::<BulkheadOverride>(text) else { return };
            let shared = BulkheadConfig::new(IsolationConfig::Permits(1), Timeout::Never);
            bulkhead(&it.over(&shared));
        }
        _ => {
            let Some(it) = read::<RegistryConfig>(text) else { return };
            match it.check() {
                Ok(()) => drop(it.registry().unwrap()),
                Err(e) => {
                    is_said(&e.source, &REGISTRY);
                    assert_eq!(it.registry().unwrap_err().to_string(), e.to_string());
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, rest)) = data.split_first() else { return };
    if which < 128 {
        return any_of(which, rest);
    }
    let kinds = [BULKHEAD, BREAKER, RETRY, LIMIT, POOL, OVERRIDE, REGISTRY];
    let which = which - 128;
    if let Ok(tree) = tree(&kinds[usize::from(which) % 7], &mut Unstructured::new(rest), 0) {
        any_of(which, tree.to_string().as_bytes());
    }
});
