//! Whose invoice a charge is on.

use settings::{ProviderSettings, Upstream};

/// What an upstream is to finance.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// Who runs it, publishes it and sends the invoice.
    pub(super) provider: String,
    /// As who runs it calls it.
    pub(super) name: String,
    /// The model's name there.
    pub(super) model: String,
}

impl Service {
    pub(super) fn of(upstream: &Upstream) -> Self {
        let (provider, name) = match &upstream.provider {
            ProviderSettings::Runpod { .. } => ("RunPod".to_owned(), "RunPod Serverless".to_owned()),
            ProviderSettings::Cerebras => ("Cerebras".to_owned(), "Cerebras Inference".to_owned()),
            ProviderSettings::OpenAi => {
                let provider = match host(&upstream.base_url) {
                    "api.openai.com" => "OpenAI",
                    host => host,
                };
                (provider.to_owned(), format!("{provider} API"))
            }
        };
        Self { provider, name, model: upstream.model.clone() }
    }

    /// One that is not in the configuration.
    pub(super) fn unknown(id: &str) -> Self {
        Self { provider: id.to_owned(), name: id.to_owned(), model: id.to_owned() }
    }
}

/// The host of an address that was checked.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}
