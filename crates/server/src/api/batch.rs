//! `POST /v1/generate/batch`: many prompts in one call, each answered or refused on its own.
//!
//! Every prompt passes through the router like a request of its own: it waits for a permit and for the key's allowance, so that
//! a batch is slowed down where single requests would be refused. Results come in order as one JSON document, or each as soon
//! as it is there, a line each. When the client leaves, what has not started never does.

mod entry;
mod order;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use actix_web::{HttpRequest, HttpResponse, body::BodyStream, http::header, rt, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use router::Route;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use utoipa::ToSchema;

use super::{admission::RequestContext, in_pieces};
use crate::app::App;
use entry::{Batch, Line};
use order::Order;

/// Answers every prompt.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let mut context = RequestContext::new(Route::Batch, &request, &app);
    let prepared = match context.receive(&request, payload).await {
        // The first entry gets what the batch itself is counted for.
        Ok(mut admitted) => Order::parse(&admitted.body, context.live.server.max_batch)
            .and_then(|order| context.charge(&mut admitted, None, 1).map(|()| (order, admitted))),
        Err(error) => Err(error),
    };
    let (order, admitted) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return context.refuse(&error),
    };
    let wants_lines = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/x-ndjson")));
    let concurrency = order.concurrency;
    let open = Open::new(&context.app.open_batches);
    let batch = Arc::new(Batch::new(&context, admitted, order.defaults));
    let lines = order.entries.into_iter().enumerate().map(move |(index, entry)| {
        let batch = batch.clone();
        async move { batch.line(index, entry).await }
    });
    let lines = stream::iter(lines).buffer_unordered(concurrency);
    if wants_lines { as_lines(context, lines, concurrency, open) } else { as_document(context, lines, open).await }
}

/// A batch whose answer is not complete. A stop waits for it. It holds permits only while an entry is answered: otherwise
/// batches that wait for each other's permits would never end.
struct Open(Arc<AtomicU32>);

impl Open {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Every result, as soon as it is there. The work is done beside the response: a client that reads slowly must not make the
/// calls look slow.
fn as_lines(
    context: RequestContext,
    lines: impl futures_util::Stream<Item = Line> + 'static,
    concurrency: usize,
    open: Open,
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
        let _held = (&work, &open);
        receiver.poll_recv(context)
    });
    let body = body.map(|line| {
        let mut json = serde_json::to_vec(&line).unwrap_or_default();
        json.push(b'\n');
        Ok::<_, actix_web::Error>(Bytes::from(json))
    });
    response.content_type("application/x-ndjson");
    in_pieces(&mut response, version, BodyStream::new(body))
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
    lines: impl futures_util::Stream<Item = Line>,
    _open: Open,
) -> HttpResponse {
    let RequestContext { mut response, .. } = context;
    let mut results: Vec<Line> = lines.collect().await;
    results.sort_by_key(|line| line.index);
    let succeeded = results.iter().filter(|line| line.generated().is_some()).count();
    let costs = results.iter().filter_map(|line| line.generated()?.cost_usd());
    let cost_usd = costs.fold(None, |sum: Option<f64>, cost| Some(sum.unwrap_or_default() + cost));
    let failed = results.len() - succeeded;
    response.json(Document { results, succeeded, failed, cost_usd })
}
