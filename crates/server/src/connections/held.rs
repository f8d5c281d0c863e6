//! Whole answers that hold something, such as a permit, until they are written.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
};
use bytes::Bytes;
use serde::Serialize;

use super::Connection;

/// A whole answer. What it holds is dropped when the last byte was handed to the kernel, or the connection has ended.
pub(crate) struct Held {
    bytes: Bytes,
    guard: Option<Box<dyn Any>>,
    /// `None` where no listener of ours is involved.
    connection: Option<Rc<Connection>>,
}

impl Held {
    /// An answer of `bytes` that holds `guard`.
    pub(crate) fn new(bytes: Bytes, guard: impl Any, connection: Option<Rc<Connection>>) -> Self {
        Self { bytes, guard: Some(Box::new(guard)), connection }
    }
}

/// An answer of JSON that holds `guard`.
pub(crate) fn json_until_written(
    mut response: HttpResponseBuilder,
    value: &impl Serialize,
    guard: impl Any,
    connection: Option<Rc<Connection>>,
) -> HttpResponse {
    match serde_json::to_vec(value) {
        Ok(json) => response.content_type("application/json").body(Held::new(json.into(), guard, connection)),
        Err(error) => HttpResponse::from_error(actix_web::Error::from(error)),
    }
}

impl MessageBody for Held {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
    }
}

impl Drop for Held {
    /// The body is encoded in one piece, which may be long before the client has taken it.
    fn drop(&mut self) {
        if let (Some(guard), Some(connection)) = (self.guard.take(), &self.connection) {
            connection.hold_until_written(guard);
        }
    }
}
