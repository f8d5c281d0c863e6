//! Cancels jobs of a queue endpoint whose result is not needed any more.
//!
//! The endpoint runs each request as a job. When it gives up waiting for a worker, it answers with the job, which is
//! still in the queue. The router asks another upstream then, and the job would be run and billed although no client
//! waits for it. So it is cancelled.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Method;
use openai::{Client, blame::JOB_WAITS};
use provider::{Error, Reply};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::dialect::RunPodDialect;

/// Longest time that a cancellation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The jobs of one endpoint.
#[derive(Clone)]
pub(crate) struct Jobs {
    client: Arc<Client>,
    url: Url,
    /// Cancellations under way.
    tasks: TaskTracker,
}

impl Jobs {
    /// Of the endpoint whose jobs live under `url`.
    pub(crate) fn new(client: Arc<Client>, url: Url) -> Self {
        Self { client, url, tasks: TaskTracker::new() }
    }

    /// Cancels the job of an answer that says that the job still waits, at once or within the frames.
    pub(crate) fn watched(&self, answered: Result<Reply, Error>) -> Result<Reply, Error> {
        let reply = match answered {
            Ok(reply) => reply,
            Err(error) => {
                self.leave(&error);
                return Err(error);
            }
        };
        let jobs = self.clone();
        let frames = reply.frames.inspect(move |frame| {
            if let Err(error) = frame {
                jobs.leave(error);
            }
        });
        Ok(Reply { frames: Box::pin(frames), ..reply })
    }

    fn leave(&self, error: &Error) {
        let is_waiting = error.code.as_deref() == Some(JOB_WAITS);
        let Some(id) = error.ids.request().filter(|_| is_waiting) else { return };
        let mut url = self.url.clone();
        // The id comes from outside: as one segment it cannot lead anywhere else.
        let Ok(mut path) = url.path_segments_mut() else { return };
        path.pop_if_empty().push("cancel").push(id);
        drop(path);
        let client = self.client.clone();
        self.tasks.spawn(async move {
            let cancelled = client.json(Method::POST, url, Bytes::new(), &RunPodDialect);
            // A job that cannot be cancelled ends by its own limits; no client is left to report that to.
            drop(tokio::time::timeout(PATIENCE, cancelled).await);
        });
    }
}
