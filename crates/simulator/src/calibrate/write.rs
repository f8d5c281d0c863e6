//! A calibration as a file of providers, and as a report for people.

use std::fmt::Write as _;

use provider::PicoUsd;

use super::{Calibration, Fitted, Goodness};
use crate::{
    providers::{CerebrasSettings, Limit, Model, Providers, RunPodSettings, Scaler, UpstreamSettings},
    time::seconds,
};

impl Calibration {
    /// What was found, from how much, and how good it is.
    pub fn report(&self) -> String {
        self.upstreams.iter().map(Fitted::report).collect::<Vec<_>>().join("\n\n")
    }
}

impl Fitted {
    fn report(&self) -> String {
        let mut lines = vec![format!("{}: {} streams that began", self.id, self.calls)];
        let width = self.parameters.iter().filter(|it| it.origin.is_ok()).map(|it| it.name.len()).max().unwrap_or(0);
        for parameter in &self.parameters {
            if let Ok((value, samples)) = &parameter.origin {
                lines.push(format!("  {:<width$}  {value}, from {samples}", parameter.name));
            }
        }
        for (what, goodness) in [("first token", self.first_token), ("end", self.end)] {
            lines.extend(goodness.map(|goodness| format!("  {}", goodness.report(what))));
        }
        for parameter in &self.parameters {
            if let Err(why) = &parameter.origin {
                lines.push(format!("  not fitted, kept: {} ({why})", parameter.name));
            }
        }
        lines.join("\n")
    }
}

impl Goodness {
    fn report(&self, what: &str) -> String {
        let Self { samples, predicted_median, seen_median, predicted_p90, seen_p90 } = self;
        format!(
            "{what}: median {predicted_median:.3} s predicted, {seen_median:.3} s seen; p90 {predicted_p90:.3} s predicted, \
             {seen_p90:.3} s seen ({samples} streams)"
        )
    }
}

impl Providers {
    /// As a file that [`Providers::parse`] reads.
    pub fn to_toml(&self) -> String {
        let mut text = format!("slo_ttft_ms = {}\n", seconds(self.slo_ttft) * 1e3);
        for upstream in &self.upstreams {
            upstream.write(&mut text);
        }
        text
    }
}

impl UpstreamSettings {
    fn write(&self, text: &mut String) {
        let Self { id, share, price, .. } = self;
        let (input, output) = (per_million(price.input), per_million(price.output));
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n[[upstreams]]\nid = {id:?}\nkind = \"{}\"\nshare = {share}\n\
             price = {{ input_usd_per_million = \"{input}\", output_usd_per_million = \"{output}\" }}\n",
            self.kind()
        );
        text.push_str(&match &self.model {
            Model::RunPod(settings) => runpod(settings),
            Model::Cerebras(settings) => cerebras(settings),
        });
    }
}

fn runpod(settings: &RunPodSettings) -> String {
    let RunPodSettings { min_workers, max_workers, slots, overhead, cold_start, .. } = settings;
    let scaler = match settings.scaler {
        Scaler::RequestCount(value) => format!("{{ kind = \"request_count\", value = {value} }}"),
        Scaler::QueueDelay(delay) => format!("{{ kind = \"queue_delay\", seconds = {} }}", seconds(delay)),
    };
    format!(
        "gpu_usd_per_second = \"{gpu}\"\nworkers = {{ min = {min_workers}, max = {max_workers}, slots = {slots} }}\n\
         overhead = {{ median_ms = {median:.3}, sigma = {sigma:.5} }}\nprefill_tokens_per_second = {prefill:.3}\n\
         decode_tokens_per_second = {decode:.3}\ndecode_slowdown = {slowdown:.6}\n\
         cold_start = {{ median_s = {start:.3}, sigma = {start_sigma:.5} }}\nscaler = {scaler}\nidle_timeout_s = {idle}\n\
         health_poll_s = {poll}\n",
        gpu = decimal(settings.gpu_per_second.0, 12),
        median = overhead.median * 1e3,
        sigma = overhead.sigma,
        prefill = settings.prefill_per_second,
        decode = settings.decode_per_second,
        slowdown = settings.decode_slowdown,
        start = cold_start.median,
        start_sigma = cold_start.sigma,
        idle = seconds(settings.idle_timeout),
        poll = seconds(settings.health_poll),
    )
}

fn cerebras(settings: &CerebrasSettings) -> String {
    let limit = |what: &str, limit: Limit| match limit {
        Limit::Unlimited => None,
        Limit::PerMinute(limit) => Some(format!("{what}_per_minute = {limit}")),
        Limit::OfLoad(part) => Some(format!("{what}_of_load = {part}")),
    };
    let limits = [limit("requests", settings.requests), limit("tokens", settings.tokens)];
    format!(
        "first_token = {{ median_ms = {median:.3}, sigma = {sigma:.5} }}\nprefill_tokens_per_second = {prefill:.3}\n\
         decode_tokens_per_second = {decode:.3}\nlimits = {{ {limits} }}\n",
        median = settings.first_token.median * 1e3,
        sigma = settings.first_token.sigma,
        prefill = settings.prefill_per_second,
        decode = settings.decode_per_second,
        limits = limits.into_iter().flatten().collect::<Vec<_>>().join(", "),
    )
}

/// US dollars per million tokens, exactly.
pub(super) fn per_million(price: PicoUsd) -> String {
    decimal(price.0, 6)
}

/// `number` / 10^`digits`, exactly.
fn decimal(number: u64, digits: u32) -> String {
    let unit = 10_u64.pow(digits);
    let text = format!("{}.{:0width$}", number / unit, number % unit, width = digits as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
