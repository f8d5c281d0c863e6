use super::*;

fn shipped() -> String {
    include_str!("../../../../../config/simulated-providers.toml").to_owned()
}

/// The mistakes in the shipped file after one change.
fn mistakes(from: &str, to: &str) -> String {
    let text = shipped();
    assert!(text.contains(from), "{from}");
    providers(&text.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn the_shipped_file_is_read_as_it_says() {
    let providers = providers(&shipped()).unwrap();
    let [runpod, cerebras] = providers.upstreams.as_slice() else { panic!("two upstreams") };
    assert_eq!((runpod.id.as_str(), runpod.share), ("runpod-8b", 0.8));
    let Model::RunPod(settings) = &runpod.model else { panic!("RunPod") };
    assert_eq!((settings.min_workers, settings.max_workers, settings.slots), (1, 3, 30));
    assert_eq!(settings.scaler, Scaler::RequestCount(16));
    assert_eq!(runpod.price.output, PicoUsd(20_000));
    let Model::Cerebras(settings) = &cerebras.model else { panic!("Cerebras") };
    assert_eq!((settings.requests, settings.tokens), (Limit::OfLoad(0.6), Limit::OfLoad(0.45)));
}

#[test]
fn each_bad_value_is_named_with_its_place() {
    for (from, to, expected) in [
        ("slo_ttft_ms = 2000", "slo_ttft_ms = 0", "slo_ttft_ms: must be a number above 0, not 0"),
        ("min = 1, max = 3", "min = 4, max = 3", "upstreams[0].workers: need max of at least 1"),
        ("slots = 30", "slots = 0", "upstreams[0].workers.slots: must be at least 1"),
        ("\"0.00031\"", "\"cheap\"", "upstreams[0].gpu_usd_per_second: expected a decimal number"),
        ("sigma = 0.25", "sigma = -1", "upstreams[0].overhead.sigma: must be 0 or more, not -1"),
        ("median_s = 14", "median_s = 0", "upstreams[0].cold_start.median_s: must be a number above 0"),
        ("value = 16", "value = 0", "upstreams[0].scaler.value: must be at least 1"),
        ("health_poll_s = 2", "health_poll_s = nan", "upstreams[0].health_poll_s: must be a number above 0, not NaN"),
        ("cerebras-8b", "runpod-8b", "upstreams[1].id: \"runpod-8b\" is taken"),
        ("requests_of_load = 0.6", "requests_of_load = 0.6, requests_per_minute = 9", "upstreams[1].limits: give"),
        ("tokens_of_load = 0.45", "tokens_of_load = -1", "upstreams[1].limits.tokens_of_load: must be"),
    ] {
        let told = mistakes(from, to);
        assert!(told.contains(expected), "{to}: {told}");
    }
}

#[test]
fn all_bad_values_are_reported_at_once() {
    let text = shipped().replace("slots = 30", "slots = 0").replace("sigma = 0.3 }", "sigma = -2 }");
    let message = providers(&text).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn unknown_keys_and_kinds_are_refused() {
    assert!(mistakes("idle_timeout_s = 30", "idle_time_s = 30").contains("idle_time"));
    assert!(mistakes("kind = \"cerebras\"", "kind = \"groq\"").contains("groq"));
    assert!(mistakes("kind = \"request_count\", value = 16", "kind = \"request_count\", valve = 16").contains("valve"));
    assert!(mistakes("[[upstreams]]", "[[upstream]]").contains("upstream"));
}

#[test]
fn limits_follow_the_load_of_the_trace() {
    let trace =
        crate::Trace::parse("t", "t_s,input_tokens,output_tokens\n0,900,100\n30,900,100\n60,900,100\n").unwrap();
    let providers = providers(&shipped()).unwrap().with_limits_of(&trace);
    let Model::Cerebras(settings) = &providers.upstreams[1].model else { panic!("Cerebras") };
    let (requests, tokens) = settings.per_minute();
    assert!((requests - 1.8).abs() < 1e-9 && (tokens - 1350.0).abs() < 1e-9, "{requests} {tokens}");
}
