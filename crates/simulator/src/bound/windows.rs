//! A case in windows of time and classes of size, and what each upstream can do in them.

use crate::{
    providers::{Model, RunPodSettings},
    scenario::{Case, UpstreamChange},
    time::{Nanos, SECOND, seconds},
    trace::{Arrival, as_f64},
};

/// The length of a window, unless the trace is so long that there would be too many.
const WINDOW: Nanos = 30 * SECOND;

/// Most windows: beyond that they grow. A longer window forgets more, so that the bound stays one.
const WINDOWS: u64 = 400;

/// Classes of size; each holds as many requests as the others.
const CLASSES: usize = 10;

/// How far answers may reach beyond their window, as a part of what workers write in it.
const DECODE_SLACK: f64 = 1.5;

/// A window of time.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) classes: Vec<Class>,
    /// For each upstream.
    pub(super) capacity: Vec<Capacity>,
}

/// Requests of about one size that come in one window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Class {
    pub(super) requests: f64,
    /// On average.
    pub(super) prompt_tokens: f64,
    /// On average.
    pub(super) completion_tokens: f64,
}

/// What an upstream can do in a window.
#[derive(Debug, Clone, Copy)]
pub(super) enum Capacity {
    Workers {
        prompt_tokens: f64,
        completion_tokens: f64,
    },
    /// Without a bucket there is no limit.
    Limits {
        up: bool,
        requests: Option<Bucket>,
        tokens: Option<Bucket>,
    },
}

/// A token bucket in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// Most that it holds.
    pub(super) holds: f64,
    /// What flows in.
    pub(super) gains: f64,
    /// What may be spent before it is there: the SLO's worth.
    pub(super) slack: f64,
}

impl Bucket {
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self { holds: self.holds * factor, gains: self.gains * factor, slack: self.slack * factor }
    }
}

impl Capacity {
    pub(super) fn is_down(&self) -> bool {
        match *self {
            Self::Workers { prompt_tokens, .. } => prompt_tokens <= 0.0,
            Self::Limits { up, .. } => !up,
        }
    }
}

/// Cuts a case.
pub(super) fn windows(case: &Case) -> Vec<Window> {
    let arrivals = case.trace.arrivals();
    let length = WINDOW.max(case.trace.span() / WINDOWS + 1);
    let limits = class_limits(arrivals);
    let count = usize::try_from(case.trace.span() / length).unwrap_or(0) + 1;
    let mut classes = vec![vec![Class::default(); CLASSES]; count];
    for arrival in arrivals {
        let window = usize::try_from(arrival.at / length).unwrap_or(0);
        let size = as_f64(arrival.tokens());
        let class = &mut classes[window][limits.partition_point(|&limit| limit < size)];
        class.requests += 1.0;
        class.prompt_tokens += f64::from(arrival.prompt_tokens);
        class.completion_tokens += f64::from(arrival.completion_tokens);
    }
    let window = |(classes, number): (Vec<Class>, u64)| Window {
        classes: classes.into_iter().map(Class::mean).collect(),
        capacity: (0..case.providers.upstreams.len())
            .map(|upstream| capacity(case, upstream, number * length, length))
            .collect(),
    };
    classes.into_iter().zip(0..).map(window).collect()
}

impl Class {
    fn mean(self) -> Self {
        let requests = self.requests.max(1.0);
        Self {
            requests: self.requests,
            prompt_tokens: self.prompt_tokens / requests,
            completion_tokens: self.completion_tokens / requests,
        }
    }
}

/// The sizes between classes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "places in a list"
)]
fn class_limits(arrivals: &[Arrival]) -> Vec<f64> {
    let mut sizes: Vec<u64> = arrivals.iter().map(Arrival::tokens).collect();
    sizes.sort_unstable();
    let at = |part: f64| {
        let place = part * (sizes.len() - 1) as f64;
        let (below, above) = (sizes[place as usize], sizes[(place.ceil() as usize).min(sizes.len() - 1)]);
        as_f64(below) + place.fract() * (as_f64(above) - as_f64(below))
    };
    (1..CLASSES).map(|class| at(class as f64 / CLASSES as f64)).collect()
}

fn capacity(case: &Case, upstream: usize, from: Nanos, length: Nanos) -> Capacity {
    let State { speed, limits, up } = state(case, upstream, from, length);
    let slo = seconds(case.providers.slo_ttft);
    match &case.providers.upstreams[upstream].model {
        Model::RunPod(settings) => workers(settings, speed * (seconds(length) + slo)),
        Model::Cerebras(settings) => {
            let bucket = |per_minute: f64| Bucket {
                holds: per_minute,
                gains: per_minute * limits * seconds(length) / 60.0,
                slack: per_minute * slo / 60.0,
            };
            let (requests, tokens) = (settings.requests.known(), settings.tokens.known());
            Capacity::Limits { up: up > 0.0, requests: requests.map(bucket), tokens: tokens.map(bucket) }
        }
    }
}

/// What all workers do in so many seconds, when all are warm.
fn workers(settings: &RunPodSettings, time: f64) -> Capacity {
    let workers = f64::from(settings.max_workers);
    let slots = f64::from(settings.slots);
    let decode = slots * settings.decode_per_second / (1.0 + settings.decode_slowdown * (slots - 1.0));
    Capacity::Workers {
        prompt_tokens: workers * settings.prefill_per_second * time,
        completion_tokens: workers * decode * time * DECODE_SLACK,
    }
}

/// An upstream's state over a window, on average.
struct State {
    /// Speed, where an outage is none.
    speed: f64,
    limits: f64,
    up: f64,
}

fn state(case: &Case, upstream: usize, from: Nanos, length: Nanos) -> State {
    let until = from + length;
    let (mut down, mut speed, mut limits) = (false, 1.0, 1.0);
    let mut state = State { speed: 0.0, limits: 0.0, up: 0.0 };
    let mut at = 0;
    let turns = case.changes.iter().filter(|change| change.upstream == upstream);
    let turns = turns.map(|change| (change.at, Some(change.what))).chain([(until, None)]);
    for (turned, what) in turns {
        let within = turned.clamp(from, until) - at.clamp(from, until);
        let part = seconds(within) / seconds(length);
        let up = f64::from(u8::from(!down));
        state.speed += part * up * speed;
        state.limits += part * limits;
        state.up += part * up;
        at = turned;
        match what {
            Some(UpstreamChange::Outage(on) | UpstreamChange::Throttle(on)) => down = on,
            Some(UpstreamChange::Speed(factor)) => speed = factor,
            Some(UpstreamChange::Limits(factor)) => limits = factor,
            // A call that fails may be repeated.
            Some(UpstreamChange::Errors(_) | UpstreamChange::Refusals(_)) => {}
            None => break,
        }
        if at >= until {
            break;
        }
    }
    state
}
