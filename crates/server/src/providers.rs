//! From configuration to a routing table: the only module that names every provider.

use std::{collections::HashMap, sync::Arc};

use dispatch::Table;
use openai::{BuildError, Client, OpenAi, Served};
use parking_lot::Mutex;
use provider::{Provider, UpstreamId};
use router::TableError;
use settings::{Config, Model, ProviderSettings, Upstream};

const OPENAI_URL: &str = "https://api.openai.com/";

/// Why a valid configuration makes no table.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// An upstream's client could not be made.
    #[error("upstream {0}: {1}")]
    Upstream(UpstreamId, BuildError),
    /// The table does not hold together.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// The clients of the upstreams, by id, so that an upstream keeps its open connections when its client is made anew.
#[derive(Default)]
pub(crate) struct Pools(Mutex<HashMap<UpstreamId, Client>>);

impl Pools {
    /// A client for the upstream `id`, on the connections that it has.
    fn client(&self, id: &UpstreamId, settings: &openai::Settings) -> Result<Client, BuildError> {
        let mut known = self.0.lock();
        let client = match known.get(id) {
            Some(client) => client.renewed(settings)?,
            None => Client::new(settings)?,
        };
        known.insert(id.clone(), client.clone());
        Ok(client)
    }

    /// Forgets the upstreams that are not among these.
    fn keep(&self, upstreams: &[Upstream]) {
        self.0.lock().retain(|id, _| upstreams.iter().any(|upstream| upstream.id == *id));
    }
}

/// Makes the table of `config`; upstreams and models that `old` knew by name keep their state, and their connections in
/// `pools`.
pub(crate) fn table(config: &Config, old: Option<&Table>, pools: &Pools) -> Result<Table, WiringError> {
    let wire = |upstream: &Upstream| {
        let adapter = adapter(upstream, pools);
        let adapter = adapter.map_err(|error| WiringError::Upstream(upstream.id.clone(), error))?;
        Ok::<_, WiringError>((upstream.spec(), adapter))
    };
    let upstreams = config.upstreams.iter().map(wire).collect::<Result<_, _>>()?;
    pools.keep(&config.upstreams);
    Ok(Table::new(&config.version, upstreams, config.models.iter().map(Model::spec).collect(), old)?)
}

/// The adapter of an upstream. A new provider is one more arm.
fn adapter(upstream: &Upstream, pools: &Pools) -> Result<Arc<dyn Provider>, BuildError> {
    let client = |headers| {
        let (base_url, api_key) = (upstream.base_url.clone(), upstream.api_key.clone());
        let connect_timeout = upstream.timeouts.connect;
        pools.client(&upstream.id, &openai::Settings { base_url, api_key, connect_timeout, headers })
    };
    let (model, default_max_tokens, context_tokens) =
        (upstream.model.clone(), upstream.default_max_tokens, upstream.context_tokens);
    Ok(match &upstream.provider {
        ProviderSettings::Runpod { capacity_url, .. } => {
            // The OpenAI route of a queue endpoint lies below its jobs.
            let jobs_url = upstream.base_url.strip_suffix("/openai/v1").map(str::to_owned);
            let capacity_url = capacity_url.clone();
            let settings = runpod::Settings { model, default_max_tokens, context_tokens, capacity_url, jobs_url };
            Arc::new(runpod::RunPod::new(client(Vec::new())?, settings)?)
        }
        ProviderSettings::Cerebras => {
            let settings = cerebras::Settings { model, default_max_tokens, context_tokens };
            Arc::new(cerebras::Cerebras::new(client(cerebras::headers())?, settings))
        }
        ProviderSettings::OpenAi => {
            let served = Served::new(&model, default_max_tokens, "max_tokens").with_context(context_tokens);
            // OpenAI itself refuses it otherwise: others may have a use for it.
            let is_openai = upstream.base_url.starts_with(OPENAI_URL);
            let served = if is_openai { served.with_metadata_of_stored_chats() } else { served };
            Arc::new(OpenAi::new(client(Vec::new())?, served))
        }
    })
}
