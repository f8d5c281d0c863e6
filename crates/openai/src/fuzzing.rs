//! What fuzz targets and property tests reach beyond the public API.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::header::CONTENT_TYPE;
use http_body_util::StreamBody;
use hyper::body::Frame as BodyFrame;
use provider::{Call, Error, Frame, Frames, ReasoningField, Request, UpstreamIds};

use crate::{
    Dialect, Event, OpenAiDialect, chunk,
    outgoing::{Outgoing, Served},
    reply::{self, CallDetails},
};

/// Reads an event of a stream.
pub fn frame(event: Event, wants_usage: bool) -> Result<Frame, Error> {
    let usage_for = if wants_usage { chunk::UsageFor::Client } else { chunk::UsageFor::Hidden };
    chunk::read(event, (usage_for, ReasoningField::Both), &OpenAiDialect).map(|read| read.frame)
}

/// The frames of a 200 to `request` with this `content-type`, whose body comes in these reads.
pub fn reply(
    label: Option<&str>,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    request: &Request,
    call: &Call,
    dialect: &'static dyn Dialect,
) -> Frames {
    let mut response = http::Response::new(StreamBody::new(body.map_ok(BodyFrame::data)));
    if let Some(label) = label.and_then(|label| label.parse().ok()) {
        response.headers_mut().insert(CONTENT_TYPE, label);
    }
    let injected = Outgoing::new(request, &Served::new("m", None, "max_tokens"), call).finish().injected;
    let details = CallDetails { injected, ids: UpstreamIds::default() };
    reply::frames(response, request, call, dialect, details)
}
