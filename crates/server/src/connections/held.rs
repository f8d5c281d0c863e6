//! Whole answers that hold something, such as a permit, until they are written.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::Connection;
use crate::sse::next_write;

/// A whole answer. What it holds is dropped when the last byte was handed to the kernel, or the connection has ended.
pub(crate) struct Held {
    rest: Bytes,
    guard: Option<Box<dyn Any>>,
    /// `None` where no listener of ours is involved.
    connection: Option<Rc<Connection>>,
}

impl Held {
    /// An answer of `bytes` that holds `guard`.
    pub(crate) fn new(bytes: Bytes, guard: impl Any, connection: Option<Rc<Connection>>) -> Self {
        Self { rest: bytes, guard: Some(Box::new(guard)), connection }
    }
}

impl MessageBody for Held {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready((!self.rest.is_empty()).then(|| Ok(next_write(&mut self.rest))))
    }
}

impl Drop for Held {
    /// The last piece is encoded, which may be long before the client has taken it.
    fn drop(&mut self) {
        if let (Some(guard), Some(connection)) = (self.guard.take(), &self.connection) {
            connection.hold_until_written(guard);
        }
    }
}
