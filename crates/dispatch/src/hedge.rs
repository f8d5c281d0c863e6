//! A stream whose first call is late to begin is called a second time elsewhere. The answer that begins first is the
//! client's, and the other call is cancelled.

use std::{pin::pin, sync::Arc};

use provider::{Call, Error, Request, Time};
use router::{Attempt, Upstream};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    attempt::SharedIds,
    context::{RequestContext, Which},
    event::Recording,
    serve::{BegunReply, begin},
    table::Table,
};

/// Makes the call of `attempt`, which is to have content by `limit`, and at `hedge_at` a second one if the engine begins
/// it. Returns the answer that begins first and the attempt that it is of; if none does, the error of the call that
/// failed last.
pub(crate) async fn open(
    request: &Request,
    call: &Call,
    (attempt, limit): (Attempt, Time),
    hedge_at: Time,
    context: &mut RequestContext,
) -> Result<(BegunReply, Attempt), Error> {
    let first = OneCall::new(Which::First, (&attempt, limit), context.share_ids(), context);
    let (which, begun) = race(request, call, first, hedge_at, context).await;
    if begun.is_ok() {
        context.won(which);
    }
    // The only call that is left.
    let attempt = context.attempt().unwrap_or(attempt);
    match begun {
        Ok(begun) => Ok((begun, attempt)),
        Err(Some(error)) => Err(error),
        Err(None) => Err(context.overdue(&attempt)),
    }
}

/// Returns the first answer that begins, or else the failure of the last call, without an error if its limit was
/// reached; and which of the calls under way that is. No other call runs on.
async fn race(
    request: &Request,
    call: &Call,
    first: OneCall,
    hedge_at: Time,
    context: &mut RequestContext,
) -> (Which, Result<BegunReply, Option<Error>>) {
    let table = context.table.clone();
    let hedge_at = context.clock.instant(hedge_at);
    let mut first = pin!(first.open(&table, request, call));
    let second = tokio::select! {
        biased;
        begun = &mut first => return (Which::First, begun),
        () = sleep_until(hedge_at) => context.hedge(),
    };
    let Some((start, shared_ids)) = second else { return (Which::First, first.await) };
    let second = OneCall::new(Which::Second, (&start.attempt, start.limit), shared_ids, context);
    let call = Call { adjustment: start.adjustment, ..call.clone() };
    let mut second = pin!(second.open(&table, request, &call));
    let (which, begun) = tokio::select! {
        biased;
        begun = &mut first => (Which::First, begun),
        begun = &mut second => (Which::Second, begun),
    };
    let error = match begun {
        Ok(begun) => return (which, Ok(begun)),
        Err(error) => error,
    };
    context.one_failed(which, request, error);
    let begun = match which {
        Which::First => second.await,
        Which::Second => first.await,
    };
    (Which::First, begun)
}

/// One of the two calls.
struct OneCall {
    upstream: Arc<Upstream>,
    limit: Instant,
    shared_ids: SharedIds,
    recording: Option<Recording>,
}

impl OneCall {
    fn new(
        which: Which,
        (attempt, limit): (&Attempt, Time),
        shared_ids: SharedIds,
        context: &mut RequestContext,
    ) -> Self {
        let recording = context.recording(which);
        // As good as sent: the call waits for its record beside the other one.
        context.sends(which);
        let upstream = context.state.model().targets()[attempt.target].clone();
        Self { upstream, limit: context.clock.instant(limit), shared_ids, recording }
    }

    /// Makes the call and waits for content. Fails without an error if its limit is reached.
    async fn open(self, table: &Table, request: &Request, call: &Call) -> Result<BegunReply, Option<Error>> {
        if let Some(recording) = self.recording {
            recording.await.map_err(Some)?;
        }
        let opening = async {
            let reply = table.provider(&self.upstream).call(request, call).await?;
            // There is one head.
            drop(self.shared_ids.set(reply.head.ids.clone()));
            begin(reply, call).await
        };
        timeout_at(self.limit, opening).await.map_or(Err(None), |begun| begun.map_err(Some))
    }
}
