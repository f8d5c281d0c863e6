//! From a decision log to simulated upstreams: the parameters of [`Providers`] that explain best what was seen.
//!
//! Only calls of streams show when an answer began. The time per prompt token is fitted from calls that found no other
//! call waiting, because the others include the wait in a queue; the time per answer token from the number of answers
//! written meanwhile; the time of a start from the first calls that found no worker. A parameter with too few samples
//! keeps the value that it had.

mod calls;
mod fit;
mod write;

#[cfg(test)]
mod tests;

use provider::{PicoUsd, Price};

use crate::{
    chance::{Chance, Purpose},
    decisions::{Candidate, DecisionLog},
    providers::{Lognormal, Model, Providers, UpstreamSettings},
};
use calls::{Call, Calls};
use fit::Line;

/// Fewest calls that a time is fitted from.
const LEAST_CALLS: usize = 60;
/// Fewest starts that the time of a start is fitted from.
const LEAST_STARTS: usize = 8;
/// Fewest looks at a queue that slots are read from.
const LEAST_QUEUES: usize = 20;
/// Shorter answers say little of the time that a token takes.
const LEAST_TOKENS: f64 = 16.0;
/// The part of RunPod's overhead that lies before the queue; the rest is the way back. The two are drawn one by one.
const WAYS: [f64; 2] = [0.6, 0.4];
/// The number of answers at once must differ so much for a slowdown to be seen.
const LEAST_CROWD: f64 = 2.0;

/// What came of a calibration.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The upstreams of the log, to be simulated.
    pub providers: Providers,
    /// Where their parameters come from, in the same order.
    pub upstreams: Vec<Fitted>,
}

/// Where the parameters of an upstream come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Its id.
    pub id: String,
    /// Calls of streams that were seen to begin.
    pub calls: usize,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// How well the fit predicts the time to the first token of a call that found a worker and no other call waiting.
    pub first_token: Option<Goodness>,
    /// The same of the time to the end of the answer.
    pub end: Option<Goodness>,
}

/// Where a parameter comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// What files of providers call it.
    pub name: &'static str,
    /// What was found, and in how many samples; or why the value was kept that it had.
    pub origin: Result<(String, usize), String>,
}

/// What the fit predicts against what was seen, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goodness {
    /// Samples.
    pub samples: usize,
    /// The median that is predicted.
    pub predicted_median: f64,
    /// The median that was seen.
    pub seen_median: f64,
    /// The 90th percentile that is predicted.
    pub predicted_p90: f64,
    /// The 90th percentile that was seen.
    pub seen_p90: f64,
}

/// Fits upstreams to a log. An upstream begins with the values of the one in `defaults` that has its id, or is the first of
/// its kind.
pub fn calibrate(log: &DecisionLog, defaults: &Providers) -> Calibration {
    let fits = calls::by_upstream(log).into_iter().filter_map(|calls| Fit::new(&calls, defaults).map(Fit::done));
    let (settings, upstreams) = fits.unzip();
    Calibration { providers: Providers { slo_ttft: defaults.slo_ttft, upstreams: settings }, upstreams }
}

/// A fit of one upstream under way.
struct Fit {
    settings: UpstreamSettings,
    fitted: Fitted,
}

