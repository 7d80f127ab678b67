//! One architecture's part of the story: start its processes, make the dependency sick and well again on time, watch, and
//! collect what generator, canary and gateway have to say.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::canary::CanaryReport;
use crate::children::Child;
use crate::downstream::{self, Since};
use crate::faults::{Fault, Setting};
use crate::generator::Line;
use crate::http::{self, HttpClient};
use crate::live::{Now, View};
use crate::plan::{self, Arch, Phase, Plan, Route};
use crate::process::Process;
use crate::recorder::{GeneratorReport, Progress};
use crate::server::Downstreams;
use crate::server::stats::{Log, Stats};
use crate::{clock, server};

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Between the start of the last process and the first request.
const LEAD: Duration = Duration::from_millis(300);
/// How long the gateway of (d) may take to come to rest after the last answer. The others are not asked to.
const REST: Duration = Duration::from_secs(3);

/// A look at the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) at_ms: u64,
    pub(crate) stats: Stats,
    pub(crate) process: Process,
}

/// When a phase's fault was really switched, on the machine's clock.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) phase: Phase,
    pub(crate) at_us: u64,
}

/// Everything that was seen of one architecture.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) arch: Arch,
    pub(crate) plan: Plan,
    pub(crate) start_us: u64,
    pub(crate) generator: GeneratorReport,
    pub(crate) canary: CanaryReport,
    pub(crate) samples: Vec<Sample>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) last: Stats,
    pub(crate) log: Log,
    /// Nothing was inside the gateway, and no thread busy, soon after the last answer.
    pub(crate) came_to_rest: bool,
}

impl Run {
    /// When the fault of `phase` was switched; the planned moment if it never was.
    pub(crate) fn mark_us(&self, phase: Phase) -> Option<u64> {
        let planned = self.plan.stretch(phase).map(|s| self.start_us + s.from_ms * 1_000);
        self.marks.iter().find(|m| m.phase == phase).map(|m| m.at_us).or(planned)
    }
}

/// The three downstreams with their proxies.
pub(crate) struct Dependencies {
    pub(crate) children: Vec<Child>,
    pub(crate) proxies: Downstreams,
    pub(crate) controls: Downstreams,
}

impl Dependencies {
    /// With a service of their own where none is given.
    pub(crate) async fn start(upstreams: &[Option<SocketAddr>; Route::ALL.len()]) -> io::Result<Self> {
        let mut children = Vec::new();
        let mut ready = Vec::new();
        for route in Route::ALL {
            let mut args: Vec<OsString> = vec![route.name().into()];
            if let Some(upstream) = upstreams[route.index()] {
                args.extend(["--upstream".into(), upstream.to_string().into()]);
            }
            let (child, addrs) = Child::start::<downstream::Ready>("downstream", &args).await?;
            children.push(child);
            ready.push(addrs);
        }
        let proxies = Route::ALL.map(|r| ready[r.index()].proxy);
        let controls = Route::ALL.map(|r| ready[r.index()].control);
        Ok(Self { children, proxies, controls })
    }
}

/// Where this architecture stands among those that are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) number: usize,
    pub(crate) of: usize,
    /// What the later ones will take.
    pub(crate) then: Duration,
}

