//! Parameters that are known come back from a log of what they did.

use serde_json::json;

use super::*;
use crate::{
    policy::{Actions, Capacity, Event, Policy, RequestId},
    providers::{CerebrasSettings, RunPodSettings},
    scenario::Scenario,
    time::{Nanos, SECOND, seconds},
    trace::{Arrival, Trace, as_f64},
    world::Rules,
};

/// Other figures than those that the fit begins with.
const TRUTH: &str = r#"
slo_ttft_ms = 2000
[[upstreams]]
id = "pod"
kind = "runpod"
share = 0.5
price = { input_usd_per_million = "0.03", output_usd_per_million = "0.05" }
gpu_usd_per_second = "0.0004"
workers = { min = 1, max = 1, slots = 20 }
overhead = { median_ms = 400, sigma = 0.35 }
prefill_tokens_per_second = 7000
decode_tokens_per_second = 80
decode_slowdown = 0.06
cold_start = { median_s = 25, sigma = 0.4 }
scaler = { kind = "request_count", value = 16 }
idle_timeout_s = 30
health_poll_s = 1

[[upstreams]]
id = "fast"
kind = "cerebras"
share = 0.5
price = { input_usd_per_million = "0.2", output_usd_per_million = "0.4" }
first_token = { median_ms = 500, sigma = 0.2 }
prefill_tokens_per_second = 15000
decode_tokens_per_second = 900
limits = {}
"#;

/// Sends requests to the upstreams in turn, and writes the log that a router would write of it.
struct Router {
    upstreams: Vec<UpstreamSettings>,
    capacity: Vec<Option<Capacity>>,
    in_flight: Vec<u32>,
    /// The calls, which are numbered as the requests are.
    calls: Vec<Made>,
    log: String,
}

struct Made {
    upstream: usize,
    start: Nanos,
    prompt_tokens: u32,
    first_token: Option<Nanos>,
    seen: serde_json::Value,
}

impl Router {
    fn new(providers: &Providers) -> Self {
        let upstreams = providers.upstreams.clone();
        let count = upstreams.len();
        let log = "{\"format\":1,\"started_ts\":0,\"config_version\":\"x\"}\n".to_owned();
        Self { upstreams, capacity: vec![None; count], in_flight: vec![0; count], calls: Vec::new(), log }
    }

    fn seen(&self, upstream: usize) -> serde_json::Value {
        let UpstreamSettings { id, share, price, .. } = &self.upstreams[upstream];
        let capacity = self.capacity[upstream];
        let usd = |price: PicoUsd| as_f64(price.0) / 1e6;
        json!({
            "upstream": id, "provider": self.upstreams[upstream].kind(), "share": share, "in_flight": self.in_flight[upstream],
            "ready_workers": capacity.map(|it| it.ready), "queued": capacity.map(|it| it.queued),
            "price": {"input_usd_per_million": usd(price.input), "output_usd_per_million": usd(price.output)},
        })
    }

    fn start(&mut self, request: RequestId, prompt_tokens: u32, actions: &mut Actions<'_>) {
        let upstream = request.index() % self.upstreams.len();
        let seen = self.seen(upstream);
        actions.start(request, upstream);
        self.in_flight[upstream] += 1;
        self.calls.push(Made { upstream, start: actions.now(), prompt_tokens, first_token: None, seen });
    }

    fn end(&mut self, call: usize, tokens: Option<u32>, now: Nanos) {
        let Made { upstream, start, prompt_tokens, first_token, seen } = &self.calls[call];
        self.in_flight[*upstream] -= 1;
        let millis = |at: Nanos| seconds(at - start) * 1e3;
        let id = &self.upstreams[*upstream].id;
        let record = json!({
            "ts": 1_795_000_000.0 + seconds(*start), "request_id": call.to_string(), "stream": true,
            "decision": {
                "model": "m", "candidates": [seen], "estimated_prompt_tokens": prompt_tokens + 7,
                "expected_completion_tokens": 100.0,
            },
            "attempts": [{
                "upstream": id, "role": "primary", "start_ms": 0.0, "outcome": if tokens.is_some() { "served" } else { "unavailable" },
                "first_token_ms": first_token.map(millis), "duration_ms": millis(now), "usage_source": "reported",
                "prompt_tokens": prompt_tokens, "completion_tokens": tokens,
            }],
        });
        self.log += &record.to_string();
        self.log.push('\n');
    }
}

