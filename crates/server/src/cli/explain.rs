//! `llm-router explain`: the decision of a running router, as a table.

use std::{io::Read, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use openai::{Client, Settings};
use provider::ErrorKind;
use router::StrategyName;
use serde_json::{Value, json};
use settings::process_env;

use super::say;
use crate::wishes::STRATEGY;

/// A router that takes longer is not answering.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to ask, and whom.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where the router listens.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = address)]
    url: String,
    /// The variable that holds a client key; without it none is sent.
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// What a client would ask for: a model, an alias, task/NAME or UPSTREAM/MODEL.
    #[arg(long, value_name = "NAME", required_unless_present = "body")]
    model: Option<String>,
    /// Explain a streamed chat.
    #[arg(long, conflicts_with = "body")]
    stream: bool,
    /// The strategy that is to order the upstreams, in place of the model's.
    #[arg(long, value_name = "NAME", value_parser = StrategyName::ALL.map(StrategyName::as_str))]
    strategy: Option<String>,
    /// The whole chat as JSON, in a file or, as -, on standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    body: Option<PathBuf>,
    /// Print the router's answer as it is.
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let body = arguments.body()?;
    let is_stream = serde_json::from_str(&body).is_ok_and(|body: Value| body["stream"] == true);
    let key = match &arguments.key_env {
        Some(name) => Some(process_env(name).with_context(|| format!("the variable {name} is not set"))?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let decision = runtime.block_on(ask(arguments, key, body))?;
    Ok(say(&if arguments.json { decision.to_string() } else { table(&decision, is_stream) })?)
}

fn address(text: &str) -> Result<String, String> {
    let has_scheme = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    has_scheme.then(|| text.to_owned()).ok_or_else(|| format!("it starts with http:// or https://: http://{text}?"))
}

impl Arguments {
    fn body(&self) -> anyhow::Result<String> {
        let Some(file) = &self.body else {
            let messages = json!([{"role": "user", "content": "hello"}]);
            return Ok(json!({"model": self.model, "stream": self.stream, "messages": messages}).to_string());
        };
        if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            return Ok(text);
        }
        std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
    }
}

async fn ask(Arguments { url, strategy, .. }: &Arguments, key: Option<String>, body: String) -> anyhow::Result<Value> {
    let base_url = format!("{}/v1", url.trim_end_matches('/').trim_end_matches("/v1"));
    let path = format!("{base_url}/route/explain");
    let headers = match strategy {
        Some(strategy) => vec![(STRATEGY.as_str().parse()?, strategy.parse()?)],
        None => Vec::new(),
    };
    let settings = Settings { base_url, api_key: key.map(Into::into), connect_timeout: PATIENCE, headers };
    let client = Client::new(&settings)?;
    let asked = client.post_json(&path, body.into());
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let answer = answer.map_err(|_| anyhow!("{url} does not answer in time"))?;
    answer.map_err(|error| match error.kind {
        ErrorKind::Connect => anyhow!("no router answers at {url}; --url names another"),
        _ => anyhow!("the router refused: {}", error.message),
    })
}

/// The decision for people. The time that is predicted is that of a stream's first token, or of the whole answer.
fn table(decision: &Value, is_stream: bool) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number =
        |value: &Value, unit: &str| value.as_f64().map_or("-".to_owned(), |number| format!("{number:.2}{unit}"));
    let requested = decision["requested"].as_str().map(|name| format!("{name} stands for ")).unwrap_or_default();
    let mut lines = vec![format!(
        "{requested}{} by {}: {} ({})",
        text(&decision["model"]),
        text(&decision["strategy"]),
        text(&decision["upstream"]),
        text(&decision["reason"]),
    )];
    let candidates = decision["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !candidates.is_empty() {
        let row = |[upstream, share, deficit, ready, load, time, cost]: [&str; 7]| {
            format!("  {upstream:<24} {share:>6} {deficit:>7} {ready:>6} {load:>11} {time:>12} {cost:>14}")
        };
        let time = if is_stream { "first token" } else { "whole answer" };
        lines.push(row(["would be asked", "share", "deficit", "ready", "in flight", time, "adds to bill"]));
        for candidate in candidates {
            let ready = match candidate["has_ready_worker"].as_bool() {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            };
            let cost = candidate["marginal_cost_usd"].as_f64().map_or("-".to_owned(), |usd| format!("${usd:.9}"));
            lines.push(row([
                &text(&candidate["upstream"]),
                &number(&candidate["share"], ""),
                &number(&candidate["owed_requests"], ""),
                ready,
                &format!("{}/{}", candidate["in_flight"], candidate["max_in_flight"]),
                &number(&candidate["first_token_ms"], " ms"),
                &cost,
            ]));
        }
    }
    for excluded in decision["excluded"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let retry =
            excluded["retry_after_s"].as_f64().map(|seconds| format!(", for {seconds:.1} s")).unwrap_or_default();
        lines.push(format!("  {:<24} not asked: {}{retry}", text(&excluded["upstream"]), text(&excluded["why"])));
    }
    lines.push(format!("  configuration {}", text(&decision["config_version"])));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_shows_each_candidates_deficit_and_why_others_are_not_asked() {
        let decision = json!({
            "model": "m", "strategy": "balanced", "upstream": "gpu", "reason": "share", "config_version": "1a",
            "candidates": [{
                "upstream": "gpu", "share": 0.8, "owed_requests": 2.5, "has_ready_worker": true, "in_flight": 3,
                "max_in_flight": 400, "first_token_ms": 350.0, "marginal_cost_usd": 0.000_009,
            }],
            "excluded": [{"upstream": "api", "why": "its breaker is open", "retry_after_s": 1.5}],
        });
        let shown = table(&decision, true);
        let lines: Vec<&str> = shown.lines().collect();
        let words = |line: &'_ str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines[0], "m by balanced: gpu (share)");
        assert_eq!(words(lines[1])[3..6], ["share", "deficit", "ready"]);
        assert!(lines[1].contains("first token"), "{shown}");
        let whole = table(&decision, false);
        assert!(whole.contains("whole answer") && !whole.contains("first token"), "{whole}");
        assert_eq!(words(lines[2]), ["gpu", "0.80", "2.50", "yes", "3/400", "350.00", "ms", "$0.000009000"]);
        assert!(lines[3].contains("not asked: its breaker is open, for 1.5 s"), "{shown}");
        assert_eq!(lines[4], "  configuration 1a");
        let alias =
            json!({"requested": "gpt-4o", "model": "m", "strategy": "cost", "upstream": "gpu", "reason": "cost"});
        assert!(
            table(&alias, false).starts_with("gpt-4o stands for m by cost: gpu (cost)\n"),
            "{}",
            table(&alias, false)
        );
    }
}
