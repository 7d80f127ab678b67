//! An HTTP call in a context, by a blocking client: it says what is left, and ends when the context does.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ureq::Agent;
use watertight::wire::Header;
use watertight::{Context, Interrupted};

use crate::said::{Hop, Request, Teller, What};

/// What the call says of its time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Say {
    /// What the context has left, less a margin: time for the answer to come back in.
    Left { header: Header, margin: Duration },
    /// A text, whatever the context has.
    Literally { header: Header, text: &'static str },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("not sent: {0}")]
    NotSent(Interrupted),
    #[error("torn down: {0}")]
    TornDown(Interrupted),
    #[error("no answer")]
    Http(#[from] ureq::Error),
    #[error("no alarm for it")]
    Alarm(#[from] io::Error),
}

/// Asks `at` for `path`. Told of `hop` is what the header says.
///
/// On this thread; and yet it ends when the context does, because the sockets are then shut down under the call. That is
/// the sign, too, by which the other side knows that nobody waits any more.
pub(crate) fn get(
    cx: &Context,
    tell: &Teller,
    hop: Hop,
    at: SocketAddr,
    path: &str,
    say: Say,
) -> Result<(u16, String), Failure> {
    let (header, text) = match say {
        Say::Literally { header, text } => (header, Some(text.to_owned())),
        Say::Left { header, margin } => {
            // A margin is of the deadline and not of the time that is left: no clock is read twice.
            let there = cx.with_deadline(cx.deadline().minus(margin));
            // No time left is not sent. The call fails here, where that is known.
            let said = header.encode_for(&there).map_err(Failure::NotSent)?;
            (header, said.map(|said| said.to_string()))
        }
    };
    if let Some(left) = text.as_deref().and_then(|text| header.decode(text, Duration::MAX).ok()) {
        tell.say(cx, What::Budget { hop, left });
    }
    let agent = agent(cx);
    let sockets = agent.clone();
    // Held until the call is over.
    let _torn_down_at_the_end = cx.on_end(move |_| sockets.shutdown())?;
    send(cx, &agent, &format!("http://{at}{path}"), header, text.as_deref()).map_err(|e| match cx.check() {
        Ok(()) => e.into(),
        Err(why) => Failure::TornDown(why),
    })
}

/// An agent for one call: shutting one down is for good.
fn agent(cx: &Context) -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).proxy(None);
    // For what comes before there is a socket that could be shut down: looking the name up, and connecting.
    config.timeout_global(cx.remaining()).build().new_agent()
}

fn send(
    cx: &Context,
    agent: &Agent,
    url: &str,
    header: Header,
    text: Option<&str>,
) -> Result<(u16, String), ureq::Error> {
    let mut request = agent.get(url);
    if let Some(text) = text {
        request = request.header(header.name(), text);
    }
    if let Some(Request(number)) = cx.value() {
        request = request.header(Request::HEADER, number.to_string());
    }
    let mut answer = request.call()?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}
