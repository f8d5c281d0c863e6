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
    /// The versions of prices that are per second of a GPU.
    gpu_versions: Vec<String>,
    /// The same for versions that are not in the configuration.
    is_gpu: bool,
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
        let is_gpu = |tariff: &Tariff| matches!(tariff, Tariff::GpuSeconds { .. });
        let gpu = upstream.prices.iter().filter(|price| is_gpu(&price.tariff));
        Self {
            provider,
            name,
            model: upstream.model.clone(),
            gpu_versions: gpu.map(|price| price.version.to_string()).collect(),
            is_gpu: upstream.tariff.as_ref().is_some_and(is_gpu),
        }
    }

    /// One that is not in the configuration.
    pub(super) fn unknown(id: &str) -> Self {
        Self {
            provider: id.to_owned(),
            name: id.to_owned(),
            model: id.to_owned(),
            gpu_versions: Vec::new(),
            is_gpu: false,
        }
    }

    /// Whether calls with this price are billed by the second of a GPU.
    pub(super) fn bills_gpu_seconds(&self, price_version: Option<&str>) -> bool {
        self.is_gpu || price_version.is_some_and(|version| self.gpu_versions.iter().any(|known| known == version))
    }
}

/// The host of an address that was checked.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}