impl Fit {
    /// `None` if `defaults` has no upstream of the kind.
    fn new(calls: &Calls<'_>, defaults: &Providers) -> Option<Self> {
        let kind = if calls.latest.provider == "runpod" { "runpod" } else { "cerebras" };
        let same = |known: &&UpstreamSettings| known.id == calls.upstream && known.kind() == kind;
        let of_kind = |known: &&UpstreamSettings| known.kind() == kind;
        let upstreams = &defaults.upstreams;
        let mut settings = upstreams.iter().find(same).or_else(|| upstreams.iter().find(of_kind))?.clone();
        calls.upstream.clone_into(&mut settings.id);
        let fitted = Fitted {
            id: settings.id.clone(),
            calls: calls.begun.len(),
            parameters: Vec::new(),
            first_token: None,
            end: None,
        };
        let mut fit = Self { settings, fitted };
        fit.known(calls);
        fit.times(calls);
        if matches!(fit.settings.model, Model::RunPod(_)) {
            fit.start(calls);
            fit.slots(calls);
            fit.keep("workers.min, workers.max, scaler, idle_timeout_s", "they are settings of the endpoint");
            fit.keep("gpu_usd_per_second, health_poll_s", "they are not in the log");
        } else {
            fit.keep("limits", "they are not in the log");
        }
        Some(fit)
    }

    fn done(self) -> (UpstreamSettings, Fitted) {
        (self.settings, self.fitted)
    }

    fn found(&mut self, name: &'static str, value: String, samples: usize) {
        self.fitted.parameters.push(Parameter { name, origin: Ok((value, samples)) });
    }

    fn keep(&mut self, name: &'static str, why: impl Into<String>) {
        self.fitted.parameters.push(Parameter { name, origin: Err(why.into()) });
    }

    /// The values that are in the log itself.
    fn known(&mut self, calls: &Calls<'_>) {
        self.settings.share = calls.latest.share;
        let price = calls.latest.price.and_then(|price| {
            let exact = |usd: f64| PicoUsd::from_usd_per_million(&usd.to_string()).ok();
            Some(Price::new(exact(price.input_usd_per_million)?, exact(price.output_usd_per_million)?))
        });
        self.found("share", calls.latest.share.to_string(), 1);
        match price {
            Some(price) => {
                self.settings.price = price;
                let (input, output) = (write::per_million(price.input), write::per_million(price.output));
                self.found("price", format!("${input} in, ${output} out, a million tokens"), 1);
            }
            None => self.keep("price", "the log has none"),
        }
    }

    /// The time to the first token and the time that a token takes.
    fn times(&mut self, calls: &Calls<'_>) {
        let clean: Vec<&Call<'_>> =
            calls.begun.iter().filter(|call| call.waiting == 0 && !is_cold(call) && call.seen.is_some()).collect();
        let (base, names) = match self.settings.model {
            Model::RunPod(_) => ("overhead", ["decode_tokens_per_second", "decode_slowdown"]),
            Model::Cerebras(_) => ("first_token", ["decode_tokens_per_second", ""]),
        };
        let points: Vec<(f64, f64)> = clean.iter().map(|call| (call.prompt_tokens, call.first_token)).collect();
        let first_token = Self::first_token(&points);
        match &first_token {
            Ok((alone, per_token)) => {
                let alone = self.set_first_token(*alone, 1.0 / per_token);
                let shown = format!("median {:.0} ms, sigma {:.3}", alone.median * 1e3, alone.sigma);
                self.found(base, shown, points.len());
                self.found("prefill_tokens_per_second", format!("{:.0}", 1.0 / per_token), points.len());
            }
            Err(why) => {
                self.keep(base, why);
                self.keep("prefill_tokens_per_second", why);
            }
        }
        let tokens = self.tokens(calls, names);
        let Ok((alone, per_token)) = first_token else { return };
        let drawn = draws(alone, clean.len());
        let predicted: Vec<f64> =
            clean.iter().zip(&drawn).map(|(call, drawn)| drawn + call.prompt_tokens * per_token).collect();
        let seen: Vec<f64> = points.iter().map(|(_, seen)| *seen).collect();
        self.fitted.first_token = Goodness::of(&predicted, &seen);
        let Some(line) = tokens else { return };
        let whole = clean.iter().zip(&predicted).filter_map(|(call, first)| {
            let took = call.completion_tokens? * (line.at_zero + line.slope * others(call));
            Some((first + took, call.end))
        });
        let (predicted, seen): (Vec<f64>, Vec<f64>) = whole.unzip();
        self.fitted.end = Goodness::of(&predicted, &seen);
    }

