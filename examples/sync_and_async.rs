//! One pool, one limit and one token, shared by threads and tasks: each verb comes as a call that blocks and as a future
//! that runs on any executor: `cargo run --example sync_and_async`

use std::time::Duration;
use watertight::{CancelToken, Context, Limit, Pool};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Blocking work, as a database driver without an async face does.
fn query(n: u64) -> u64 {
    (1..=n).sum()
}

fn from_a_thread(pool: &Pool, limit: &Limit) -> Result<u64> {
    let _permit = limit.acquire(&Context::current())?;
    Ok(pool.submit(|| query(10))?.join()?)
}

/// Nothing comes back until somebody cancels it.
fn no_answer() -> u64 {
    Context::current().token().wait(&Context::background());
    0
}

async fn from_a_task(pool: Pool, limit: Limit) -> Result<u64> {
    let _permit = limit.acquire_async(&Context::current()).await?;
    Ok(pool.call_async(|| query(100)).await?) // what `spawn_blocking` was, with a bound
}

/// Whichever is first: the answer, or the end of the context. The handle is a future like any other.
async fn or_the_end(pool: &Pool, cx: &Context) -> Result<Option<u64>> {
    let mut answer = pool.submit_async(no_answer).await?;
    tokio::select! {
        answered = &mut answer => Ok(Some(answered?)),
        why = cx.ended() => {
            println!("task: stopped waiting, {why}");
            answer.cancel();
            Ok(None)
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let pool = Pool::builder("queries").threads(2).queue(8).build()?;
    let limit = Limit::new(1);

    let (threads_pool, threads_limit) = (pool.clone(), limit.clone());
    let thread = std::thread::spawn(move || from_a_thread(&threads_pool, &threads_limit));
    let task = tokio::spawn(from_a_task(pool.clone(), limit.clone()));
    println!("task: {}", task.await??);
    println!("thread: {}", tokio::task::spawn_blocking(|| thread.join().expect("it does not panic")).await??);

    let token = CancelToken::new();
    let cx = Context::background().with_token(&token).with_timeout(Duration::from_millis(20));
    assert_eq!(or_the_end(&pool, &cx).await?, None);

    // A sleep that ends early, on both sides, by the same token.
    token.cancel();
    println!("asleep in a task: {:?}", cx.sleep_async(Duration::from_secs(3600)).await);
    println!("asleep on a thread: {:?}", cx.sleep(Duration::from_secs(3600)));
    Ok(())
}
