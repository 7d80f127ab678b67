//! A deadline crosses a service and shrinks on its way: gateway → pool → compartment → HTTP → a second process. And when
//! the client hangs up, the last hop stops working: `cargo run --example deadline`
//!
//! The example plays the client, is the gateway, and starts itself again as the second process. It says what is left at
//! every hop, and checks what must be true whatever the machine: no hop has more than the one before it, nothing that
//! is too late is sent, nobody works on for a client that has gone, and every place comes back. If that does not hold,
//! it exits with an error. How fast it all goes is shown and not judged.

mod arrival;
mod call;
mod gateway;
mod said;
mod second;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use watertight::wire::Header;
use watertight::{CancelToken, Context};

use call::Say;
use gateway::{AtRest, CEILING, Gateway, MARGIN};
use said::{Answer, Hop, Request, Said, Teller, What, budgets, only_shrinks};
use second::Second;

type Failed = Box<dyn Error + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Failed>;

const ENOUGH: Duration = Duration::from_millis(300);
/// A machine with other things to do may not get through in 300 ms, and is then asked again.
const TRIES: u32 = 100;
/// Less than the margin that the gateway takes off.
const TOO_SHORT: &str = "20";
const UNITS: u64 = 20;
/// More than there is time for.
const ENDLESS: u64 = u32::MAX as u64;
/// So that a hang ends; nothing here takes a tenth of it.
const SILENCE: Duration = Duration::from_secs(60);

fn main() -> Result {
    if std::env::args().nth(1).as_deref() == Some(second::ROLE) {
        return second::run();
    }
    let (say, said) = channel();
    let second = Second::start(say.clone())?;
    let tell = Teller::by_channel(say);
    let runtime = runtime()?;
    let gateway = runtime.block_on(Gateway::new(second.addr, tell.clone())?.start())?;
    println!("gateway: this process, listens on {gateway}");
    println!("second process: pid {}, listens on {}", second.pid(), second.addr);

    let mut story = Story { said, tell, gateway, second: second.addr, requests: 0 };
    story.enough()?;
    story.hangs_up()?;
    story.malformed()?;
    story.too_short()?;
    println!("\nall of it held");
    Ok(())
}

/// Two threads: these servers only pass on.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn must(holds: bool, what: impl Into<String>) -> Result {
    if holds { Ok(()) } else { Err(what.into().into()) }
}

/// The client, who hears in this example what everybody says of its request.
struct Story {
    said: Receiver<Said>,
    tell: Teller,
    gateway: SocketAddr,
    second: SocketAddr,
    requests: u64,
}

impl Story {
    fn request(&mut self) -> Request {
        self.requests += 1;
        Request(self.requests)
    }

    /// Sends the request, on a thread that gets the answer and passes it on to where everything is said.
    fn ask(&self, request: Request, cx: &Context, say: Say, units: u64) -> Result {
        let (cx, tell, at) = (cx.with_value(request), self.tell.clone(), self.gateway);
        let ask = move || {
            let back = call::get(&cx, &tell, Hop::Client, at, &format!("/units/{units}"), say);
            tell.say(&cx, What::ClientBack(back.map_err(|why| why.to_string())));
        };
        Ok(std::thread::Builder::new().name("client".into()).spawn(ask).map(drop)?)
    }

    /// Listens to what is said of the request until it is enough.
    fn listen(&self, request: Request, heard: &mut Vec<What>, enough: impl Fn(&[What]) -> bool) -> Result {
        while !enough(heard) {
            let said = self.said.recv_timeout(SILENCE).map_err(|_| format!("nothing more was said: {heard:?}"))?;
            if said.request == request {
                heard.push(said.what);
            }
        }
        Ok(())
    }

    /// A request seen through to its answer: what was said, and the answer.
    fn see_through(&mut self, cx: &Context, say: Say) -> Result<(Vec<What>, Answer)> {
        let (request, mut heard) = (self.request(), Vec::new());
        self.ask(request, cx, say, UNITS)?;
        self.listen(request, &mut heard, |heard| back(heard).is_some())?;
        let answer = back(&heard).unwrap_or_else(|| Err("no answer".into()));
        if matches!(answer, Ok((200, _))) {
            // What the second process says comes by another way than its answer, and may be later.
            self.listen(request, &mut heard, |heard| stopped(heard).is_some())?;
        }
        Ok((heard, answer))
    }

