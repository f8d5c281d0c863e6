//! `[[upstreams]]`: where requests go.

use std::time::Duration;

use provider::{Features, NanoUsd, Operation, UpstreamId};
use router::Limits;

use crate::{
    cost,
    prices::{self, DatedPrice},
    problem::Problem,
    reader::Table,
    secret,
    types::{EndpointType, ProviderSettings, Timeouts, Upstream},
    url,
    value::{Item, Text},
};

/// An upstream that may have failed, with the id that models refer to.
pub(crate) struct Entry {
    pub(crate) id: Option<String>,
    /// `None` if a problem was reported.
    pub(crate) upstream: Option<Upstream>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Runpod,
    Cerebras,
    OpenAi,
}

const KINDS: [(&str, Kind); 3] = [("runpod", Kind::Runpod), ("cerebras", Kind::Cerebras), ("openai", Kind::OpenAi)];
const ENDPOINT_TYPES: [(&str, EndpointType); 2] =
    [("queue", EndpointType::Queue), ("load_balancer", EndpointType::LoadBalancer)];

/// Keys of upstreams of RunPod alone.
const RUNPOD_ONLY: [&str; 4] = ["endpoint_id", "endpoint_type", "capacity_url", "warm_up"];
/// What starts may cost in an hour where workers are counted, half a dollar.
const WARM_UP: NanoUsd = NanoUsd(500_000_000);

