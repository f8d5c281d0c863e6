//! Bodies that a fault scripts: they are sent piece by piece, and end as the fault says.

use std::{collections::VecDeque, time::Duration};

use actix_web::{
    HttpResponse,
    body::BodyStream,
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    call_log::{Entry, Usage},
    fault::{End, Scripted},
    player::Cut,
    worker_permit::WorkerPermit,
};

/// Time between two pieces, so that they are written apart, and before a cut, so that they arrive.
const APART: Duration = Duration::from_millis(2);
const SETTLE: Duration = Duration::from_millis(20);

/// A body written out.
#[derive(Debug)]
pub(crate) struct Written {
    /// The pieces, with the tokens in each.
    pub(crate) pieces: VecDeque<(Bytes, u64)>,
    pub(crate) end: End,
    pub(crate) entry: Entry,
    /// What the answer reports.
    pub(crate) usage: Option<Usage>,
    /// Given up after the last piece.
    pub(crate) permit: Option<WorkerPermit>,
    /// When the first piece is due.
    pub(crate) due: Instant,
}

impl Written {
    /// The body to send.
    pub(crate) fn play(self) -> impl Stream<Item = Result<Bytes, Cut>> + 'static {
        stream::unfold(Some(Box::new(self)), |written| async move {
            let mut written = written?;
            sleep_until(written.due).await;
            written.due = Instant::now() + APART;
            if let Some((bytes, tokens)) = written.pieces.pop_front() {
                written.entry.emit(tokens);
                return Some((Ok(bytes), Some(written)));
            }
            drop(written.permit.take());
            match written.end {
                End::Hang => std::future::pending().await,
                End::Complete => {
                    written.entry.complete(written.usage);
                    None
                }
                End::Cut => {
                    sleep(SETTLE).await;
                    written.entry.break_off();
                    Some((Err(Cut), None))
                }
            }
        })
    }
}

/// The answer of a script. The call log counts it as completed if it ends in order and its status is no error.
pub(crate) fn respond(script: Scripted, mut entry: Entry) -> HttpResponse {
    let Scripted { status, headers, pieces, end } = script;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_client_error() || status.is_server_error() {
        entry.break_off();
    }
    let mut response = HttpResponse::build(status);
    for (name, value) in headers {
        match value.parse() {
            Ok(length) if name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str()) => response.no_chunking(length),
            _ => response.append_header((name, value)),
        };
    }
    let pieces = pieces.into_iter().map(|piece| (Bytes::from(piece), 0)).collect();
    let written = Written { pieces, end, entry, usage: None, permit: None, due: Instant::now() };
    response.body(BodyStream::new(written.play()))
}

/// Puts headers into an answer in place of those of the same names; names and values that no header can have are left out.
pub(crate) fn set_headers(response: &mut HttpResponse, headers: &[(String, String)]) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            response.headers_mut().insert(name, value);
        }
    }
}
