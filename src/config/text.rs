//! What a file says in words: durations with their unit, time-outs that may be none, settings that may be off.
//!
//! humantime reads and writes the durations; this file makes of its errors what a person can act upon.

use super::{OrOff, Timeout};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

const DURATION: &str = "a duration with its unit, such as \"250ms\", \"5s\" or \"1h 30m\"";

fn parsed<E: Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text).map_err(|e| E::custom(format_args!("{text:?} is not {DURATION}: {e}")))
}

fn written<S: Serializer>(d: Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(d))
}

struct InWords;

impl Visitor<'_> for InWords {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DURATION)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parsed(text)
    }
}

/// A duration.
pub(super) mod one {
    use super::{Deserializer, Duration, InWords, Serializer, written};

    pub(crate) fn serialize<S: Serializer>(d: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        written(*d, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(InWords)
    }
}

/// A duration that need not be said.
pub(super) mod maybe {
    use super::{Deserialize, Deserializer, Duration, InWords, Serializer, written};

    struct Said(Duration);

    impl<'de> Deserialize<'de> for Said {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(InWords).map(Self)
        }
    }

    pub(crate) fn serialize<S: Serializer>(d: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => written(*d, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Said>::deserialize(deserializer)?.map(|said| said.0))
    }
}

/// Whether there is nothing to be written.
pub(super) fn unsaid<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const NEVER: &str = "never";
const OFF: &str = "off";

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::After(d) => written(*d, serializer),
            Self::Never => serializer.serialize_str(NEVER),
        }
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrNever;

        impl Visitor<'_> for OrNever {
            type Value = Timeout;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{DURATION}, or \"{NEVER}\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Timeout, E> {
                if text == NEVER { Ok(Timeout::Never) } else { parsed(text).map(Timeout::After) }
            }
        }

        deserializer.deserialize_str(OrNever)
    }
}

impl<T: Serialize> Serialize for OrOff<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::As(settings) => settings.serialize(serializer),
            Self::Off => serializer.serialize_str(OFF),
        }
    }
}

/// By hand rather than untagged: what is wrong inside is then said, and not only that nothing fitted.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsOrOff<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AsOrOff<T> {
            type Value = OrOff<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "settings, or \"{OFF}\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OrOff<T>, E> {
                if text == OFF {
                    return Ok(OrOff::Off);
                }
                Err(E::custom(format_args!("{text:?} is neither settings nor \"{OFF}\"")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OrOff<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OrOff::As)
            }
        }

        deserializer.deserialize_any(AsOrOff(PhantomData))
    }
}