impl Policy for Router {
    fn on(&mut self, event: Event, actions: &mut Actions<'_>) {
        match event {
            Event::Arrived { request, prompt_tokens } => self.start(request, prompt_tokens, actions),
            Event::FirstToken { attempt, .. } => self.calls[attempt.index()].first_token = Some(actions.now()),
            Event::Ended { attempt, completion_tokens } => {
                self.end(attempt.index(), Some(completion_tokens), actions.now());
            }
            Event::Failed { attempt, .. } => self.end(attempt.index(), None, actions.now()),
            Event::Capacity { upstream, capacity } => self.capacity[upstream] = capacity,
            Event::Wake { .. } => {}
        }
    }
}

/// The calibration from the log of `count` requests, one every so often and up to `late`, to `truth`.
fn calibrated(truth: &str, count: u32, every: Nanos, late: Nanos) -> (Providers, Calibration) {
    let truth = Providers::parse(truth).expect("providers");
    let length = |k: u32, most: u32| 20 + k.wrapping_mul(2_654_435_761) % most;
    let arrivals = (0..count).map(|k| Arrival {
        at: u64::from(k) * every + u64::from(length(k / 3 + 1, 1000)) * late / 1000,
        prompt_tokens: length(k, 4000),
        completion_tokens: length(k / 2 + 7, 300),
    });
    let trace = Trace::new("t", arrivals.collect()).expect("a trace");
    let case = Scenario::shipped().expect("scenarios")[0].apply(&trace, &truth).expect("a case");
    let mut router = Router::new(&truth);
    crate::experiment::run(&case, &mut router, 1, Rules::default());
    let log = DecisionLog::parse(&router.log).expect("a log");
    assert_eq!(log.unreadable, 0);
    let calibration = calibrate(&log, &Providers::shipped().expect("providers"));
    (truth, calibration)
}

#[track_caller]
fn close(name: &str, found: f64, truth: f64) {
    assert!((found / truth - 1.0).abs() < 0.1, "{name}: {found} instead of {truth}");
}

fn pod(providers: &Providers) -> &RunPodSettings {
    let pod = providers.upstreams.iter().find(|upstream| upstream.id == "pod").expect("the pod");
    match &pod.model {
        Model::RunPod(settings) => settings,
        Model::Cerebras(_) => panic!("it is RunPod"),
    }
}

fn fast(providers: &Providers) -> &CerebrasSettings {
    let fast = providers.upstreams.iter().find(|upstream| upstream.id == "fast").expect("the fast one");
    match &fast.model {
        Model::Cerebras(settings) => settings,
        Model::RunPod(_) => panic!("it is Cerebras"),
    }
}

fn is_kept(calibration: &Calibration, id: &str, name: &str) -> bool {
    let fitted = calibration.upstreams.iter().find(|fitted| fitted.id == id).expect("the upstream");
    fitted.parameters.iter().any(|parameter| parameter.name.contains(name) && parameter.origin.is_err())
}

