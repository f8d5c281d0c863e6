//! Plans and prices as text.

use std::fmt::Write as _;

use provider::NanoUsd;
use runpod_admin::{
    Action, BASE_URL, Change, Cost, EndpointKind, Existing, HOURS_A_MONTH, STORAGE_PRICES_AS_OF, Spec, Target,
};
use serde_json::{Value, json};

/// What would be done, and what it costs.
pub(super) fn plan(actions: &[Action], spec: &Spec, cost: &Cost) -> String {
    let what = if actions.is_empty() { "Nothing to change.\n".to_owned() } else { self::actions(actions) };
    format!("{what}\n{}", self::cost(spec, cost))
}

/// One block for each action, like a diff.
pub(super) fn actions(actions: &[Action]) -> String {
    let mut text = String::new();
    for Action { target, name, id, changes, .. } in actions {
        let _infallible = match id {
            None => writeln!(text, "+ {target} {name}"),
            Some(id) => writeln!(text, "~ {target} {name} ({id})"),
        };
        let width = changes.iter().map(|change| change.field.len()).max().unwrap_or(0);
        for Change { field, from, to } in changes {
            let _infallible = match id {
                None => writeln!(text, "    {field:width$}  {}", shown(to)),
                Some(_) => writeln!(text, "    {field:width$}  {} -> {}", shown(from), shown(to)),
            };
        }
    }
    text
}

/// A value in one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn cost(spec: &Spec, cost: &Cost) -> String {
    let storage = match (&spec.volume, cost.storage_per_month) {
        (None, _) => "no volume".to_owned(),
        (Some(volume), Some(price)) => {
            format!("{} GB: {} (RunPod's documentation, {STORAGE_PRICES_AS_OF})", volume.size_gb, dollars(price))
        }
        (Some(volume), None) => {
            format!("{} GB: unknown, RunPod's documentation gives no price for this tier", volume.size_gb)
        }
    };
    let min = spec.workers.min;
    let workers = match (min, cost.dearest_per_hour()) {
        (0, _) => format!("none runs always: {}", dollars(NanoUsd(0))),
        (_, Some(hour)) => {
            let month = cost.workers_per_month.map_or_else(unknown, dollars);
            format!("{min} always running x {HOURS_A_MONTH} h x {} = {month}", dollars(hour))
        }
        (_, None) => format!("{min} always running: {}", unknown()),
    };
    let fixed = cost.fixed_per_month().map_or_else(unknown, dollars);
    let each: Vec<String> = cost
        .worker_per_hour
        .iter()
        .map(|(pool, price)| format!("{} ({pool})", price.map_or_else(unknown, dollars)))
        .collect();
    let gpus = if spec.gpu_count == 1 { String::new() } else { format!(" with {} GPUs", spec.gpu_count) };
    format!(
        "Cost, at list prices
  storage    {storage}
  workers    {workers}
  fixed      {fixed} a month, whether or not anybody asks
  on demand  {} an hour for each worker{gpus} that runs, {} at most (RunPod's catalogue, now):
             from its start, loading the model included, to the end of its idle timeout
Not counted: container disk (about $0.10 a month for each GB while a worker runs), taxes, discounts.",
        each.join(", "),
        spec.workers.max,
    )
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Dollars, rounded half up to cents.
fn dollars(amount: NanoUsd) -> String {
    let cents = amount.0.saturating_add(5_000_000) / 10_000_000;
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// The same for scripts. Amounts are texts, so that they stay exact; what is unknown is null.
pub(super) fn json(actions: &[Action], cost: &Cost) -> String {
    let usd = |amount: Option<NanoUsd>| amount.map(|amount| amount.to_string());
    let pools = cost.worker_per_hour.iter().map(|(pool, price)| (pool.clone(), usd(*price).into()));
    let report = json!({
        "actions": actions,
        "cost": {
            "storage_usd_per_month": usd(cost.storage_per_month),
            "workers_usd_per_month": usd(cost.workers_per_month),
            "fixed_usd_per_month": usd(cost.fixed_per_month()),
            "worker_usd_per_hour": pools.collect::<serde_json::Map<String, Value>>(),
            "hours_per_month": HOURS_A_MONTH,
        },
    });
    format!("{report:#}")
}

/// Where the endpoint's OpenAI paths live.
pub(super) fn base_url(spec: &Spec, endpoint: &Existing) -> String {
    endpoint.base_url().unwrap_or_else(|| usual_base_url(spec.kind, &endpoint.id))
}

fn usual_base_url(kind: EndpointKind, id: &str) -> String {
    match kind {
        EndpointKind::Queue => format!("https://api.runpod.ai/v2/{id}/openai/v1"),
        EndpointKind::LoadBalancer => format!("https://{id}.api.runpod.ai/v1"),
    }
}

/// The upstream that the endpoint is to the router.
pub(super) fn snippet(spec: &Spec, endpoint: &Existing, cost: &Cost, api: &str) -> String {
    let Existing { id, .. } = endpoint;
    let kind = match spec.kind {
        EndpointKind::Queue => "queue",
        EndpointKind::LoadBalancer => "load_balancer",
    };
    let mut text = format!(
        "The {} is {id}. For the configuration of the router:\n\n[[upstreams]]\nid = \"runpod-{}\"\nprovider = \"runpod\"\n\
         endpoint_id = \"{id}\"\nendpoint_type = \"{kind}\"\nmodel = \"{}\"\n",
        Target::Endpoint,
        spec.name,
        spec.served_name,
    );
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let base_url = base_url(spec, endpoint);
    if base_url != usual_base_url(spec.kind, id) {
        line(format!("base_url = \"{base_url}\""));
        if spec.kind == EndpointKind::LoadBalancer && api != BASE_URL {
            line(format!("capacity_url = \"{api}/serverless/{id}/workers\""));
        }
    }
    if let Some(tokens) = spec.context_tokens {
        line(format!("context_tokens = {tokens}"));
    }
    line(format!("features = {{ tools = {} }}", spec.tool_parser.is_some()));
    match (cost.dearest_per_hour(), spec.workers.idle_timeout_s) {
        (Some(hour), idle) => {
            let idle = idle.map(|seconds| format!(", idle_timeout_s = {seconds}")).unwrap_or_default();
            let rate = per_second(hour);
            line(format!("cost = {{ kind = \"gpu_seconds\", usd_per_second = \"{rate}\"{idle} }}"));
        }
        (None, _) => line("# cost: RunPod's catalogue gives no price".to_owned()),
    }
    text.trim_end().to_owned()
}

/// Dollars a second for dollars an hour, to the pico-dollar.
fn per_second(hour: NanoUsd) -> String {
    let pico = (u128::from(hour.0) * 1000 + 1800) / 3600;
    let text = format!("{}.{:012}", pico / 1_000_000_000_000, pico % 1_000_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_half_up() {
        let nanos = [0, 4_999_999, 5_000_000, 7_000_000_000, 3_051_400_000_000];
        assert_eq!(nanos.map(|nano| dollars(NanoUsd(nano))), ["$0.00", "$0.00", "$0.01", "$7.00", "$3051.40"]);
    }

    #[test]
    fn an_hour_is_3600_seconds() {
        // 4.176 / 3600 = 0.00116; 4.18 / 3600 = 0.00116111…
        assert_eq!(per_second(NanoUsd(4_176_000_000)), "0.00116");
        assert_eq!(per_second(NanoUsd(4_180_000_000)), "0.001161111111");
    }
}
