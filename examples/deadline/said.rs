//! What is said of a request as it goes along, by whichever process has it, and what must be true of it in the end.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watertight::Context;

/// The number of a request. It travels as a value of the context, and from process to process as a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request(pub(crate) u64);

impl Request {
    pub(crate) const HEADER: &str = "x-request-id";
}

/// Where a request's budget is looked at, in the order in which it comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Hop {
    Client,
    Gateway,
    Pool,
    Compartment,
    Wire,
    SecondProcess,
    FirstUnit,
    LastUnit,
}

impl Hop {
    /// All of them: what a request that completes has come by.
    pub(crate) const ALL: [Self; 8] = [
        Self::Client,
        Self::Gateway,
        Self::Pool,
        Self::Compartment,
        Self::Wire,
        Self::SecondProcess,
        Self::FirstUnit,
        Self::LastUnit,
    ];

    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Client => "the client says, in its header",
            Self::Gateway => "on arrival at the gateway",
            Self::Pool => "in the job of the gateway's pool",
            Self::Compartment => "inside the compartment",
            Self::Wire => "on the wire, less the network's margin",
            Self::SecondProcess => "on arrival in the second process",
            Self::FirstUnit => "in its work loop, before the first unit",
            Self::LastUnit => "in its work loop, after the last unit",
        }
    }
}

/// What a client got: status and text, or why there is none.
pub(crate) type Answer = Result<(u16, String), String>;

/// One thing said of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// At the hop this is left. On the wire it is what the header says, elsewhere what the context has.
    Budget { hop: Hop, left: Duration },
    /// A header could not be read, and counts as none.
    Malformed { header: String, why: String },
    /// The last hop is in the middle of its work.
    Working { units: u64 },
    /// The caller of the hop has gone.
    CallerGone { hop: Hop, why: String },
    /// The gateway's call to the second process gave no answer.
    CallFailed { why: String },
    /// The last hop has stopped: after so many units in all, of which so many ended when its caller had gone.
    Stopped { units: u64, after_the_caller: u64, why: Option<String> },
    /// The hop has an answer: its caller was there to the end.
    Answered { hop: Hop, status: u16 },
    /// The client has its answer, or knows why there is none.
    ClientBack(Answer),
}

/// Everything that one process tells the other, line by line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) request: Request,
    pub(crate) what: What,
}

/// Whom to tell. In the first process that is a channel, in the second its standard output, which ends in that channel.
#[derive(Clone)]
pub(crate) struct Teller(Arc<dyn Fn(Said) + Send + Sync>);

impl Teller {
    pub(crate) fn by_channel(to: Sender<Said>) -> Self {
        // Nobody listens any more when the story is over.
        Self(Arc::new(move |said| drop(to.send(said))))
    }

    pub(crate) fn by_line() -> Self {
        Self(Arc::new(|said| line(&said)))
    }

    /// Says it of the request that the context is of.
    pub(crate) fn say(&self, cx: &Context, what: What) {
        if let Some(request) = cx.value::<Request>() {
            (self.0)(Said { request: *request, what });
        }
    }

    /// Says what the context has left. What it has is always known: every server here has a ceiling.
    pub(crate) fn budget(&self, cx: &Context, hop: Hop) {
        if let Some(left) = cx.remaining() {
            self.say(cx, What::Budget { hop, left });
        }
    }
}

/// One line of JSON for the first process. If that is gone there is nobody to complain to.
pub(crate) fn line<T: Serialize>(said: &T) {
    let text = serde_json::to_string(said).expect("the types of these lines have string keys only");
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// The budgets among what was said.
pub(crate) fn budgets(heard: &[What]) -> Vec<(Hop, Duration)> {
    let budget = |what: &What| match what {
        What::Budget { hop, left } => Some((*hop, *left)),
        _ => None,
    };
    heard.iter().filter_map(budget).collect()
}

/// Whether the request came by its hops in their order and nowhere had more than before.
///
/// Structure and no more: how fast the hops were is the machine's affair. That no hop may have more holds by the rules
/// that made the numbers. Within a process a context's deadline only tightens, and the time only passes; the wire rounds
/// down, and the second process counts from its own arrival. (So the network's time itself is in nobody's number. That
/// is what the margin is for.)
pub(crate) fn only_shrinks(budgets: &[(Hop, Duration)], margin: Duration) -> Result<(), String> {
    for pair in budgets.windows(2) {
        let ((from, before), (to, left)) = (pair[0], pair[1]);
        if to <= from {
            return Err(format!("it was {} after it was {}", to.place(), from.place()));
        }
        let most = if to == Hop::Wire { before.saturating_sub(margin) } else { before };
        if left > most {
            return Err(format!("{left:?} {}, but {before:?} {}", to.place(), from.place()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Duration = Duration::from_millis(25);

    fn check(budgets: &[(Hop, u64)]) -> Result<(), String> {
        let budgets: Vec<_> = budgets.iter().map(|(hop, ms)| (*hop, Duration::from_millis(*ms))).collect();
        only_shrinks(&budgets, MARGIN)
    }

    #[test]
    fn a_budget_that_shrinks_or_stays_is_fine() {
        assert_eq!(check(&[(Hop::Gateway, 300), (Hop::Pool, 300), (Hop::Compartment, 299), (Hop::Wire, 274)]), Ok(()));
        assert_eq!(check(&[(Hop::Compartment, 10), (Hop::Wire, 0)]), Ok(()));
    }

    #[test]
    fn a_hop_that_has_more_than_the_one_before_is_found() {
        assert!(check(&[(Hop::Gateway, 299), (Hop::Pool, 300)]).is_err());
        assert!(check(&[(Hop::Compartment, 299), (Hop::Wire, 299)]).is_err(), "without its margin");
        assert!(check(&[(Hop::Pool, 300), (Hop::Gateway, 299)]).is_err(), "out of order");
        assert!(check(&[(Hop::Pool, 300), (Hop::Pool, 299)]).is_err(), "twice");
    }
}
