//! The RunPod provider: vLLM behind a queue endpoint or a load-balancing endpoint.
//!
//! Both kinds speak OpenAI's API, and vLLM ignores what it does not know, so a request passes nearly as it came. The
//! work is in the answers: a queue endpoint runs each request as a job, and what vLLM refused comes back as a failed
//! job that holds the refusal as text. `dialect` finds it again, so that a client's mistake is not taken for a broken
//! upstream.

mod capacity;
mod dialect;
mod jobs;
mod literal;
mod outgoing;

use std::sync::Arc;

use openai::{BuildError, Client, Served};
use provider::{Call, Capacity, Error, Provider, Reply, Request};
use url::Url;

use dialect::RunPodDialect;
use jobs::Jobs;

/// What one endpoint serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name under which vLLM serves the model.
    pub model: String,
    /// Sent where the client names no limit.
    pub default_max_tokens: Option<u64>,
    /// Its context in tokens, if known.
    pub context_tokens: Option<u64>,
    /// Where workers are counted: `/health` of a queue endpoint, or the workers of the management API.
    pub capacity_url: Option<String>,
    /// Where a queue endpoint's own jobs live, such as `https://api.runpod.ai/v2/ENDPOINT`.
    pub jobs_url: Option<String>,
}

/// One RunPod endpoint.
pub struct RunPod {
    client: Arc<Client>,
    served: Arc<Served>,
    capacity_url: Option<Url>,
    jobs: Option<Jobs>,
}

impl RunPod {
    /// An endpoint behind `client`.
    ///
    /// # Errors
    /// If the capacity URL or that of the jobs is none.
    pub fn new(client: Client, settings: Settings) -> Result<Self, BuildError> {
        let parse = |url: String| Url::parse(&url).map_err(|_| BuildError::Url(url));
        let capacity_url = settings.capacity_url.map(parse).transpose()?;
        let jobs_url = settings.jobs_url.map(parse).transpose()?;
        let served = Served::new(&settings.model, settings.default_max_tokens, "max_tokens")
            .with_context(settings.context_tokens);
        let client = Arc::new(client);
        let jobs = jobs_url.map(|url| Jobs::new(client.clone(), url));
        Ok(Self { client, served: Arc::new(served), capacity_url, jobs })
    }
}

#[async_trait::async_trait]
impl Provider for RunPod {
    async fn call(&self, request: &Request, call: &Call) -> Result<Reply, Error> {
        let served = self.served.clone();
        let rewrite = move |request: &Request, call: &Call| {
            outgoing::check(request)?;
            Ok(outgoing::outgoing(request, &served, call).finish())
        };
        let finished = openai::rewritten(request, call, rewrite).await?;
        let answered = self.client.send(request, call, finished, &RunPodDialect).await;
        match &self.jobs {
            Some(jobs) => jobs.watched(answered),
            None => answered,
        }
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        let Some(url) = &self.capacity_url else { return Ok(Capacity::default()) };
        capacity::read(&self.client.get_json(url.clone(), &RunPodDialect).await?)
    }
}
