use super::*;

#[test]
fn a_share_is_a_range_of_percent_with_or_without_an_upstream() {
    assert_eq!(range("79..81"), Ok(Range { upstream: None, low: 79.0, high: 81.0 }));
    let named = Range { upstream: Some("a".to_owned()), low: 0.0, high: 1.0 };
    assert_eq!(range("a=0..1"), Ok(named));
    for wrong in ["80", "81..79", "79..", "a..b", "-1..5", "79..101", "NaN..80"] {
        assert!(range(wrong).unwrap_err().contains("79..81"), "{wrong}");
    }
    assert!(range("0.79..0.81").unwrap_err().contains("79..81 rather than 0.79..0.81"));
}

#[test]
fn a_range_becomes_a_demand_on_one_upstream() {
    let providers = Providers::shipped().unwrap();
    let demand = |text| range(text).unwrap().resolve(&providers);
    let greatest = demand("79..81").unwrap();
    assert_eq!((greatest.upstream.as_str(), greatest.percent, greatest.tolerance), ("runpod-8b", 80.0, 1.0));
    assert_eq!(demand("cerebras-8b=10..30").unwrap().upstream, "cerebras-8b");
    let error = demand("nobody=10..30").unwrap_err().to_string();
    assert!(error.contains("\"nobody\"") && error.contains("runpod-8b, cerebras-8b"), "{error}");
}

#[test]
fn a_demand_needs_somebody_to_make_it_of() {
    let providers = Providers::shipped().unwrap();
    let cost = GateArguments { max_cost_increase: Some(5.0), min_slo: None, share: None };
    let error = |configs| cost.resolve(&providers, configs).map(|_| ()).unwrap_err().to_string();
    assert!(error(1).contains("compares two configurations"), "{}", error(1));
    assert!(error(0).contains("--config"), "{}", error(0));
    assert_eq!(cost.resolve(&providers, 2).unwrap().len(), 1);
    let nothing = GateArguments { max_cost_increase: None, min_slo: None, share: None };
    assert!(nothing.resolve(&providers, 0).unwrap().is_empty());
}
