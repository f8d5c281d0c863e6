//! `POST /v1/generate/batch`: many prompts in one call, each answered or refused on its own.
//!
//! Every prompt passes through the router like a request of its own: it waits for a permit and for the key's allowance,
//! so that a batch is slowed down where single requests would be refused. A batch holds its own permits to its end, and
//! one of its entries at a time is answered under them: so each batch makes progress, however many batches wait for
//! permits. Results come in order as one JSON document, or each as soon as it is there, a line each. When the client
//! leaves, what has not started never does.

mod entry;
mod parsed;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, body::BodyStream, http::header, rt, web};
use bytes::Bytes;
use dispatch::Route;
use futures_util::{Stream, StreamExt, stream};
use offload::long_work;
use provider::{MemoryBudget, Reservation};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use utoipa::ToSchema;

use super::{
    admission::{Admitted, RequestContext},
    answer::{JSON, serialised, whole},
    in_pieces,
};
use crate::{
    app::App,
    error::ApiError,
    limits::{Demand, Grant, Permits},
    permits::Permit,
    sse::next_write,
};
use entry::{Batch, Line};
pub(crate) use parsed::ParsedBatch;

/// Answers every prompt.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let mut context = RequestContext::new(Route::Batch, &request, &app);
    let prepared = match context.receive(&request, payload).await {
        Ok(admitted) => prepare(admitted, &mut context).await,
        Err(error) => Err(error),
    };
    let (parsed, mut admitted, open) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return context.refuse(&error).await,
    };
    let wants_lines = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/x-ndjson")));
    let concurrency = parsed.concurrency;
    let held = Held { permits: Arc::new(std::mem::take(&mut admitted.permits)), _open: open };
    let memory = admitted.key.memory.clone();
    let batch = Arc::new(Batch::new(&context, admitted, parsed.defaults));
    let lines = parsed.entries.into_iter().enumerate().map(move |(index, entry)| {
        let batch = batch.clone();
        async move { batch.line(index, entry).await }
    });
    let lines = stream::iter(lines).buffer_unordered(concurrency);
    if wants_lines {
        as_lines(context, lines, concurrency, held)
    } else {
        as_document(context, lines, held, &memory).await
    }
}

/// What is held until the answer is complete.
struct Held {
    permits: Permits,
    _open: [Permit; 2],
}

/// Reads what is asked for, if there is room for one more batch. The first entry gets the call that the batch is counted as.
async fn prepare(
    mut admitted: Admitted,
    context: &mut RequestContext,
) -> Result<(ParsedBatch, Admitted, [Permit; 2]), ApiError> {
    let of_key = admitted.key.open_batches.try_take().ok_or_else(ApiError::too_many_batches_of_key)?;
    let open = [of_key, context.app.open_batches.try_take().ok_or_else(ApiError::too_many_batches)?];
    let most = context.live.server.max_batch;
    // The entries are pieces of the body.
    let parsing = long_work(admitted.body.len(), move || (ParsedBatch::parse(&admitted.body, most), admitted));
    let parsed;
    (parsed, admitted) = parsing.await;
    let parsed = parsed?;
    context.count(&mut admitted.permits.grant, None, Demand::ONE).await?;
    // Its entries take the key's permits themselves, each all that it needs at once: they must not wait for a permit
    // that the batch holds.
    admitted.permits.grant = Grant::default();
    Ok((parsed, admitted, open))
}

/// Every result, as soon as it is there. The work is done beside the response: a client that reads slowly must not make the
/// calls look slow.
fn as_lines(
    context: RequestContext,
    lines: impl Stream<Item = Line> + 'static,
    concurrency: usize,
    held: Held,
) -> HttpResponse {
    let RequestContext { mut response, version, .. } = context;
    let (sender, mut receiver) = mpsc::channel(concurrency);
    let work = AbortOnDropHandle::new(rt::spawn(async move {
        let mut lines = std::pin::pin!(lines);
        while let Some(line) = lines.next().await {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    }));
    let body = stream::poll_fn(move |context| {
        let _held = (&work, &held);
        receiver.poll_recv(context)
    });
    let body = body.flat_map(|line| stream::iter(writes(line))).map(Ok::<_, actix_web::Error>);
    response.content_type("application/x-ndjson");
    in_pieces(&mut response, version, BodyStream::new(body))
}

/// A line as it is written.
fn writes(line: Line) -> impl Iterator<Item = Bytes> {
    // Texts and numbers always serialise.
    let mut json = serde_json::to_vec(&line).unwrap_or_default();
    json.push(b'\n');
    let mut rest = match line.reservation {
        Some(reservation) => reservation.attach(json.into()),
        None => json.into(),
    };
    std::iter::from_fn(move || (!rest.is_empty()).then(|| next_write(&mut rest)))
}

/// Every result, in the order of the prompts.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchReply)]
pub(crate) struct Document {
    results: Vec<Line>,
    succeeded: usize,
    failed: usize,
    /// The sum of the list prices that are known, in US dollars; null if none is.
    #[schema(required)]
    cost_usd: Option<f64>,
}

async fn as_document(
    context: RequestContext,
    lines: impl Stream<Item = Line>,
    held: Held,
    memory: &MemoryBudget,
) -> HttpResponse {
    let RequestContext { response, connection, .. } = context;
    let mut results: Vec<Line> = lines.collect().await;
    results.sort_by_key(|line| line.index);
    let succeeded = results.iter().filter(|line| line.generated().is_some()).count();
    let costs = results.iter().filter_map(|line| line.generated()?.cost_usd());
    let cost_usd = costs.fold(None, |sum: Option<f64>, cost| Some(sum.unwrap_or_default() + cost));
    let failed = results.len() - succeeded;
    let reservations = results.iter_mut().filter_map(|line| line.reservation.take());
    let reservation = reservations.fold(memory.nothing(), |mut all: Reservation, one| {
        all.merge(one);
        all
    });
    let document = serialised(&Document { results, succeeded, failed, cost_usd }, reservation);
    whole(response, (JSON, document), held.permits, connection)
}
