//! Pools, jobs, and the context that travels with them.

use std::error::Error;
use std::time::Duration;
use watertight::pool::{Incomplete, Partial};
use watertight::{BuildError, CallError, Context, Interrupted, JobError, JobHandle, Pool, RejectReason, Rejected};

pub struct Image(pub Vec<u8>);
#[derive(Debug, PartialEq)]
pub struct Thumb(pub usize);

fn resize(image: Image) -> Thumb {
    Thumb(image.0.len() / 16)
}

type Rows = Vec<u32>;

fn query() -> Result<Rows, Interrupted> {
    Context::current().check()?;
    Ok(vec![1, 2, 3])
}

pub fn build() -> Result<Pool, BuildError> {
    Pool::builder("thumbnails").threads(4).queue(64).build()
}

/// One error type for the whole line.
pub fn thumbnail(pool: &Pool, image: Image) -> Result<Thumb, CallError> {
    Ok(pool.submit(move || resize(image))?.join()?)
}

/// `?` into a boxed error.
pub fn thumbnail_boxed(pool: &Pool, image: Image) -> Result<Thumb, Box<dyn Error + Send + Sync>> {
    Ok(pool.submit(move || resize(image))?.join()?)
}

/// `?` into anyhow.
pub fn thumbnail_anyhow(pool: &Pool, image: Image) -> anyhow::Result<Thumb> {
    Ok(pool.submit(move || resize(image))?.join()?)
}

/// Somebody's own enum: `Rejected` is generic, so its conversion is written by hand.
#[derive(Debug)]
pub enum MyError {
    Refused(RejectReason),
    Job(JobError),
}
impl<F> From<Rejected<F>> for MyError {
    fn from(refused: Rejected<F>) -> Self {
        Self::Refused(refused.reason)
    }
}
impl From<JobError> for MyError {
    fn from(e: JobError) -> Self {
        Self::Job(e)
    }
}
pub fn thumbnail_mine(pool: &Pool, image: Image) -> Result<Thumb, MyError> {
    Ok(pool.submit(move || resize(image))?.join()?)
}

/// What `spawn_blocking` was.
pub async fn thumbnail_async(pool: &Pool, image: Image) -> Result<Thumb, CallError> {
    let thumb = pool.call_async(move || resize(image)).await?;
    Ok(thumb)
}

/// The same handle, awaited.
pub async fn thumbnail_in_two_steps(pool: &Pool, image: Image) -> Result<Thumb, CallError> {
    let thumb = pool.submit_async(move || resize(image)).await?.await?;
    Ok(thumb)
}

/// A future that owns what it needs can leave.
pub async fn thumbnail_spawned(pool: &Pool, image: Image) -> anyhow::Result<Thumb> {
    Ok(tokio::spawn(pool.call_async(move || resize(image))).await??)
}

/// A deadline travels by itself: the job sees the caller's context.
pub fn rows_in_scope(pool: &Pool) -> anyhow::Result<Rows> {
    let cx = Context::current().with_timeout(Duration::from_secs(60));
    let rows = cx.in_scope(|| pool.submit(query))?.join()??;
    Ok(rows)
}

/// Or is given by hand.
pub fn rows_by_hand(pool: &Pool, cx: &Context) -> anyhow::Result<Rows> {
    let rows = pool.job().context(cx).name("rows").submit(query)?.join()??;
    Ok(rows)
}

/// A refusal gives the closure back: the caller runs it.
pub fn run_or_keep<T, F>(pool: &Pool, work: F, handles: &mut Vec<JobHandle<T>>) -> Option<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match pool.try_submit(work) {
        Ok(handle) => {
            handles.push(handle);
            None
        }
        Err(full) => Some(full.into_work()()),
    }
}

/// Waiting for less than the whole job.
pub fn within<T>(mut handle: JobHandle<T>, cx: &Context) -> Result<Option<T>, JobError> {
    let Some(result) = handle.join_within(cx) else {
        handle.cancel();
        return Ok(None);
    };
    result.map(Some)
}

/// The same for a task.
pub async fn select_within<T>(mut handle: JobHandle<T>, cx: &Context) -> Result<Option<T>, JobError> {
    tokio::select! {
        r = &mut handle => return r.map(Some),
        _ = cx.ended() => handle.cancel(),
    }
    Ok(None)
}

/// The job is cancelled with whoever wanted it.
pub async fn unless_dropped(pool: &Pool) -> anyhow::Result<u32> {
    let handle = pool.submit(|| 7)?.cancel_on_drop();
    Ok(handle.await?)
}

/// A page is its article, and what else arrives in time; each part has a type of its own.
#[derive(Debug, PartialEq)]
pub enum Part {
    Article(&'static str),
    Related(Vec<u32>),
    Weather(i8),
}

/// The parts of a page, begun in the context of whoever wants it.
pub fn parts(pool: &Pool) -> Result<Partial<Part>, RejectReason> {
    Ok(Partial::new()
        .mandatory(pool.submit(|| Part::Article("how to read"))?)
        .optional(pool.submit(|| Part::Related(vec![2, 3]))?)
        .optional(pool.submit(|| Part::Weather(21))?))
}

/// Mandatory parts or an error; of the optional ones what has arrived.
pub fn page(pool: &Pool, cx: &Context) -> anyhow::Result<Vec<Part>> {
    let arrived = cx.in_scope(|| parts(pool))?.join(cx)?;
    Ok(arrived.mandatory.into_iter().chain(arrived.optional.into_iter().flatten()).collect())
}

/// The same for a task, with an error of its own.
pub async fn page_async(pool: &Pool, cx: &Context) -> Result<usize, PageError> {
    let arrived = cx.in_scope(|| parts(pool))?.join_async(cx).await?;
    let late = arrived.optional.iter().filter(|part| part.is_err()).count();
    Ok(late)
}

#[derive(Debug)]
pub enum PageError {
    Refused(RejectReason),
    Missing(Incomplete),
}
impl From<RejectReason> for PageError {
    fn from(reason: RejectReason) -> Self {
        Self::Refused(reason)
    }
}
impl From<Incomplete> for PageError {
    fn from(missing: Incomplete) -> Self {
        Self::Missing(missing)
    }
}

/// As many branches as there are shards: one loop.
pub fn any_shards(pool: &Pool, shards: Vec<Vec<u32>>, cx: &Context) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let mut asked = Partial::new();
    for shard in shards {
        asked = asked.optional(pool.job().context(cx).submit(move || shard.iter().sum::<u32>())?);
    }
    Ok(asked.join(cx)?.optional.into_iter().flatten().sum())
}

