//! Passes each event to several observers.

use std::sync::Arc;

use dispatch::{Event, Observer, RequestEnded};
use futures_util::future::{BoxFuture, join_all};

/// All that listen.
pub(crate) struct Observers(pub(crate) Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn on(&self, event: &Event<'_>) {
        for observer in &self.0 {
            observer.on(event);
        }
    }

    fn close(&self) {
        for observer in &self.0 {
            observer.close();
        }
    }

    fn settle(&self, ended: &RequestEnded) -> Option<BoxFuture<'static, ()>> {
        let mut waits: Vec<_> = self.0.iter().filter_map(|observer| observer.settle(ended)).collect();
        if waits.len() < 2 {
            return waits.pop();
        }
        Some(Box::pin(async move { drop(join_all(waits).await) }))
    }
}
