use super::*;
use crate::{
    providers::Providers,
    scenario::Scenario,
    time::SECOND,
    trace::{Arrival, Trace},
};

/// `rate` equal requests a second for 600 s.
fn trace(rate: u64, prompt_tokens: u32, completion_tokens: u32) -> Trace {
    let arrivals = (0..600 * rate).map(|k| Arrival { at: k * SECOND / rate, prompt_tokens, completion_tokens });
    Trace::new("t", arrivals.collect()).unwrap()
}

fn limit_of(scenario: &str, trace: &Trace, change: impl Fn(&str) -> String) -> Bound {
    let providers = include_str!("../../../../config/simulated-providers.toml");
    let providers = Providers::parse(&change(providers)).unwrap();
    let scenario = format!("[[scenarios]]\nname = \"x\"\n{scenario}");
    let case = Scenario::parse(&scenario).unwrap().remove(0).apply(trace, &providers).unwrap();
    bound(&case).unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0), "{found} instead of {expected}");
}

#[test]
fn where_nothing_is_scarce_the_cheapest_does_it_all_and_the_share_costs_what_it_moves() {
    let limit = limit_of("", &trace(2, 500, 100), str::to_owned);
    assert_close(limit.slo_percent, 100.0);
    assert_close(limit.cheapest.usd_per_million, 0.02);
    assert_close(limit.cheapest.share_percent[0], 100.0);
    // All requests are of one size: a fifth of the tokens at five times the price.
    let within = limit.within_share.unwrap();
    assert_close(within.usd_per_million, 0.036);
    assert_close(within.share_percent[0], 80.0);
}

#[test]
fn prompts_beyond_what_the_workers_can_read_are_served_elsewhere_or_not_at_all() {
    // 60,000 prompt tokens a second, of which three workers read 36,000: for 32 s in each window of 30 s, as answers may be 2 s late.
    let trace = trace(10, 6000, 10);
    let limit = limit_of("", &trace, |text| {
        text.replace("requests_of_load = 0.6, tokens_of_load = 0.45", "requests_per_minute = 1, tokens_per_minute = 1")
    });
    assert_close(limit.slo_percent, 64.0);
    let limit = limit_of("", &trace, str::to_owned);
    assert_close(limit.slo_percent, 100.0);
    assert_close(limit.cheapest.share_percent[0], 64.0);
}

#[test]
fn in_an_outage_the_buckets_say_what_is_left() {
    // 120 requests a minute are asked for; 60 % of that are granted, and a minute's worth is saved up.
    let fault = "faults = [{ kind = \"runpod\", fault = \"outage\", for_s = 120 }]";
    let limit = limit_of(fault, &trace(2, 500, 100), |text| text.replace("tokens_of_load = 0.45", ""));
    let lost = 240.0 - (72.0 * 3.0 + 72.0 * 2.0 / 60.0);
    assert_close(limit.slo_percent, 100.0 * (1.0 - lost / 1200.0));
    let everything = limit_of(fault, &trace(2, 500, 100), |text| {
        text.replace("limits = { requests_of_load = 0.6, tokens_of_load = 0.45 }", "")
    });
    assert_close(everything.slo_percent, 100.0);
}

#[test]
fn a_slow_endpoint_reads_less() {
    let fault = "window_at = 0.0\nfaults = [{ kind = \"runpod\", fault = \"slowdown\", factor = 0.5, for_s = 600 }]";
    let limit = limit_of(fault, &trace(10, 6000, 10), |text| {
        text.replace("requests_of_load = 0.6, tokens_of_load = 0.45", "requests_per_minute = 1, tokens_per_minute = 1")
    });
    assert_close(limit.slo_percent, 32.0);
}

#[test]
fn an_upstream_that_is_down_serves_no_request() {
    let fault = "window_at = 0.0\nfaults = [{ kind = \"cerebras\", fault = \"outage\", for_s = 600 }]";
    let limit = limit_of(fault, &trace(2, 500, 100), str::to_owned);
    assert_close(limit.slo_percent, 100.0);
    assert_close(limit.cheapest.share_percent[1], 0.0);
    assert_eq!(limit.within_share, None, "a fifth for nobody cannot be");
}
