use super::{engine::RulePolicy, *};
use crate::{
    experiment::run,
    metrics::Metrics,
    policy::{Actions, AttemptId, Event},
    scenario::{Case, Scenario},
    time::{NEVER, Nanos, SECOND},
    trace::{Arrival, Trace},
    world::{End, Rules, replay},
};

/// Requests at regular distances to the shipped upstreams.
fn case(scenario: &str, count: u32, every: Nanos) -> Case {
    case_at(&Providers::shipped().unwrap(), scenario, count, every)
}

/// The same, where Cerebras has no limits.
fn case_without_limits(scenario: &str, count: u32, every: Nanos) -> Case {
    let text = include_str!("../../../../config/simulated-providers.toml");
    let limits = "limits = { requests_of_load = 0.6, tokens_of_load = 0.45 }";
    assert!(text.contains(limits));
    case_at(&Providers::parse(&text.replace(limits, "")).unwrap(), scenario, count, every)
}

fn case_at(providers: &Providers, scenario: &str, count: u32, every: Nanos) -> Case {
    let arrivals = (0..count).map(|k| Arrival {
        at: u64::from(k) * every,
        prompt_tokens: 400 + k % 7 * 100,
        completion_tokens: 20 + k % 5 * 40,
    });
    let trace = Trace::new("t", arrivals.collect()).unwrap();
    let scenario = Scenario::parse(&format!("[[scenarios]]\nname = \"x\"\n{scenario}")).unwrap().remove(0);
    scenario.apply(&trace, providers).unwrap()
}

fn metrics_of(name: &str, case: &Case) -> Metrics {
    let policies = baselines(&case.providers);
    let factory = policies.iter().find(|factory| factory.name() == name).unwrap();
    run(case, factory.make(&Setup::new(case, 1)).as_mut(), 1, Rules::default())
}

const TENTH: Nanos = SECOND / 10;

#[test]
fn fixed_shares_are_kept_and_one_upstream_for_all_is_one() {
    let case = case("", 5000, TENTH);
    let share = |name: &str| metrics_of(name, &case).share_percent[0];
    assert!((share(STATIC_SHARES) - 80.0).abs() < 2.0, "{}", share(STATIC_SHARES));
    assert!((share("all on runpod-8b") - 100.0).abs() < 1e-9);
    assert!(share("all on cerebras-8b").abs() < 1e-9);
    assert!((share("LiteLLM cost-based") - 100.0).abs() < 1e-9);
    // 1/0.02² to 1/0.1² is 25 to 1.
    assert!((share("OpenRouter-like 1/price²") - 100.0 * 25.0 / 26.0).abs() < 1.5);
}

#[test]
fn a_failed_call_goes_to_the_next_upstream() {
    let fault = "window_at = 0.0\nfaults = [{ kind = \"runpod\", fault = \"outage\", for_s = 1000 }]";
    let case = case_without_limits(fault, 100, 10 * SECOND);
    let metrics = metrics_of(STATIC_SHARES, &case);
    assert!((metrics.ok_percent - 100.0).abs() < 1e-9);
    assert!((metrics.share_percent[1] - 100.0).abs() < 1e-9);
    assert!(metrics.attempts_per_request > 1.6, "four of five were tried twice: {}", metrics.attempts_per_request);
    let alone = metrics_of("all on runpod-8b", &case);
    assert!(alone.ok_percent.abs() < 1e-9 && (alone.attempts_per_request - 3.0).abs() < 1e-9);
}

#[test]
fn a_silent_upstream_is_left_after_twenty_seconds() {
    let fault = "window_at = 0.0\nfaults = [{ kind = \"runpod\", fault = \"throttle\", for_s = 1000 }]";
    let case = case(fault, 20, 30 * SECOND);
    let policies = baselines(&case.providers);
    let peak_ewma = policies.iter().find(|factory| factory.name() == PEAK_EWMA).unwrap();
    let finished = replay(&case, peak_ewma.make(&Setup::new(&case, 1)).as_mut(), 1, Rules::default());
    let first = &finished.records[0];
    assert_eq!(first.end, Some(End::Served { upstream: 1 }));
    let waited = first.first_token - first.at;
    assert!((20 * SECOND..23 * SECOND).contains(&waited), "{waited}");
}

