//! Work on long bodies, away from the threads that relay streams: a worker that parses megabytes would hold up every other
//! client that it serves.

use std::{panic::resume_unwind, sync::LazyLock, thread};

use provider::LONG_BODY;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// As many pieces of work at a time as there are cores; the others wait in the order in which they came.
static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(thread::available_parallelism().map_or(1, usize::from)));

/// Does `work` on a body of so many bytes: at once, or on another thread if that is long.
///
/// Once begun, long work goes on even if nobody waits for it any more: what it uses belongs into the closure.
pub async fn long_work<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= LONG_BODY {
        return work();
    }
    // An error would mean that the semaphore was closed, which it never is.
    let turn = CORES.acquire().await.ok();
    let worked = spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    match worked.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is about to end, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn short_work_is_done_where_it_is() {
        let here = thread::current().id();
        assert_eq!(long_work(LONG_BODY, || thread::current().id()).await, here);
    }

    /// The work only ends once the thread that asked for it has done something else.
    #[tokio::test]
    async fn a_thread_goes_on_while_long_work_is_done_elsewhere() {
        let (sender, receiver) = mpsc::channel();
        let work = long_work(LONG_BODY + 1, move || receiver.recv().expect("a word"));
        let meanwhile = async { sender.send("done").expect("the work waits") };
        let (said, ()) = futures_util::future::join(work, meanwhile).await;
        assert_eq!(said, "done");
    }

    #[tokio::test]
    async fn work_that_was_begun_ends_though_nobody_waits_for_it() {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = mpsc::channel();
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let work = long_work(LONG_BODY + 1, move || {
            begun.send(()).expect("the test waits");
            goes_on.recv().expect("a word");
            ended.send(()).expect("the test waits");
        });
        tokio::select! {
            () = work => panic!("it waits for a word"),
            begun = has_begun => begun.expect("begun"),
        }
        go_on.send(()).expect("the work waits");
        has_ended.await.expect("it ends");
    }

    #[tokio::test]
    #[should_panic(expected = "as it was")]
    async fn a_panic_is_passed_on() {
        long_work(LONG_BODY + 1, || panic!("as it was")).await;
    }
}