    /// The time to the first token of an empty prompt, and what a token of the prompt adds.
    fn first_token(points: &[(f64, f64)]) -> Result<(Lognormal, f64), String> {
        if points.len() < LEAST_CALLS {
            return Err(format!("{} of {LEAST_CALLS} streams found no call waiting", points.len()));
        }
        let no_prompts = || "the prompts are too much alike, or longer ones are not slower".to_owned();
        let line = fit::line(points).filter(|line| line.slope > 0.0).ok_or_else(no_prompts)?;
        let alone: Vec<f64> = points.iter().map(|(prompt, seen)| seen - prompt * line.slope).collect();
        let alone = fit::lognormal(&alone).ok_or_else(no_prompts)?;
        Ok((alone, line.slope))
    }

    /// Puts them into the settings. Returns the time of an empty prompt as the settings have it.
    fn set_first_token(&mut self, alone: Lognormal, prefill_per_second: f64) -> Lognormal {
        match &mut self.settings.model {
            Model::RunPod(settings) => {
                settings.overhead = one_way(alone);
                settings.prefill_per_second = prefill_per_second;
                settings.overhead
            }
            Model::Cerebras(settings) => {
                settings.first_token = alone;
                settings.prefill_per_second = prefill_per_second;
                alone
            }
        }
    }

    /// The time that a token takes, by how many other answers are written at once.
    fn tokens(&mut self, calls: &Calls<'_>, [rate, slowdown]: [&'static str; 2]) -> Option<Line> {
        let point = |call: &Call<'_>| {
            let tokens = call.completion_tokens.filter(|tokens| *tokens >= LEAST_TOKENS)?;
            Some((others(call), (call.end - call.first_token) / tokens)).filter(|(_, took)| *took > 0.0)
        };
        let points: Vec<(f64, f64)> = calls.begun.iter().filter_map(point).collect();
        if points.len() < LEAST_CALLS {
            let why = format!("{} of {LEAST_CALLS} streams had counted answers of {LEAST_TOKENS} tokens", points.len());
            [rate, slowdown].into_iter().filter(|name| !name.is_empty()).for_each(|name| self.keep(name, why.clone()));
            return None;
        }
        let (crowds, times): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        let line = match &mut self.settings.model {
            Model::Cerebras(settings) => {
                let line = Line { at_zero: fit::median(&times)?, slope: 0.0 };
                settings.decode_per_second = 1.0 / line.at_zero;
                line
            }
            Model::RunPod(settings) => {
                let crowd = fit::quantile(&crowds, 0.95)? - fit::quantile(&crowds, 0.05)?;
                let seen = fit::line(&points).filter(|line| crowd >= LEAST_CROWD && line.at_zero > 0.0);
                let line = seen.map(|line| Line { slope: line.slope.max(0.0), ..line }).or_else(|| {
                    // As much slower for each other answer as it was taken for.
                    let alone = points.iter().map(|(others, took)| took / (1.0 + settings.decode_slowdown * others));
                    let at_zero = fit::median(&alone.collect::<Vec<_>>())?;
                    Some(Line { at_zero, slope: at_zero * settings.decode_slowdown })
                })?;
                settings.decode_per_second = 1.0 / line.at_zero;
                settings.decode_slowdown = line.slope / line.at_zero;
                match seen {
                    Some(_) => self.found(slowdown, format!("{:.4}", line.slope / line.at_zero), points.len()),
                    None => self.keep(slowdown, "never were so many more answers written at once"),
                }
                line
            }
        };
        self.found(rate, format!("{:.1}", 1.0 / line.at_zero), points.len());
        Some(line)
    }

    /// How long a worker takes to start.
    fn start(&mut self, calls: &Calls<'_>) {
        const NAME: &str = "cold_start";
        let Model::RunPod(settings) = &mut self.settings.model else { return };
        let warm = |call: &Call<'_>| settings.overhead.median + call.prompt_tokens / settings.prefill_per_second;
        let starts = calls.begun.iter().filter(|call| call.seen.is_some_and(Candidate::starts_worker));
        let starts: Vec<f64> = starts.map(|call| call.first_token - warm(call)).filter(|took| *took > 0.0).collect();
        let lost = match calls.lost_cold {
            0 => String::new(),
            lost => format!("; {lost} more ended before a token came, so that it takes longer"),
        };
        let found = fit::lognormal(&starts).filter(|_| starts.len() >= LEAST_STARTS);
        let Some(cold_start) = found else {
            self.keep(NAME, format!("{} of {LEAST_STARTS} streams waited for a worker to start{lost}", starts.len()));
            return;
        };
        settings.cold_start = cold_start;
        let quantiles = [0.5, 0.9].map(|part| fit::quantile(&starts, part).unwrap_or_default());
        let [half, most] = quantiles;
        let shown = format!(
            "median {:.1} s, sigma {:.2} (seen: half within {half:.1} s, 90 % within {most:.1} s{lost})",
            cold_start.median, cold_start.sigma
        );
        self.found(NAME, shown, starts.len());
    }

    /// How many calls a worker takes at once: as many as it has while others wait.
    fn slots(&mut self, calls: &Calls<'_>) {
        const NAME: &str = "workers.slots";
        let Model::RunPod(settings) = &mut self.settings.model else { return };
        let [there, back] = WAYS.map(|way| way * settings.overhead.median);
        let full = calls.when_full(there, back);
        let found = fit::median(&full).filter(|slots| full.len() >= LEAST_QUEUES && *slots >= 1.0);
        let Some(slots) = found else {
            self.keep(NAME, format!("{} of {LEAST_QUEUES} looks found others in the queue", full.len()));
            return;
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of calls")]
        let slots = slots.round() as u32;
        settings.slots = slots;
        self.found(NAME, slots.to_string(), full.len());
    }
}

