//! Whether a call opened a connection of its own or went over one that was kept.
//!
//! A server may close a kept connection at the very moment at which a request is written to it. The request was not served
//! then, and the upstream is not ill: it is worth a second call on another connection. An error on a connection that the call
//! itself opened says something else. The HTTP client does not tell the two apart, so its connector is watched.

use std::{
    cell::Cell,
    error::Error as _,
    io,
    task::{Context, Poll},
};

use reqwest::ClientBuilder;
use tower_layer::layer_fn;
use tower_service::Service;

tokio::task_local! {
    static OPENED: Cell<Opened>;
}

/// What a call opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It went over a kept connection.
    Nothing,
    /// It began to open a connection, though another may have become free first.
    Connection,
}

impl Opened {
    /// What `call` opens while it runs.
    pub(crate) async fn during<T>(call: impl Future<Output = T>) -> (T, Self) {
        let noted = async {
            let output = call.await;
            (output, OPENED.with(Cell::get))
        };
        OPENED.scope(Cell::new(Self::Nothing), noted).await
    }
}

/// A client whose calls can be watched by [`Opened::during`].
pub(crate) fn noting_connections(builder: ClientBuilder) -> ClientBuilder {
    builder.connector_layer(layer_fn(|connector| Noting { connector }))
}

/// A connector that notes its use.
#[derive(Clone)]
struct Noting<C> {
    connector: C,
}

impl<C: Service<T>, T> Service<T> for Noting<C> {
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        // Outside of a call, a connection may be opened for nobody in particular.
        let _unwatched = OPENED.try_with(|opened| opened.set(Opened::Connection));
        self.connector.call(target)
    }
}

/// Whether `error` is a connection that was closed before a byte of an answer.
pub(crate) fn is_stale(error: &reqwest::Error) -> bool {
    if error.is_timeout() || error.is_connect() || error.is_builder() {
        return false;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let is_closed = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
        let is_reset = error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
            )
        });
        if is_closed || is_reset {
            return true;
        }
        cause = error.source();
    }
    false
}
