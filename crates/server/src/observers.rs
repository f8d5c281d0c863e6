//! Passes each event to several observers.

use std::sync::Arc;

use dispatch::{AttemptBegins, AttemptEnded, Event, Observer, Recording, RequestEnded};
use futures_util::future::try_join_all;

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

    fn begin(&self, begins: &AttemptBegins<'_>) -> Option<Recording> {
        all(self.0.iter().filter_map(|observer| observer.begin(begins)).collect())
    }

    fn settle(&self, served: &AttemptEnded, ended: &RequestEnded) -> Option<Recording> {
        all(self.0.iter().filter_map(|observer| observer.settle(served, ended)).collect())
    }
}

fn all(mut recordings: Vec<Recording>) -> Option<Recording> {
    if recordings.len() < 2 {
        return recordings.pop();
    }
    Some(Box::pin(async move { try_join_all(recordings).await.map(drop) }))
}
