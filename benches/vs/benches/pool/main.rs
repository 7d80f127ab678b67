//! `Pool` beside other pools, and beside (a): a bounded crossbeam-channel of boxed closures with as many plain threads.
//!
//! Each round measures every contender, one after the other, each with threads of its own, so that whatever else the
//! machine does hits all of them; a ratio is taken within a round. Printed are medians of the rounds and, in brackets,
//! their quartiles. Ours has its default settings: bounded, panics caught, jobs counted. (a) and tokio with a semaphore
//! are bounded; the others are not. With `--test` everything runs once and briefly; a word picks the workloads that have
//! it in their title.

mod deadline;
mod drain;
mod fan;
mod idle;
mod overload;
mod trip;

fn main() {
    drain::all();
    drain::joined();
    trip::all();
    idle::all();
    fan::all();
    overload::all();
    deadline::all();
}
