//! Whose invoice a charge is on.

use provider::Tariff;
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
    /// The versions of its prices, and whether they are per second of a GPU, in the order of their dates.
    is_gpu: Vec<(String, bool)>,
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
        let prices = upstream.prices.iter();
        let is_gpu = prices.map(|price| (price.version.to_string(), matches!(price.tariff, Tariff::GpuSeconds { .. })));
        Self { provider, name, model: upstream.model.clone(), is_gpu: is_gpu.collect() }
    }

    /// One that is not in the configuration.
    pub(super) fn unknown(id: &str) -> Self {
        Self { provider: id.to_owned(), name: id.to_owned(), model: id.to_owned(), is_gpu: Vec::new() }
    }

    /// Whether calls with this price are billed by the second of a GPU. A price that is not configured any more was most likely of
    /// the same kind as the last one.
    pub(super) fn bills_gpu_seconds(&self, price_version: Option<&str>) -> bool {
        let known = self.is_gpu.iter().find(|(version, _)| Some(version.as_str()) == price_version);
        known.or(self.is_gpu.last()).is_some_and(|(_, is_gpu)| *is_gpu)
    }
}

/// The host of an address that was checked.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}