#[test]
fn what_cools_down_is_not_asked() {
    // Every call fails: after five calls the upstream cools down for 5 s, which is 50 requests.
    let fault = "window_at = 0.0\nfaults = [{ kind = \"runpod\", fault = \"outage\", for_s = 1000 }]";
    let case = case_without_limits(fault, 1000, TENTH);
    let shuffle = metrics_of("LiteLLM simple-shuffle + cooldown", &case);
    let fixed = metrics_of(STATIC_SHARES, &case);
    assert!(fixed.attempts_per_request > 1.7, "{}", fixed.attempts_per_request);
    assert!(shuffle.attempts_per_request < 1.15, "{}", shuffle.attempts_per_request);
}

#[test]
fn the_clairvoyant_avoids_what_would_be_late() {
    let fault = "faults = [{ kind = \"runpod\", fault = \"throttle\", for_s = 60 }]";
    let case = case(fault, 3000, 2 * TENTH);
    let clairvoyant = metrics_of("clairvoyant greedy", &case);
    let fixed = metrics_of(STATIC_SHARES, &case);
    assert!(clairvoyant.slo_percent > fixed.slo_percent + 3.0, "{} {}", clairvoyant.slo_percent, fixed.slo_percent);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let case = case("faults = [{ kind = \"runpod\", fault = \"outage\" }]", 2000, TENTH);
    for factory in baselines(&case.providers) {
        let metrics = |seed| {
            let mut policy = factory.make(&Setup::new(&case, seed));
            run(&case, policy.as_mut(), seed, Rules::default())
        };
        assert_eq!(metrics(1), metrics(1), "{}", factory.name());
        assert_ne!(metrics(1), metrics(2), "{}", factory.name());
    }
}

#[test]
fn a_stream_that_breaks_is_broken_unless_the_rules_let_it_start_again() {
    let fault = "window_at = 0.5\nfaults = [{ kind = \"runpod\", fault = \"outage\", for_s = 30 }]";
    let case = case(fault, 2000, TENTH);
    let broken = |rules: Rules| {
        let finished = replay(&case, &mut RulePolicy::new(&Setup::new(&case, 1), Only(0)), 1, rules);
        finished.records.iter().filter(|record| record.end == Some(End::Broken)).count()
    };
    assert!(broken(Rules::default()) > 0);
    assert_eq!(broken(Rules { restart_broken_streams: true }), 0);
}

/// Sends every request to both upstreams and keeps the faster one (and the slower one too, unless `cancel` is set);
/// leaves every tenth request without an end.
#[derive(Default)]
struct Both {
    cancel: bool,
    request_of: Vec<usize>,
    attempts: Vec<[Option<AttemptId>; 2]>,
}

impl Policy for Both {
    fn on(&mut self, event: Event, actions: &mut Actions<'_>) {
        match event {
            Event::Arrived { request, .. } => {
                let forgotten = request.index() % 10 == 9;
                let attempts = [0, 1].map(|upstream| (!forgotten).then(|| actions.start(request, upstream)));
                self.request_of.extend(attempts.iter().flatten().map(|_| request.index()));
                self.attempts.push(attempts);
            }
            Event::FirstToken { attempt, .. } if self.cancel => {
                let other = self.attempts[self.request_of[attempt.index()]].into_iter().flatten();
                other.filter(|other| *other != attempt).for_each(|other| actions.cancel(other));
            }
            _ => {}
        }
    }
}