    fn at_rest(&self, who: SocketAddr) -> Result<AtRest> {
        let cx = Context::background();
        // Nobody asked for this on behalf of a client: it has no request to speak of, and no deadline to send.
        let say = Say::Left { header: Header::GrpcTimeout, margin: Duration::ZERO };
        let (status, text) = call::get(&cx, &self.tell, Hop::Client, who, "/at-rest", say)?;
        must(status == 200, format!("{who} answers {status} instead of saying that it is at rest"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Both processes are idle: every place is back.
    fn both_at_rest(&self) -> Result {
        let (gateway, second) = (self.at_rest(self.gateway)?, self.at_rest(self.second)?);
        println!("    in flight now: gateway {}, second process {}", gateway.in_flight, second.in_flight);
        must(gateway.in_flight + second.in_flight == 0, "somebody still holds a place")
    }

    fn enough(&mut self) -> Result {
        println!("\n(a) {ENOUGH:?} are enough");
        for tried in 1..=TRIES {
            let cx = Context::background().with_timeout(ENOUGH);
            let say = Say::Left { header: Header::RequestTimeoutMs, margin: Duration::ZERO };
            let (heard, answer) = self.see_through(&cx, say)?;
            let text = match answer {
                Ok((200, text)) => text,
                late => {
                    println!("    not on this machine, this time: {late:?}; again ({tried})");
                    continue;
                }
            };
            show(&heard);
            came_by(&heard, &Hop::ALL)?;
            shrinks(&heard)?;
            println!("    answered: {text}");
            return self.both_at_rest();
        }
        Err(format!("not one of {TRIES} requests got through in {ENOUGH:?}").into())
    }

    fn hangs_up(&mut self) -> Result {
        println!("\n(b) the client hangs up");
        let (request, mut heard) = (self.request(), Vec::new());
        let client = CancelToken::new();
        let cx = Context::background().with_token(&client).with_timeout(2 * CEILING / 3);
        let say = Say::Left { header: Header::GrpcTimeout, margin: Duration::ZERO };
        self.ask(request, &cx, say, ENDLESS)?;
        self.listen(request, &mut heard, |heard| working(heard).is_some() || back(heard).is_some())?;
        let units = working(&heard).ok_or_else(|| format!("it did not get to work: {heard:?}"))?;
        show(&heard);
        shrinks(&heard)?;
        println!("    the second process is at work, {units} units done; there are more than it has time for");

        let hung_up = Instant::now();
        client.cancel();
        self.listen(request, &mut heard, |heard| stopped(heard).is_some())?;
        let took = hung_up.elapsed();
        self.listen(request, &mut heard, |heard| {
            let left_by = |hop| is_gone(heard, hop).is_some() || has_answered(heard, hop);
            back(heard).is_some() && left_by(Hop::Gateway) && left_by(Hop::SecondProcess)
        })?;
        // Of a call that was not torn down there is nothing to hear but its answer, and that is an error.
        let second_answered = has_answered(&heard, Hop::SecondProcess);
        self.listen(request, &mut heard, |heard| second_answered || call_failed(heard).is_some())?;
        torn_down(&heard, took)?;
        self.both_at_rest()
    }

    fn malformed(&mut self) -> Result {
        println!("\n(c) a header that cannot be read");
        let before = self.at_rest(self.gateway)?.malformed;
        let say = Say::Literally { header: Header::RequestTimeoutMs, text: "soon" };
        let (heard, answer) = self.see_through(&Context::background(), say)?;
        for what in &heard {
            if let What::Malformed { header, why } = what {
                println!("    {header}: soon is no deadline: {why}; the ceiling of {CEILING:?} holds");
            }
        }
        show(&heard);
        let budgets = budgets(&heard);
        let first = budgets.first().copied();
        must(first.is_some_and(|(_, left)| left <= CEILING), format!("instead of the ceiling it had {first:?}"))?;
        came_by(&heard, &Hop::ALL[1..])?;
        shrinks(&heard)?;
        println!("    answered: {}", answer?.1);
        let counted = self.at_rest(self.gateway)?.malformed - before;
        println!("    headers that could not be read, counted: {counted}");
        must(counted == 1, "it was not counted once")
    }

    fn too_short(&mut self) -> Result {
        println!("\n(d) {TOO_SHORT} ms, of which the network would need {}", MARGIN.as_millis());
        let before = self.at_rest(self.second)?.arrived;
        let say = Say::Literally { header: Header::RequestTimeoutMs, text: TOO_SHORT };
        let (heard, answer) = self.see_through(&Context::background(), say)?;
        show(&heard);
        shrinks(&heard)?;
        let (status, text) = answer?;
        println!("    answered by the gateway: {status}, {text}");
        must(status == 504, "it should have been a 504")?;
        let arrived = self.at_rest(self.second)?.arrived - before;
        println!("    requests sent to the second process: {arrived}");
        must(arrived == 0, "it was sent though there was no time for it")?;
        self.both_at_rest()
    }
}

/// What must be true when the client has hung up, in the order in which it came about.
fn torn_down(heard: &[What], took: Duration) -> Result {
    let client = back(heard).and_then(Answer::err).ok_or("the client had an answer")?;
    println!("    the client hangs up: {client}");
    let gateway = is_gone(heard, Hop::Gateway).ok_or("the gateway did not notice")?;
    println!("    the gateway's handler is dropped: {gateway}");
    let call = call_failed(heard).ok_or("the call to the second process was not torn down")?;
    println!("    its call to the second process is {call}");
    let second = is_gone(heard, Hop::SecondProcess).ok_or("the second process did not notice")?;
    println!("    the second process's handler is dropped: {second}");
    let (units, after, why) = stopped(heard).ok_or("the work loop did not stop")?;
    let why = why.ok_or("the work loop got to its end")?;
    println!("    its work loop stopped after {units} units: {why}");
    must(why.starts_with("cancelled"), "it was the deadline that stopped it")?;
    println!("    units done after the hang-up: {after}");
    println!("    (from the client's hang-up to there: {:.1} ms)", millis(took));
    must(after <= 1, "it worked on for nobody")
}

fn back(heard: &[What]) -> Option<Answer> {
    heard.iter().find_map(|what| match what {
        What::ClientBack(back) => Some(back.clone()),
        _ => None,
    })
}

fn working(heard: &[What]) -> Option<u64> {
    heard.iter().find_map(|what| match what {
        What::Working { units } => Some(*units),
        _ => None,
    })
}

fn stopped(heard: &[What]) -> Option<(u64, u64, Option<String>)> {
    heard.iter().find_map(|what| match what {
        What::Stopped { units, after_the_caller, why } => Some((*units, *after_the_caller, why.clone())),
        _ => None,
    })
}

fn is_gone(heard: &[What], from: Hop) -> Option<String> {
    heard.iter().find_map(|what| match what {
        What::CallerGone { hop, why } if *hop == from => Some(why.clone()),
        _ => None,
    })
}

fn has_answered(heard: &[What], who: Hop) -> bool {
    heard.iter().any(|what| matches!(what, What::Answered { hop, .. } if *hop == who))
}

fn call_failed(heard: &[What]) -> Option<String> {
    heard.iter().find_map(|what| match what {
        What::CallFailed { why } => Some(why.clone()),
        _ => None,
    })
}

fn came_by(heard: &[What], hops: &[Hop]) -> Result {
    let came_by: Vec<_> = budgets(heard).into_iter().map(|(hop, _)| hop).collect();
    must(came_by == hops, format!("it came by {came_by:?}"))
}

fn shrinks(heard: &[What]) -> Result {
    only_shrinks(&budgets(heard), MARGIN)?;
    println!("    no hop had more than the one before: checked");
    Ok(())
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// A line for each hop: what was left there, and by how much less that was than before.
fn show(heard: &[What]) {
    let mut before = None;
    for (hop, left) in budgets(heard) {
        let spent =
            before.map_or(String::new(), |before: Duration| format!("-{:.3}", millis(before.saturating_sub(left))));
        println!("    {:>10.3} ms left {spent:>8}  {}", millis(left), hop.place());
        before = Some(left);
    }
}