#[test]
fn what_an_upstream_is_like_comes_back_from_its_log() {
    let (truth, calibration) = calibrated(TRUTH, 24_000, SECOND / 3, 3 * SECOND);
    let (found, true_pod) = (pod(&calibration.providers), pod(&truth));
    close("overhead", found.overhead.median, true_pod.overhead.median);
    close("its spread", found.overhead.sigma, true_pod.overhead.sigma);
    close("prefill", found.prefill_per_second, true_pod.prefill_per_second);
    close("decode", found.decode_per_second, true_pod.decode_per_second);
    close("slowdown", found.decode_slowdown, true_pod.decode_slowdown);
    let (found, true_fast) = (fast(&calibration.providers), fast(&truth));
    close("first token", found.first_token.median, true_fast.first_token.median);
    close("its spread", found.first_token.sigma, true_fast.first_token.sigma);
    close("prefill", found.prefill_per_second, true_fast.prefill_per_second);
    close("decode", found.decode_per_second, true_fast.decode_per_second);
    for (found, truth) in calibration.providers.upstreams.iter().rev().zip(&truth.upstreams) {
        assert_eq!((&found.id, found.price), (&truth.id, truth.price));
    }
    for fitted in &calibration.upstreams {
        for goodness in [fitted.first_token, fitted.end] {
            let Goodness { predicted_median, seen_median, predicted_p90, seen_p90, .. } = goodness.expect("a figure");
            close("the median", predicted_median, seen_median);
            close("the 90th percentile", predicted_p90, seen_p90);
        }
    }
    // A parameter that was not seen keeps its value, and is reported so.
    let shipped = Providers::shipped().expect("providers");
    let Model::RunPod(default) = &shipped.upstreams[0].model else { panic!("it is RunPod") };
    assert_eq!(pod(&calibration.providers).cold_start, default.cold_start);
    for (id, name) in [("pod", "cold_start"), ("pod", "workers.slots"), ("pod", "scaler"), ("fast", "limits")] {
        assert!(is_kept(&calibration, id, name), "{id}: {name}\n{}", calibration.report());
    }
}

#[test]
fn cold_starts_come_back_from_the_calls_that_waited_for_them() {
    let truth = TRUTH.replace("min = 1, max = 1", "min = 0, max = 1");
    let (truth, calibration) = calibrated(&truth, 1_600, 70 * SECOND, 0);
    let (found, truth) = (pod(&calibration.providers).cold_start, pod(&truth).cold_start);
    close("cold start", found.median, truth.median);
    close("its spread", found.sigma, truth.sigma);
    assert!(calibration.report().contains("half within"), "{}", calibration.report());
}

#[test]
fn slots_come_back_from_a_queue() {
    let (truth, calibration) = calibrated(TRUTH, 3_000, SECOND / 14, SECOND);
    close("slots", pod(&calibration.providers).slots.into(), pod(&truth).slots.into());
}

#[test]
fn a_calibration_can_be_written_and_read_and_says_what_it_is_made_of() {
    let (_, calibration) = calibrated(TRUTH, 2_000, SECOND / 3, SECOND);
    let read = Providers::parse(&calibration.providers.to_toml()).expect("what was written");
    assert_eq!(read.upstreams.len(), 2);
    close("decode", pod(&read).decode_per_second, pod(&calibration.providers).decode_per_second);
    assert_eq!(read.upstreams[0].price, calibration.providers.upstreams[0].price);
    assert_eq!(read.slo_ttft, calibration.providers.slo_ttft);
    let report = calibration.report();
    for part in [
        "pod: 1000 streams that began",
        "price",
        "$0.03 in, $0.05 out",
        "first token: median",
        "not fitted, kept: limits",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
}

#[test]
fn a_log_of_a_few_requests_changes_no_time() {
    let (_, calibration) = calibrated(TRUTH, 20, SECOND, 0);
    let shipped = Providers::shipped().expect("providers");
    let Model::Cerebras(default) = &shipped.upstreams[1].model else { panic!("it is Cerebras") };
    assert_eq!(fast(&calibration.providers).first_token, default.first_token);
    assert!(is_kept(&calibration, "fast", "first_token"), "{}", calibration.report());
    assert!(
        calibration.report().contains("10 of 60 streams had counted answers of 16 tokens"),
        "{}",
        calibration.report()
    );
}