#[test]
fn a_hedged_request_is_served_once_and_the_other_answer_is_waste() {
    let case = case("", 300, SECOND);
    let finished = replay(&case, &mut Both { cancel: true, ..Both::default() }, 1, Rules::default());
    for (number, record) in finished.records.iter().enumerate() {
        let forgotten = number % 10 == 9;
        assert_eq!(matches!(record.end, Some(End::Served { .. })), !forgotten, "{number}: {record:?}");
        assert_eq!(record.first_token == NEVER, forgotten);
    }
    assert_eq!(finished.left_running, 0);
    let waste: u64 = finished.records.iter().map(|record| record.waste).sum();
    let cost: u64 = finished.records.iter().map(|record| record.cost).sum();
    assert!(waste > cost / 20, "{waste} of {cost}");
}

#[test]
fn an_attempt_that_is_left_alone_is_paid_to_its_end() {
    let case = case_without_limits("keep_every = 1", 9, 10 * SECOND);
    let finished = replay(&case, &mut Both::default(), 1, Rules::default());
    for record in &finished.records {
        // Both answers in full: a token costs a fifth at RunPod.
        let (dear, cheap) = (record.cost.max(record.waste), record.cost.min(record.waste));
        assert_eq!(dear, 100_000 * record.tokens());
        assert_eq!(cheap, 20_000 * record.tokens());
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn faults() -> impl Strategy<Value = String> {
        let fault = (0..4_u8, 0.0..60.0_f64, 1.0..60.0_f64, 0.1..2.0_f64).prop_map(|(what, from, lasts, factor)| {
            let what = match what {
                0 => "kind = \"runpod\", fault = \"outage\"".to_owned(),
                1 => "kind = \"runpod\", fault = \"throttle\"".to_owned(),
                2 => format!("kind = \"runpod\", fault = \"slowdown\", factor = {factor}"),
                _ => format!("kind = \"cerebras\", fault = \"limits\", factor = {factor}"),
            };
            format!("{{ {what}, from_s = {from}, for_s = {lasts} }}")
        });
        prop::collection::vec(fault, 0..4)
            .prop_map(|faults| format!("window_at = 0.0\nfaults = [{}]", faults.join(", ")))
    }

    /// Whatever happens, every request ends exactly once, nothing is left in flight, and money adds up.
    fn check<R: engine::Rule>(name: &str, case: &Case, seed: u64, rule: R) -> Result<(), TestCaseError> {
        let mut policy = RulePolicy::new(&Setup::new(case, seed), rule);
        let finished = replay(case, &mut policy, seed, Rules::default());
        prop_assert_eq!(finished.records.len(), case.trace.arrivals().len());
        prop_assert_eq!(finished.left_running, 0, "{}", name);
        prop_assert!(policy.in_flight().iter().all(|&count| count == 0), "{}: {:?}", name, policy.in_flight());
        for record in &finished.records {
            prop_assert!(record.end.is_some(), "{}: {:?}", name, record);
            prop_assert!(record.attempts <= 3 && record.ended_at >= record.at);
            let is_served = matches!(record.end, Some(End::Served { .. }));
            prop_assert_eq!(is_served, record.cost > 0);
            prop_assert!(!is_served || (record.at..=record.ended_at).contains(&record.first_token));
        }
        let attempts: usize = finished.records.iter().map(|record| usize::from(record.attempts)).sum();
        prop_assert_eq!(attempts, finished.attempts);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_request_ends_once_and_no_permit_is_left(
            faults in faults(),
            every in SECOND / 40..SECOND,
            count in 1_u32..400,
            seed in any::<u64>(),
        ) {
            let case = case(&faults, count, every);
            let setup = Setup::new(&case, seed);
            check("static", &case, seed, StaticShares::new(&setup))?;
            check("peak-ewma", &case, seed, PeakEwma::new(&setup))?;
            check("prequal", &case, seed, Prequal::new(&setup))?;
            check("least request", &case, seed, LeastRequest::new(&setup))?;
            check("clairvoyant", &case, seed, Clairvoyant::new(&setup))?;
            for rule in [Rule::Shuffle, Rule::Latency, Rule::Cost, Rule::Price] {
                check("litellm", &case, seed, LiteLlm::new(&setup, rule))?;
            }
        }
    }
}
