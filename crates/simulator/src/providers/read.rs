//! From TOML to settings that can be simulated.

use std::collections::BTreeSet;

use provider::{ParsePriceError, PicoUsd, Price};
use serde::Deserialize;

use super::{CerebrasSettings, Limit, Lognormal, Model, Providers, RunPodSettings, Scaler, UpstreamSettings};
use crate::{
    mistakes::{Mistakes, SettingsError},
    time::from_seconds,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProviders {
    slo_ttft_ms: f64,
    upstreams: Vec<RawUpstream>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum RawUpstream {
    RunPod(RawRunPod),
    Cerebras(RawCerebras),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRunPod {
    id: String,
    share: f64,
    price: RawPrice,
    gpu_usd_per_second: String,
    workers: RawWorkers,
    overhead: RawMillis,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    decode_slowdown: f64,
    cold_start: RawSeconds,
    scaler: RawScaler,
    idle_timeout_s: f64,
    health_poll_s: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCerebras {
    id: String,
    share: f64,
    price: RawPrice,
    first_token: RawMillis,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    input_usd_per_million: String,
    output_usd_per_million: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkers {
    min: u32,
    max: u32,
    slots: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMillis {
    median_ms: f64,
    sigma: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSeconds {
    median_s: f64,
    sigma: f64,
}

/// When workers are started, as files write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum RawScaler {
    RequestCount { value: u32 },
    QueueDelay { seconds: f64 },
}

/// Limits, as files write them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    requests_per_minute: Option<f64>,
    tokens_per_minute: Option<f64>,
    requests_of_load: Option<f64>,
    tokens_of_load: Option<f64>,
}

/// Reads and checks a file of upstreams.
pub(super) fn providers(text: &str) -> Result<Providers, SettingsError> {
    let raw: RawProviders = toml::from_str(text)?;
    let mut mistakes = Mistakes::default();
    let slo_ttft = from_seconds(mistakes.positive("slo_ttft_ms", raw.slo_ttft_ms) / 1e3);
    if raw.upstreams.is_empty() {
        mistakes.note("upstreams", "name at least one upstream");
    }
    let mut ids = BTreeSet::new();
    let mut upstreams = Vec::new();
    for (number, raw) in raw.upstreams.into_iter().enumerate() {
        let upstream = match raw {
            RawUpstream::RunPod(raw) => runpod(raw, &format!("upstreams[{number}]"), &mut mistakes),
            RawUpstream::Cerebras(raw) => cerebras(raw, &format!("upstreams[{number}]"), &mut mistakes),
        };
        if !ids.insert(upstream.id.clone()) {
            mistakes.note(format!("upstreams[{number}].id"), format!("{:?} is taken: ids must differ", upstream.id));
        }
        upstreams.push(upstream);
    }
    if !upstreams.is_empty() && upstreams.iter().all(|upstream| upstream.share <= 0.0) {
        mistakes.note("upstreams", "give at least one upstream a share above 0");
    }
    mistakes.end(Providers { slo_ttft, upstreams })
}

fn runpod(raw: RawRunPod, path: &str, mistakes: &mut Mistakes) -> UpstreamSettings {
    let at = |field: &str| format!("{path}.{field}");
    let RawWorkers { min, max, slots } = raw.workers;
    if max == 0 || min > max {
        mistakes
            .note(at("workers"), format!("need max of at least 1 and min of at most max, not min {min}, max {max}"));
    }
    if slots == 0 {
        mistakes.note(at("workers.slots"), "must be at least 1");
    }
    let model = Model::RunPod(RunPodSettings {
        gpu_per_second: amount(
            PicoUsd::from_usd_per_unit(&raw.gpu_usd_per_second),
            &at("gpu_usd_per_second"),
            mistakes,
        ),
        min_workers: min,
        max_workers: max,
        slots,
        overhead: in_millis(&raw.overhead, &at("overhead"), mistakes),
        prefill_per_second: mistakes.positive(&at("prefill_tokens_per_second"), raw.prefill_tokens_per_second),
        decode_per_second: mistakes.positive(&at("decode_tokens_per_second"), raw.decode_tokens_per_second),
        decode_slowdown: mistakes.not_negative(&at("decode_slowdown"), raw.decode_slowdown),
        cold_start: in_seconds(&raw.cold_start, &at("cold_start"), mistakes),
        scaler: scaler(&raw.scaler, &at("scaler"), mistakes),
        idle_timeout: from_seconds(mistakes.not_negative(&at("idle_timeout_s"), raw.idle_timeout_s)),
        health_poll: from_seconds(mistakes.positive(&at("health_poll_s"), raw.health_poll_s)),
    });
    upstream(raw.id, raw.share, &raw.price, model, path, mistakes)
}

fn cerebras(raw: RawCerebras, path: &str, mistakes: &mut Mistakes) -> UpstreamSettings {
    let at = |field: &str| format!("{path}.{field}");
    let (requests, tokens) = limits(&raw.limits, &at("limits"), mistakes);
    let model = Model::Cerebras(CerebrasSettings {
        first_token: in_millis(&raw.first_token, &at("first_token"), mistakes),
        prefill_per_second: mistakes.positive(&at("prefill_tokens_per_second"), raw.prefill_tokens_per_second),
        decode_per_second: mistakes.positive(&at("decode_tokens_per_second"), raw.decode_tokens_per_second),
        requests,
        tokens,
    });
    upstream(raw.id, raw.share, &raw.price, model, path, mistakes)
}

fn upstream(
    id: String,
    share: f64,
    price: &RawPrice,
    model: Model,
    path: &str,
    mistakes: &mut Mistakes,
) -> UpstreamSettings {
    if id.is_empty() {
        mistakes.note(format!("{path}.id"), "must not be empty");
    }
    let share = mistakes.not_negative(&format!("{path}.share"), share);
    let mut per_million = |text: &str, field: &str| {
        amount(PicoUsd::from_usd_per_million(text), &format!("{path}.price.{field}"), mistakes)
    };
    let price = Price::new(
        per_million(&price.input_usd_per_million, "input_usd_per_million"),
        per_million(&price.output_usd_per_million, "output_usd_per_million"),
    );
    UpstreamSettings { id, share, price, model }
}

fn amount(read: Result<PicoUsd, ParsePriceError>, path: &str, mistakes: &mut Mistakes) -> PicoUsd {
    read.unwrap_or_else(|error| {
        mistakes.note(path, error.to_string());
        PicoUsd::default()
    })
}

fn in_millis(raw: &RawMillis, path: &str, mistakes: &mut Mistakes) -> Lognormal {
    let median = mistakes.positive(&format!("{path}.median_ms"), raw.median_ms) / 1e3;
    Lognormal { median, sigma: mistakes.not_negative(&format!("{path}.sigma"), raw.sigma) }
}

fn in_seconds(raw: &RawSeconds, path: &str, mistakes: &mut Mistakes) -> Lognormal {
    let median = mistakes.positive(&format!("{path}.median_s"), raw.median_s);
    Lognormal { median, sigma: mistakes.not_negative(&format!("{path}.sigma"), raw.sigma) }
}

/// Checks when workers are started.
pub(crate) fn scaler(raw: &RawScaler, path: &str, mistakes: &mut Mistakes) -> Scaler {
    match *raw {
        RawScaler::RequestCount { value } => {
            if value == 0 {
                mistakes.note(format!("{path}.value"), "must be at least 1");
            }
            Scaler::RequestCount(value)
        }
        RawScaler::QueueDelay { seconds } => {
            Scaler::QueueDelay(from_seconds(mistakes.not_negative(&format!("{path}.seconds"), seconds)))
        }
    }
}

/// Checks the limits of requests and of tokens.
pub(crate) fn limits(raw: &RawLimits, path: &str, mistakes: &mut Mistakes) -> (Limit, Limit) {
    let mut limit = |what: &str, per_minute: Option<f64>, of_load: Option<f64>| match (per_minute, of_load) {
        (None, None) => Limit::Unlimited,
        (Some(limit), None) => Limit::PerMinute(mistakes.positive(&format!("{path}.{what}_per_minute"), limit)),
        (None, Some(part)) => Limit::OfLoad(mistakes.positive(&format!("{path}.{what}_of_load"), part)),
        (Some(_), Some(_)) => {
            mistakes.note(path, format!("give {what}_per_minute or {what}_of_load, not both"));
            Limit::Unlimited
        }
    };
    (
        limit("requests", raw.requests_per_minute, raw.requests_of_load),
        limit("tokens", raw.tokens_per_minute, raw.tokens_of_load),
    )
}

#[cfg(test)]
mod tests;
