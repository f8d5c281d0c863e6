use provider::{PicoUsd, Price, Tariff};
use router::{ModelSpec, StrategyName, Timeouts, UpstreamSpec};

use super::*;
use crate::{
    baselines::Entrant,
    experiment::run,
    metrics::Metrics,
    providers::Providers,
    scenario::{Case, Scenario},
    time::SECOND,
    trace::{Arrival, Trace},
    world::{End, Rules, replay},
};

const IDS: [&str; 2] = ["runpod-8b", "cerebras-8b"];

fn upstream(id: &str, price: u64) -> UpstreamSpec {
    let price = Price { input: PicoUsd(price), output: PicoUsd(price) };
    UpstreamSpec {
        id: id.into(),
        provider_name: "simulated",
        served_model: "m".to_owned(),
        tariff: Some(Tariff::Tokens(price)),
        operations: Operation::ALL.to_vec(),
        features: Features::default(),
        context_tokens: None,
        max_in_flight: 400,
        timeouts: Timeouts { first_token: Duration::from_secs(20), gap: Duration::from_secs(20) },
        capacity_poll: Duration::from_secs(2),
    }
}

fn table(strategy: StrategyName) -> Table {
    let model = ModelSpec {
        name: "m".into(),
        strategy,
        slo_first_token: Some(Duration::from_secs(2)),
        baseline: None,
        deadline: Duration::from_mins(1),
        early_headers: false,
        targets: vec![(IDS[0].into(), 0.8), (IDS[1].into(), 0.2)],
    };
    let upstreams = vec![upstream(IDS[0], 20_000), upstream(IDS[1], 100_000)];
    Table::new("test", upstreams, vec![model], None).unwrap()
}

fn entrant(strategy: StrategyName) -> Entrant {
    let model = Routed::check(&table(strategy), "m", &IDS.map(str::to_owned)).unwrap();
    Entrant::new(strategy.as_str(), move |setup| Routed::new(model.clone(), setup))
}

fn case(scenario: &str, count: u32) -> Case {
    let arrivals = (0..count).map(|k| Arrival {
        at: u64::from(k) * SECOND / 10,
        prompt_tokens: 400 + k % 7 * 100,
        completion_tokens: 20 + k % 5 * 40,
    });
    let trace = Trace::new("t", arrivals.collect()).unwrap();
    let scenario = Scenario::parse(&format!("[[scenarios]]\nname = \"x\"\n{scenario}")).unwrap().remove(0);
    scenario.apply(&trace, &Providers::shipped().unwrap()).unwrap()
}

fn metrics_of(strategy: StrategyName, case: &Case) -> Metrics {
    let mut policy = entrant(strategy).make(&Setup::new(case, 1));
    run(case, policy.as_mut(), 1, Rules::default())
}

#[test]
fn the_engine_holds_its_shares_in_virtual_time() {
    let case = case("", 3000);
    for strategy in [StrategyName::Weighted, StrategyName::Balanced] {
        let metrics = metrics_of(strategy, &case);
        assert!((metrics.ok_percent - 100.0).abs() < 1e-9, "{metrics:?}");
        assert!((metrics.share_percent[0] - 80.0).abs() < 0.5, "{strategy:?}: {:?}", metrics.share_percent);
    }
    let cost = metrics_of(StrategyName::Cost, &case);
    assert!(cost.share_percent[0] > 95.0, "{:?}", cost.share_percent);
}

#[test]
fn the_engine_leaves_an_upstream_that_is_down_and_returns() {
    let case = case("faults = [{ kind = \"runpod\", fault = \"outage\", for_s = 30 }]", 3000);
    let mut policy = entrant(StrategyName::Balanced).make(&Setup::new(&case, 1));
    let finished = replay(&case, policy.as_mut(), 1, Rules::default());
    let served_by = |from: usize, until: usize, upstream: u16| {
        let records = &finished.records[from..until];
        records.iter().filter(|record| record.end == Some(End::Served { upstream })).count()
    };
    // From 90 s to 120 s, ten requests a second.
    assert_eq!(served_by(910, 1200, 0), 0);
    assert!(served_by(910, 1200, 1) > 150, "{}", served_by(910, 1200, 1));
    assert!(served_by(2000, 3000, 0) > 700);
    assert_eq!(finished.left_running, 0);
    assert!(finished.records.iter().all(|record| record.end.is_some()));
}

#[test]
fn the_engine_gives_the_same_run_for_a_seed() {
    let case = case("faults = [{ kind = \"runpod\", fault = \"throttle\", for_s = 40 }]", 2000);
    for strategy in StrategyName::ALL {
        assert_eq!(metrics_of(strategy, &case), metrics_of(strategy, &case), "{strategy:?}");
    }
}

#[test]
fn what_is_not_simulated_is_refused_by_name() {
    let table = table(StrategyName::Weighted);
    let ids = IDS.map(str::to_owned);
    assert_eq!(
        Routed::check(&table, "n", &ids).unwrap_err().to_string(),
        "there is no model \"n\" in the configuration"
    );
    let error = Routed::check(&table, "m", &ids[..1]).unwrap_err().to_string();
    assert!(
        error.contains("the target cerebras-8b, which is not among the simulated upstreams [\"runpod-8b\"]"),
        "{error}"
    );
}