pub fn shut_down(pool: &Pool) -> anyhow::Result<()> {
    pool.shutdown(&Context::background().with_timeout(Duration::from_secs(60)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use watertight::CancelToken;

    fn image() -> Image {
        Image(vec![0; 1600])
    }

    #[test]
    fn a_line_of_its_own_for_every_error_type() {
        let pool = build().unwrap();
        assert_eq!(thumbnail(&pool, image()).unwrap(), Thumb(100));
        assert_eq!(thumbnail_boxed(&pool, image()).unwrap(), Thumb(100));
        assert_eq!(thumbnail_anyhow(&pool, image()).unwrap(), Thumb(100));
        assert_eq!(thumbnail_mine(&pool, image()).unwrap(), Thumb(100));
        shut_down(&pool).unwrap();
        assert!(matches!(thumbnail(&pool, image()), Err(CallError::Rejected(RejectReason::ShuttingDown))));
        assert!(matches!(thumbnail_mine(&pool, image()), Err(MyError::Refused(RejectReason::ShuttingDown))));
        let refused = thumbnail_boxed(&pool, image()).unwrap_err();
        let reason = refused.source().and_then(|source| source.downcast_ref::<RejectReason>());
        assert_eq!(reason, Some(&RejectReason::ShuttingDown));
        let refused = thumbnail_anyhow(&pool, image()).unwrap_err();
        let reason = refused.chain().find_map(|cause| cause.downcast_ref::<RejectReason>());
        assert_eq!(reason, Some(&RejectReason::ShuttingDown));
    }

    #[tokio::test]
    async fn the_same_awaited() {
        let pool = build().unwrap();
        assert_eq!(thumbnail_async(&pool, image()).await.unwrap(), Thumb(100));
        assert_eq!(thumbnail_in_two_steps(&pool, image()).await.unwrap(), Thumb(100));
        assert_eq!(thumbnail_spawned(&pool, image()).await.unwrap(), Thumb(100));
        assert_eq!(unless_dropped(&pool).await.unwrap(), 7);
    }

    #[test]
    fn a_context_travels() {
        let pool = build().unwrap();
        assert_eq!(rows_in_scope(&pool).unwrap(), [1, 2, 3]);
        assert_eq!(rows_by_hand(&pool, &Context::background()).unwrap(), [1, 2, 3]);
        let past = Context::background().with_timeout(Duration::ZERO);
        assert!(rows_by_hand(&pool, &past).is_err());
    }

    #[test]
    fn a_full_pool_gives_the_work_back() {
        let pool = Pool::builder("one").threads(1).queue(0).build().unwrap();
        let (go_on, paused) = channel::<()>();
        let mut handles = Vec::new();
        assert_eq!(run_or_keep(&pool, move || paused.recv().is_err(), &mut handles), None);
        assert_eq!(run_or_keep(&pool, || true, &mut handles), Some(true));
        drop(go_on);
        assert!(handles.pop().unwrap().join().unwrap());
    }

    #[tokio::test]
    async fn a_page_is_what_has_arrived() {
        let pool = build().unwrap();
        let cx = Context::background().with_timeout(Duration::from_secs(60));
        let whole = [Part::Article("how to read"), Part::Related(vec![2, 3]), Part::Weather(21)];
        assert_eq!(page(&pool, &cx).unwrap(), whole);
        assert_eq!(page_async(&pool, &cx).await.unwrap(), 0);
        assert_eq!(any_shards(&pool, vec![vec![1, 2], vec![], vec![3]], &cx).unwrap(), 6);
        let past = Context::background().with_timeout(Duration::ZERO);
        assert!(page(&pool, &past).is_err());
        assert!(matches!(page_async(&pool, &past).await, Err(PageError::Refused(RejectReason::DeadlinePassed))));
        shut_down(&pool).unwrap();
    }

    #[tokio::test]
    async fn nobody_has_to_wait_to_the_end() {
        let pool = build().unwrap();
        let token = CancelToken::new();
        token.cancel();
        let ended = Context::background().with_token(&token);
        let until_cancelled = || Context::current().token().wait(&Context::background());
        assert_eq!(within(pool.submit(until_cancelled).unwrap(), &ended).unwrap(), None);
        assert_eq!(select_within(pool.submit(until_cancelled).unwrap(), &ended).await.unwrap(), None);
        assert_eq!(within(pool.submit(|| 7).unwrap(), &Context::background()).unwrap(), Some(7));
        assert_eq!(select_within(pool.submit(|| 7).unwrap(), &Context::background()).await.unwrap(), Some(7));
        shut_down(&pool).unwrap();
    }
}
