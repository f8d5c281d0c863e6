//! Which limits a configuration puts in force, and whose tokens an ended call uses up.

use dispatch::{AttemptEnded, Estimate, Outcome, RequestInfo, Route, Unreported};
use provider::{UpstreamIds, Usage};
use router::{Reason, Role, StrategyName};

use super::*;
use crate::limits::Unit;

/// A key, its team and a model whose limit gives back one token in ten seconds, and a key, a team and a model without limits.
const CONFIG: &str = "
    keys = [
        { id = \"web\", team = \"search\", env = \"WEB\", limits = { tokens_per_minute = 6, token_burst = 100 } },
        { id = \"app\", team = \"shop\", env = \"APP\" },
    ]
    teams = [{ id = \"search\", limits = { tokens_per_minute = 6, token_burst = 200 } }, { id = \"shop\" }]
    models = [
        { name = \"m\", strategy = \"cost\", targets = [{ upstream = \"a\" }], limits = { tokens_per_minute = 6, token_burst = 300 } },
        { name = \"n\", strategy = \"cost\", targets = [{ upstream = \"a\" }] },
    ]
    [[upstreams]]
    id = \"a\"
    provider = \"openai\"
    model = \"m\"
    base_url = \"http://127.0.0.1:9/v1\"
    api_key_env = \"none\"
";

fn config(text: &str) -> Config {
    let env = |name: &str| (!name.starts_with("LLM_ROUTER__")).then(|| name.to_owned());
    settings::parse(text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The tokens that a limiter has left.
fn left(limiter: &Limiter) -> u32 {
    let statuses = limiter.take(1, 0).expect("more than none");
    statuses.iter().find(|status| status.unit == Unit::Tokens).expect("tokens are limited").remaining
}

fn ended(usage: Option<u64>, estimate: Option<u64>) -> AttemptEnded {
    let counted = |tokens| Usage { prompt_tokens: 1, completion_tokens: tokens - 1, ..Usage::default() };
    let info = RequestInfo {
        request_id: "r".into(),
        number: 1,
        route: Route::Chat,
        stream: false,
        model: Some("m".into()),
        key: Some("web".into()),
        team: Some("search".into()),
        tags: None,
        requested: None,
    };
    AttemptEnded {
        info: Arc::new(info),
        number: 1,
        upstream: "a".into(),
        role: Role::Primary,
        after: None,
        strategy: StrategyName::Cost,
        reason: Reason::Cheapest,
        outcome: Outcome::Served,
        usage: usage.map(counted),
        cost: None,
        price_version: None,
        estimate: estimate.map(|tokens| Estimate { reason: Unreported::Missing, usage: counted(tokens), cost: None }),
        ids: UpstreamIds::default(),
        first_token: None,
        duration: std::time::Duration::ZERO,
    }
}

#[test]
fn an_ended_call_uses_up_tokens_of_its_key_its_team_and_its_model() {
    let limits = Limits::default();
    let limiters = limits.set(&config(CONFIG));
    let model = limiters.of_model("m").expect("limited");
    let [key, team] = limiters.of_key("web", "search").try_into().unwrap_or_else(|_| panic!("two"));
    let mut used = 0;
    // What the upstream counted, else what is estimated.
    for (usage, estimate, more) in [(Some(30), Some(9), 30), (None, Some(20), 20), (None, None, 0)] {
        limits.on(&Event::AttemptEnded(&ended(usage, estimate)));
        used += more;
        assert_eq!([&key, &team, model].map(|limiter| left(limiter)), [100 - used, 200 - used, 300 - used]);
    }
}

#[test]
fn only_what_has_limits_is_counted() {
    let limits = Limits::default();
    let limiters = limits.set(&config(CONFIG));
    assert!(limiters.has_models() && limiters.of_model("n").is_none() && limiters.of_model("o").is_none());
    assert_eq!(limiters.of_key("app", "shop").len(), 1, "keys have limits if their configuration says nothing");
    let without = config(&CONFIG.replace(", limits = { tokens_per_minute = 6, token_burst = 300 }", ""));
    let limiters = limits.set(&without);
    assert!(!limiters.has_models() && limiters.of_model("m").is_none());
    assert!(limiters.count_tokens, "the key's and the team's");
    let limiters =
        limits.set(&config(&CONFIG.replace("tokens_per_minute = 6, token_burst", "requests_per_minute = 600, burst")));
    assert!(limiters.has_models() && !limiters.count_tokens);
}

#[test]
fn counts_stay_where_limits_do() {
    let limits = Limits::default();
    limits.set(&config(CONFIG));
    limits.on(&Event::AttemptEnded(&ended(Some(30), None)));
    let limiters = limits.set(&config(&CONFIG.replace("token_burst = 200", "token_burst = 250")));
    let [key, team] = limiters.of_key("web", "search").try_into().unwrap_or_else(|_| panic!("two"));
    assert_eq!([&key, &team, limiters.of_model("m").expect("limited")].map(|limiter| left(limiter)), [70, 250, 270]);
}
