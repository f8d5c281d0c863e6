//! Panics in handlers: each is a line of the log and a 500, and the connection, the worker and the process go on.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::poll_fn,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook},
    pin::pin,
    sync::Once,
    task::Poll,
};

thread_local! {
    /// Whether the running code's panics are caught here. If so, the panic hook writes no line: the line is written
    /// where the request's id is known.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a panic said, and where.
#[derive(Debug)]
pub(super) struct Panicked(pub(super) String);

/// Has panics logged as one line each; without a log, the process' own hook writes them to standard error.
pub(crate) fn log_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if CAUGHT.get() {
                LAST.set(Some(described(info)));
            } else if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!(panic = described(info), "a task panicked");
            } else {
                before(info);
            }
        }));
    });
}

fn described(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    format!("{} at {place}", message(info.payload()))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

/// What `act` returns, or that it panicked.
pub(super) fn caught<T>(act: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(act));
    CAUGHT.set(outer);
    outcome.map_err(|payload| Panicked(LAST.take().unwrap_or_else(|| message(&*payload).to_owned())))
}

/// What `future` returns, or that it panicked while it ran.
pub(super) async fn catching<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(move |context| match caught(|| future.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}