impl Goodness {
    fn of(predicted: &[f64], seen: &[f64]) -> Option<Self> {
        let both = |values: &[f64]| Some((fit::median(values)?, fit::quantile(values, 0.9)?));
        let ((predicted_median, predicted_p90), (seen_median, seen_p90)) = (both(predicted)?, both(seen)?);
        Some(Self { samples: seen.len(), predicted_median, seen_median, predicted_p90, seen_p90 })
    }
}

/// Whether no worker was ready for a call.
fn is_cold(call: &Call<'_>) -> bool {
    call.seen.is_some_and(|seen| seen.ready_workers == Some(0))
}

/// Answers that were written beside one, on a worker that has its part of them.
fn others(call: &Call<'_>) -> f64 {
    let workers = call.seen.and_then(|seen| seen.ready_workers).map_or(1, |ready| ready.max(1));
    (call.writing / f64::from(workers) - 1.0).max(0.0)
}

/// Numbers that come from a distribution, the same ones each time.
fn draws(from: Lognormal, count: usize) -> Vec<f64> {
    let chance = Chance::new(1, 0);
    let draw = |k| chance.lognormal((from.median, from.sigma), Purpose::FirstToken, k, 0);
    (0..count as u64).map(draw).collect()
}

/// The overhead whose two ways, drawn one by one, add up to `sum`. A sum of lognormal numbers is taken for one, with the mean
/// and the variance that it has.
fn one_way(sum: Lognormal) -> Lognormal {
    let squares: f64 = WAYS.iter().map(|way| way * way).sum();
    let variance = (1.0 + (sum.sigma.powi(2).exp() - 1.0) / squares).ln();
    let mean = sum.median * (sum.sigma.powi(2) / 2.0).exp();
    Lognormal { median: mean / (variance / 2.0).exp(), sigma: variance.sqrt() }
}
