//! From configuration to a routing table: the one place that knows every provider.

use std::sync::Arc;

use openai::{BuildError, Client, OpenAi, Served};
use provider::Provider;
use router::{ModelSpec, Table, TableError, Timeouts, UpstreamSpec};

use crate::config::{Config, Model, ProviderSettings, Upstream};

/// Why a valid configuration makes no table.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// An upstream's client could not be made.
    #[error("upstream {0}: {1}")]
    Upstream(provider::UpstreamId, BuildError),
    /// The table does not hold together.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Makes the table of `config`; upstreams and models that `old` knew by name keep their state.
pub(crate) fn table(config: &Config, old: Option<&Table>) -> Result<Table, WiringError> {
    let wire = |upstream| spec(upstream).map_err(|error| WiringError::Upstream(upstream.id.clone(), error));
    let upstreams = config.upstreams.iter().map(wire).collect::<Result<_, _>>()?;
    Ok(Table::new(&config.version, upstreams, config.models.iter().map(model).collect(), old)?)
}

fn spec(upstream: &Upstream) -> Result<UpstreamSpec, BuildError> {
    Ok(UpstreamSpec {
        id: upstream.id.clone(),
        provider_name: upstream.provider.as_str(),
        served_model: upstream.model.clone(),
        provider: adapter(upstream)?,
        tariff: upstream.tariff.clone(),
        operations: upstream.operations.clone(),
        features: upstream.features,
        context_tokens: upstream.context_tokens,
        max_in_flight: upstream.max_in_flight,
        timeouts: Timeouts { first_token: upstream.timeouts.first_token, gap: upstream.timeouts.gap },
        capacity_poll: upstream.capacity_poll,
    })
}

/// The adapter of an upstream. A new provider is one more arm.
fn adapter(upstream: &Upstream) -> Result<Arc<dyn Provider>, BuildError> {
    let client = |headers| {
        Client::new(&openai::Settings {
            base_url: upstream.base_url.clone(),
            api_key: upstream.api_key.clone(),
            connect_timeout: upstream.timeouts.connect,
            headers,
        })
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
            Arc::new(OpenAi::new(client(Vec::new())?, served))
        }
    })
}

fn model(model: &Model) -> ModelSpec {
    ModelSpec {
        name: model.name.clone(),
        strategy: model.strategy,
        slo_first_token: model.slo_ttft,
        baseline: model.baseline.clone(),
        deadline: model.deadline,
        early_headers: model.early_headers,
        targets: model.targets.iter().map(|target| (target.upstream.clone(), target.share)).collect(),
    }
}