/// Runs one architecture from the start of its processes to their end.
pub(crate) async fn run(arch: Arch, plan: &Plan, place: Place, view: &mut dyn View) -> io::Result<Run> {
    let dependencies = Dependencies::start(&[None; 3]).await?;
    let (gateway, target) = start_gateway(arch, plan, &dependencies).await?;
    let start_us = clock::now_us() + LEAD.as_micros() as u64;
    let timed = |extra: &[OsString]| -> io::Result<Vec<OsString>> {
        let plan = serde_json::to_string(plan).map_err(io::Error::other)?;
        let mut args = vec!["--start".into(), start_us.to_string().into(), "--plan".into(), plan.into()];
        args.extend_from_slice(extra);
        Ok(args)
    };
    let (mut canary, ()) = Child::start("canary", &timed(&[])?).await?;
    let target_args = ["--target".into(), target.to_string().into()];
    let (mut generator, ()) = Child::start("generate", &timed(&target_args)?).await?;

    let client = http::client();
    let marks = tokio::spawn(switch_faults(client.clone(), dependencies.controls, plan.clone(), start_us));
    let canary_report = tokio::spawn(async move { canary.next::<CanaryReport>().await });

    let mut samples = Vec::new();
    let mut progress = Progress::default();
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let report = loop {
        tokio::select! {
            line = generator.next::<Line>() => match line? {
                Some(Line::Progress(latest)) => progress = latest,
                Some(Line::Report(report)) => break *report,
                None => return Err(io::Error::other("the generator left without a report")),
            },
            _ = ticks.tick() => {
                // A gateway that is too busy to speak of itself is not looked at this time.
                let Ok(stats) = http::get::<Stats>(&client, target, "/stats").await else { continue };
                let process = Process::read(gateway.pid())?;
                let at_ms = clock::now_us().saturating_sub(start_us) / 1_000;
                let left = plan.total().saturating_sub(Duration::from_millis(at_ms)) + place.then;
                view.show(&Now { arch, place, plan, at_ms, left, progress: &progress, stats: &stats, process });
                samples.push(Sample { at_ms, stats, process });
            }
        }
    };

    let patience = if arch == Arch::D { REST } else { Duration::ZERO };
    let (last, came_to_rest) = rest(&client, target, patience).await?;
    let log = http::get(&client, target, "/stats/log").await?;
    let no_canary = || io::Error::other("the canary left without a report");
    let canary = canary_report.await.map_err(io::Error::other)??.ok_or_else(no_canary)?;
    let marks = marks.await.map_err(io::Error::other)??;
    gateway.kill().await?;
    Ok(Run { arch, plan: plan.clone(), start_us, generator: report, canary, samples, marks, last, log, came_to_rest })
}

async fn start_gateway(arch: Arch, plan: &Plan, dependencies: &Dependencies) -> io::Result<(Child, SocketAddr)> {
    let mut args: Vec<OsString> = vec![
        "--arch".into(),
        arch.letter().to_string().into(),
        "--shared-threads".into(),
        plan.shared_threads().to_string().into(),
    ];
    for (flag, addrs) in [("--downstream", dependencies.proxies), ("--control", dependencies.controls)] {
        for addr in addrs {
            args.extend([flag.into(), addr.to_string().into()]);
        }
    }
    let (child, ready) = Child::start::<server::Ready>("server", &args).await?;
    Ok((child, ready.addr))
}

/// Makes the dependency sick and well again, each at its phase's beginning.
async fn switch_faults(client: HttpClient, controls: Downstreams, plan: Plan, start_us: u64) -> io::Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for stretch in &plan.stretches {
        let fault = |route: Route| match (stretch.phase, plan.trigger) {
            (Phase::Fault, Some(trigger)) => trigger.fault(route),
            (Phase::Fault, None) if route == Route::SICK => plan::sickness(),
            (Phase::Burst, _) if route == Route::SICK => Fault::Errors,
            _ => Fault::None,
        };
        if matches!(stretch.phase, Phase::WarmUp | Phase::Before) {
            continue;
        }
        sleep(clock::until(start_us + stretch.from_ms * 1_000)).await;
        // In the story only one of them is ever told anything.
        for route in Route::ALL.into_iter().filter(|r| plan.trigger.is_some() || *r == Route::SICK) {
            let setting = Setting::from(fault(route));
            let since: Since = http::put(&client, controls[route.index()], "/fault", &setting).await?;
            if route == Route::SICK {
                marks.push(Mark { phase: stretch.phase, at_us: since.at_us });
            }
        }
    }
    Ok(marks)
}

/// The gateway's last figures, taken when nothing is left inside it or when that has taken too long.
async fn rest(client: &HttpClient, target: SocketAddr, patience: Duration) -> io::Result<(Stats, bool)> {
    let until_us = clock::now_us() + patience.as_micros() as u64;
    loop {
        let stats = http::get::<Stats>(client, target, "/stats").await?;
        let at_rest = stats.open() == 0 && stats.busy() == 0;
        if at_rest || clock::now_us() >= until_us {
            return Ok((stats, at_rest));
        }
        sleep(SAMPLE_EVERY).await;
    }
}