pub(crate) fn read(root: &mut Table<'_>) -> Vec<Entry> {
    let context = root.context;
    let Some(tables) = root.tables("upstreams") else { return Vec::new() };
    if tables.is_empty() {
        context.report(Problem::new("upstreams", "no upstream", "at least one [[upstreams]]"));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for table in tables {
        let path = table.at("id");
        let before = context.problems();
        let mut entry = upstream(table);
        if context.problems() > before {
            entry.upstream = None;
        }
        if let Some(id) = &entry.id
            && entries.iter().any(|other| other.id.as_ref() == Some(id))
        {
            let problem = Problem::new(path, "is the id of another upstream too", "an id of its own");
            context.report(problem.value(format!("{id:?}")));
        }
        entries.push(entry);
    }
    entries
}

fn upstream(mut table: Table<'_>) -> Entry {
    let id = table.required("id", "a name for targets, logs and metrics").and_then(Text::name);
    let kind =
        table.required("provider", "runpod, cerebras or openai").and_then(|text| text.choice("a provider", &KINDS));
    // What has provider-specific defaults is read with those of `openai` while the provider is unknown.
    let guess = kind.unwrap_or(Kind::OpenAi);
    let own_address = !table.has("base_url");
    let allowed = url::Allowed::read(&mut table);
    let given = table.location_text("base_url").and_then(|text| url::address(&text, allowed));
    let (provider, own) = match kind {
        Some(Kind::Runpod) => runpod(&mut table, own_address, given.as_deref(), allowed),
        Some(Kind::Cerebras) => single_base_url(&mut table, ProviderSettings::Cerebras, "https://api.cerebras.ai/v1"),
        Some(Kind::OpenAi) => single_base_url(&mut table, ProviderSettings::OpenAi, "https://api.openai.com/v1"),
        None => (None, None),
    };
    let base_url = given.or(own);
    let model = model(&mut table, guess);
    let usual = kind.map(|kind| match kind {
        Kind::Runpod => "RUNPOD_API_KEY",
        Kind::Cerebras => "CEREBRAS_API_KEY",
        Kind::OpenAi => "OPENAI_API_KEY",
    });
    let api_key = secret::api_key(&mut table, usual, own_address);
    let operations = operations(&mut table, guess);
    let features = features(&mut table, guess);
    let default_max_tokens = match guess {
        Kind::Runpod | Kind::Cerebras => Some(4096),
        Kind::OpenAi => None,
    };
    let queue = matches!(provider, Some(ProviderSettings::Runpod { endpoint_type: EndpointType::Queue, .. }));
    let context_tokens = table.int("context_tokens", 1..=1 << 40);
    let default_max_tokens = table.int("default_max_tokens", 1..=1 << 40).or(default_max_tokens);
    let max_in_flight = table.int("max_in_flight", 1..=1_000_000).unwrap_or(if queue { 400 } else { 1000 });
    let worker_slots = table.int("worker_slots", 1..=100_000);
    let limits = limits(table.table("limits"));
    let timeouts = timeouts(table.table("timeouts"));
    let prices = prices::read(&mut table);
    check_price_of_recordings(&table, &operations, &prices);
    let first_price = prices.first().cloned();
    let capacity_poll = table.fine_seconds("capacity_poll_s").unwrap_or(Duration::from_secs(5));
    let warm_up_usd_per_hour = match &provider {
        Some(ProviderSettings::Runpod { capacity_url, .. }) => warm_up(table.table("warm_up"), capacity_url.is_some()),
        Some(ProviderSettings::Cerebras | ProviderSettings::OpenAi) | None => NanoUsd::default(),
    };
    if kind.is_none() {
        for key in RUNPOD_ONLY {
            table.take(key);
        }
    }
    table.finish();
    let build = || {
        Some(Upstream {
            id: UpstreamId::from(id.as_deref()?),
            provider: provider?,
            model: model?,
            base_url: base_url?,
            api_key,
            operations,
            features,
            context_tokens,
            default_max_tokens,
            max_in_flight,
            worker_slots,
            limits,
            timeouts,
            tariff: first_price.as_ref().map(|price| price.tariff.clone()),
            price_version: first_price.as_ref().map(|price| price.version.clone()),
            prices,
            capacity_poll,
            warm_up_usd_per_hour,
        })
    };
    Entry { upstream: build(), id }
}

/// The settings and the base URL of a RunPod endpoint.
fn runpod(
    table: &mut Table<'_>,
    own_address: bool,
    given: Option<&str>,
    allowed: url::Allowed,
) -> (Option<ProviderSettings>, Option<String>) {
    let endpoint_type = table.text("endpoint_type").and_then(|text| text.choice("an endpoint type", &ENDPOINT_TYPES));
    let endpoint_type = endpoint_type.unwrap_or(EndpointType::Queue);
    let endpoint_id = if table.has("endpoint_id") {
        table.location_text("endpoint_id").and_then(Text::name)
    } else {
        table.text("endpoint_id");
        let id = if own_address { table.context.location_var("RUNPOD_VLLM_ENDPOINT_ID") } else { None };
        if id.is_none() && own_address {
            let expected = "the id of a RunPod endpoint, here or in RUNPOD_VLLM_ENDPOINT_ID";
            table.context.report(Problem::new(table.at("endpoint_id"), "missing", expected));
        }
        id
    };
    let (own, own_capacity) = match (&endpoint_id, endpoint_type) {
        (None, _) => (None, None),
        (Some(id), EndpointType::Queue) => (
            Some(format!("https://api.runpod.ai/v2/{id}/openai/v1")),
            Some(format!("https://api.runpod.ai/v2/{id}/health")),
        ),
        (Some(id), EndpointType::LoadBalancer) => (
            Some(format!("https://{id}.api.runpod.ai/v1")),
            Some(format!("https://api.runpod.io/v2/serverless/{id}/workers")),
        ),
    };
    let capacity_url = match (table.location_text("capacity_url"), given, endpoint_type) {
        (Some(text), ..) if text.value == "none" => None,
        (Some(text), ..) => url::address(&text, allowed),
        (None, None, _) => own_capacity,
        (None, Some(base), EndpointType::Queue) => base.strip_suffix("/openai/v1").map(|root| format!("{root}/health")),
        (None, Some(_), EndpointType::LoadBalancer) => None,
    };
    (Some(ProviderSettings::Runpod { endpoint_id, endpoint_type, capacity_url }), own)
}

/// The settings and the base URL of a provider with a single base URL, which takes none of RunPod's keys.
fn single_base_url(
    table: &mut Table<'_>,
    settings: ProviderSettings,
    own: &str,
) -> (Option<ProviderSettings>, Option<String>) {
    for key in RUNPOD_ONLY {
        if let Some(item) = table.take(key) {
            let fault = format!("is set for provider = {:?}", settings.as_str());
            item.refuse::<()>(fault, "this key with provider = \"runpod\" only", Some("remove it".to_owned()));
        }
    }
    (Some(settings), Some(own.to_owned()))
}

fn model(table: &mut Table<'_>, kind: Kind) -> Option<String> {
    if !table.has("model")
        && kind == Kind::Runpod
        && let Some(model) = table.context.location_var("RUNPOD_DEFAULT_MODEL")
    {
        table.text("model");
        return Some(model);
    }
    let expected = match kind {
        Kind::Runpod => "the model's name there, here or in RUNPOD_DEFAULT_MODEL",
        Kind::Cerebras | Kind::OpenAi => "the model's name there",
    };
    let text = table.required_item("model", expected)?.location_text()?;
    if text.value.trim().is_empty() {
        return text.refuse("is empty", expected, None);
    }
    Some(text.value)
}

fn operations(table: &mut Table<'_>, kind: Kind) -> Vec<Operation> {
    let choices = Operation::ALL.map(|operation| (operation.as_str(), operation));
    let expected = "an array of chat, completions, embeddings, rerank, score, transcriptions, tokenize and detokenize";
    let Some(item) = table.take("supports") else {
        return match kind {
            Kind::Runpod | Kind::Cerebras => vec![Operation::Chat, Operation::Completions],
            Kind::OpenAi => vec![Operation::Chat, Operation::Completions, Operation::Embeddings],
        };
    };
    let Some(items) = item.list(expected) else { return Vec::new() };
    if items.is_empty() {
        table.context.report(Problem::new(table.at("supports"), "is empty", expected));
    }
    let mut operations = Vec::new();
    for text in items.into_iter().filter_map(Item::text) {
        match text.choice("an operation", &choices) {
            Some(operation) if operations.contains(&operation) => {
                text.refuse::<()>("is listed twice", "each operation once", None);
            }
            Some(operation) => operations.push(operation),
            None => {}
        }
    }
    operations
}

/// A second of a recording is a price for nothing else: other calls would have no cost, and budgets would count nothing.
fn check_price_of_recordings(table: &Table<'_>, operations: &[Operation], prices: &[DatedPrice]) {
    let is_by_second = |price: &DatedPrice| price.tariff.list_price().is_some_and(|price| price.audio_second.0 > 0);
    let has_others = operations.iter().any(|operation| *operation != Operation::Transcriptions);
    if has_others && prices.iter().any(is_by_second) {
        let fault = "holds more than what has a price by the second of a recording";
        let expected = "supports = [\"transcriptions\"], as the cost is of kind audio_seconds";
        let problem = Problem::new(table.at("supports"), fault, expected);
        table.context.report(problem.hint("give what else it serves an upstream of its own, with its own cost"));
    }
}

fn features(table: &mut Table<'_>, kind: Kind) -> Features {
    let default = Features { tools: kind != Kind::Runpod, images: false, json_schema: true };
    let Some(mut table) = table.table("features") else { return default };
    let features = Features {
        tools: table.flag("tools", default.tools),
        images: table.flag("images", default.images),
        json_schema: table.flag("json_schema", default.json_schema),
    };
    table.finish();
    features
}

/// What the provider allows.
fn limits(table: Option<Table<'_>>) -> Limits {
    let Some(mut table) = table else { return Limits::default() };
    let limits = Limits {
        requests_per_minute: table.int("requests_per_minute", 1..=1_000_000_000),
        tokens_per_minute: table.int("tokens_per_minute", 1..=1 << 50),
    };
    table.finish();
    limits
}

/// What calls of the router's own that start workers may cost in an hour. Where workers are not counted there are none.
fn warm_up(table: Option<Table<'_>>, has_capacity: bool) -> NanoUsd {
    let given = table.and_then(|mut table| {
        let given = cost::amount(&mut table, "usd_per_hour", NanoUsd::from_usd);
        table.finish();
        given
    });
    if has_capacity { given.unwrap_or(WARM_UP) } else { NanoUsd::default() }
}

fn timeouts(table: Option<Table<'_>>) -> Timeouts {
    let mut timeouts = Timeouts {
        connect: Duration::from_secs(2),
        first_token: Duration::from_secs(10),
        gap: Duration::from_secs(30),
    };
    let Some(mut table) = table else { return timeouts };
    for (key, timeout) in [
        ("connect_ms", &mut timeouts.connect),
        ("first_token_ms", &mut timeouts.first_token),
        ("gap_ms", &mut timeouts.gap),
    ] {
        *timeout = table.millis(key).unwrap_or(*timeout);
    }
    table.finish();
    timeouts
}
