use super::*;

/// A request a second for `n` seconds, each with a length of its own.
fn trace(n: u32) -> Trace {
    let arrivals = (0..n).map(|k| Arrival { at: u64::from(k) * SECOND, prompt_tokens: 100 + k, completion_tokens: 10 });
    Trace::new("t", arrivals.collect()).unwrap()
}

fn scenario(text: &str) -> Scenario {
    let text = format!("[[scenarios]]\nname = \"x\"\n{text}");
    Scenario::parse(&text).unwrap().remove(0)
}

fn mistakes(text: &str) -> String {
    Scenario::parse(&format!("[[scenarios]]\nname = \"x\"\n{text}")).unwrap_err().to_string()
}

fn apply(scenario: &Scenario, n: u32) -> Case {
    scenario.apply(&trace(n), &Providers::shipped().unwrap()).unwrap()
}

#[test]
fn there_are_nine_and_each_applies_to_the_shipped_upstreams() {
    let scenarios = Scenario::shipped().unwrap();
    let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    let expected =
        ["steady", "qdelay_scaler", "burst3x", "cold", "outage10m", "throttle10m", "brownout5x", "cb429", "flap30s"];
    assert_eq!(names, expected);
    for scenario in &scenarios {
        apply(scenario, 3000);
    }
}

#[test]
fn events_fall_into_a_window_of_ten_minutes_or_a_third_of_a_short_trace() {
    let outage = scenario("faults = [{ upstream = \"runpod-8b\", fault = \"outage\" }]");
    let times = |n| apply(&outage, n).changes.iter().map(|change| change.at / SECOND).collect::<Vec<_>>();
    assert_eq!(times(3601), [1260, 1860]);
    assert_eq!(times(1001), [360, 710]);
}

#[test]
fn a_fault_may_come_again_and_again() {
    let flap = scenario("faults = [{ kind = \"runpod\", fault = \"outage\", for_s = 3, times = 2, every_s = 10 }]");
    let changes = apply(&flap, 100).changes;
    let turns: Vec<_> = changes.iter().map(|change| (change.at / SECOND, change.what)).collect();
    let (down, up) = (UpstreamChange::Outage(true), UpstreamChange::Outage(false));
    assert_eq!(turns, [(30, down), (33, up), (40, down), (43, up)]);
}

#[test]
fn a_burst_multiplies_the_requests_of_its_time_alone() {
    let burst = scenario("burst = { factor = 3, for_s = 30 }");
    let case = apply(&burst, 300);
    let count = |from: u64, until: u64| {
        let within = (from * SECOND)..(until * SECOND);
        case.trace.arrivals().iter().filter(|arrival| within.contains(&arrival.at)).count()
    };
    assert_eq!((count(0, 90), count(90, 120), count(120, 300)), (90, 90, 180));
    assert!(case.trace.arrivals().is_sorted_by_key(|arrival| arrival.at));
    let within = (90 * SECOND)..(120 * SECOND);
    let there = case.trace.arrivals().iter().filter(|arrival| within.contains(&arrival.at));
    let prompts: u32 = there.map(|arrival| arrival.prompt_tokens).sum();
    assert_eq!(prompts, 3 * (190..220).sum::<u32>(), "each length comes three times");
}

#[test]
fn a_scenario_may_change_the_upstreams_and_thin_the_trace() {
    let cold = Scenario::shipped().unwrap().into_iter().find(|scenario| scenario.name == "cold").unwrap();
    let case = apply(&cold, 300);
    assert_eq!(case.trace.arrivals().len(), 10);
    let Model::RunPod(runpod) = &case.providers.upstreams[0].model else { panic!("RunPod") };
    assert_eq!((runpod.min_workers, runpod.idle_timeout), (0, 5 * SECOND));
    let Model::Cerebras(cerebras) = &case.providers.upstreams[1].model else { panic!("Cerebras") };
    assert_eq!(cerebras.per_minute(), (60.0, 60_000.0));
}

#[test]
fn limits_are_a_part_of_the_load_before_the_scenario() {
    let burst = scenario("burst = { factor = 3, for_s = 30 }");
    let Model::Cerebras(settings) = &apply(&burst, 301).providers.upstreams[1].model else { panic!("Cerebras") };
    assert!((settings.per_minute().0 - 0.6 * 301.0 / 5.0).abs() < 1e-9);
}

#[test]
fn a_bad_scenario_is_reported_with_its_path() {
    for (text, expected) in [
        ("keep_every = 0", "scenarios[0].keep_every: must be at least 1"),
        ("window_at = 1.5", "scenarios[0].window_at: must be from 0 to below 1"),
        ("burst = { factor = 1, for_s = 5 }", "scenarios[0].burst.factor: must be from 2"),
        ("overrides = [{ min_workers = 1 }]", "scenarios[0].overrides[0]: name the upstreams"),
        ("faults = [{ fault = \"outage\" }]", "scenarios[0].faults[0]: name the upstreams"),
        ("faults = [{ kind = \"runpod\", fault = \"slowdown\" }]", "faults[0].factor: is missing"),
        ("faults = [{ kind = \"runpod\", fault = \"outage\", factor = 2 }]", "faults[0].factor: means nothing here"),
        ("faults = [{ kind = \"runpod\", fault = \"errors\" }]", "faults[0].part: is missing"),
        ("faults = [{ kind = \"runpod\", fault = \"errors\", part = 1.5 }]", "faults[0].part: must be above 0"),
        ("faults = [{ kind = \"runpod\", fault = \"outage\", part = 0.5 }]", "faults[0].part: means nothing here"),
        ("faults = [{ kind = \"runpod\", fault = \"outage\", times = 3 }]", "faults[0].times: must be at least 1"),
        (
            "faults = [{ kind = \"runpod\", fault = \"outage\", times = 3, for_s = 9, every_s = 9 }]",
            "faults[0].every_s: must be longer than for_s",
        ),
        ("faults = [{ kind = \"runpod\", fault = \"flood\" }]", "flood"),
        ("color = \"red\"", "color"),
    ] {
        let told = mistakes(text);
        assert!(told.contains(expected), "{text}: {told}");
    }
}

#[test]
fn what_does_not_fit_the_upstreams_is_refused() {
    let providers = Providers::shipped().unwrap();
    for (text, expected) in [
        ("faults = [{ upstream = \"groq\", fault = \"outage\" }]", "there is no simulated upstream \"groq\""),
        ("faults = [{ kind = \"cerebras\", fault = \"throttle\" }]", "throttle does not fit \"cerebras-8b\""),
        ("faults = [{ kind = \"runpod\", fault = \"limits\", factor = 0.1 }]", "limits does not fit \"runpod-8b\""),
        ("overrides = [{ kind = \"cerebras\", min_workers = 0 }]", "workers does not fit \"cerebras-8b\""),
        ("overrides = [{ kind = \"runpod\", max_workers = 0 }]", "would keep more workers than it may have"),
    ] {
        let told = scenario(text).apply(&trace(100), &providers).unwrap_err().to_string();
        assert!(told.contains(expected), "{text}: {told}");
    }
}
