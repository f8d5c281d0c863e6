//! The specification of an endpoint: a file of its own, read like the configuration.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

use runpod_admin::{EndpointKind, FlashBoot, Scaling, Spec, Volume, VolumeTier, Workers, is_secret};
use settings::{
    Env, Problem, Problems,
    reader::{self, Item, Table, Text},
};

const KINDS: [(&str, EndpointKind); 2] =
    [("load_balancer", EndpointKind::LoadBalancer), ("queue", EndpointKind::Queue)];
const TIERS: [(&str, VolumeTier); 2] =
    [("standard", VolumeTier::Standard), ("high_performance", VolumeTier::HighPerformance)];
const FLASHBOOTS: [(&str, FlashBoot); 3] =
    [("off", FlashBoot::Off), ("on", FlashBoot::On), ("priority", FlashBoot::Priority)];

/// Reads and checks the specification at `path`.
pub(super) fn load(path: &Path, env: Env<'_>) -> Result<Spec, Problems> {
    reader::read_file(path, env, "deploy/runpod/endpoint.toml is one to start from", read)
}

/// Reads every section. A part that is missing or wrong has been reported, so its stand-in never leaves this module.
fn read(mut root: Table<'_>) -> Option<Spec> {
    let name = root.required("name", "the endpoint's name").and_then(Text::name);
    let kind = root.required("type", "load_balancer or queue").and_then(|text| text.choice("an endpoint type", &KINDS));
    let image = root.required("image", "a container image, such as \"vllm/vllm-openai:v0.27.1\"").and_then(word);
    let model = root.required("model", "the model's name on Hugging Face").and_then(word);
    let served_name = match root.take("served_name") {
        None => model.clone(),
        Some(item) => item.text().and_then(word),
    };
    let context_tokens = root.int("context_tokens", 1..=1 << 40);
    let tool_parser = root.text("tool_parser").and_then(Text::name);
    let vllm_args = root.text("vllm_args").and_then(arguments);
    let flashboot = root.text("flashboot").and_then(|text| text.choice("a FlashBoot mode", &FLASHBOOTS));
    let execution_timeout_s = root.int("execution_timeout_s", 5..=604_800).unwrap_or(300);
    let gpu = section(&mut root, "gpu", "a table with pools, and count if it is not 1").and_then(gpu);
    let volume = match root.take("volume") {
        None => Some(None),
        Some(item) => item.table().and_then(volume).map(Some),
    };
    let workers = section(&mut root, "workers", "a table with max, and min where it is not 0");
    let scaling = section(&mut root, "scaling", "a table with requests_per_worker");
    let idle = workers.as_ref().is_some_and(|workers| workers.has("idle_timeout_s"));
    let workers = workers.and_then(workers_of);
    let scaling = scaling.and_then(|scaling| scaling_of(scaling, kind, idle));
    let env = root.table("env").map(variables).unwrap_or_default();
    root.finish();
    let (pools, gpu_count) = gpu?;
    Some(Spec {
        name: name?,
        kind: kind?,
        image: image?,
        model: model?,
        served_name: served_name?,
        context_tokens,
        tool_parser,
        vllm_args,
        pools,
        gpu_count,
        volume: volume?,
        workers: workers?,
        scaling: scaling?,
        flashboot: flashboot.unwrap_or(FlashBoot::Off),
        execution_timeout_s,
        env,
    })
}

/// A table that must be there.
fn section<'a>(root: &mut Table<'a>, key: &'static str, expected: &str) -> Option<Table<'a>> {
    if !root.has(key) {
        root.context().report(Problem::new(root.at(key), "missing", expected));
    }
    root.table(key)
}

/// A string that is one word of a command line.
fn word(text: Text<'_>) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
    if !text.value.is_empty() && text.value.bytes().all(fits) {
        return Some(text.value);
    }
    text.refuse("is not one word", "visible characters without spaces and quotes", None)
}

fn gpu(mut table: Table<'_>) -> Option<(Vec<String>, u32)> {
    const EXPECTED: &str = "an array of pools, such as [\"ADA_80_PRO\"]";
    let count = table.int("count", 1..=64).unwrap_or(1);
    let at = table.at("pools");
    let Some(item) = table.take("pools") else {
        table.context().report(Problem::new(at, "missing", EXPECTED));
        table.finish();
        return None;
    };
    let pools: Option<Vec<String>> =
        item.list(EXPECTED).and_then(|items| items.into_iter().map(|item| item.text().and_then(Text::name)).collect());
    if pools.as_ref().is_some_and(Vec::is_empty) {
        table.context().report(Problem::new(at, "is empty", EXPECTED));
    }
    table.finish();
    Some((pools?, count))
}

fn volume(mut table: Table<'_>) -> Option<Volume> {
    let name = table.required("name", "the volume's name").and_then(Text::name);
    let data_center = table
        .required("data_center", "where it lies, and the workers with it, such as \"US-KS-2\"")
        .and_then(Text::name);
    let tier = table.text("tier").and_then(|text| text.choice("a storage tier", &TIERS));
    if !table.has("size_gb") {
        table.context().report(Problem::new(table.at("size_gb"), "missing", "a whole number from 10 to 4096"));
    }
    let size_gb = table.int("size_gb", 10..=4096);
    table.finish();
    Some(Volume {
        name: name?,
        size_gb: size_gb?,
        data_center: data_center?,
        tier: tier.unwrap_or(VolumeTier::Standard),
    })
}

fn workers_of(mut table: Table<'_>) -> Option<Workers> {
    let min: u32 = table.int("min", 0..=1000).unwrap_or(0);
    // An endpoint without any worker takes requests and never answers.
    let at = table.at("max");
    if !table.has("max") {
        table.context().report(Problem::new(&at, "missing", "a whole number from 1 to 1000"));
    }
    let max: Option<u32> = table.int("max", 1..=1000);
    let idle_timeout_s = table.int("idle_timeout_s", 1..=3600);
    if let Some(max) = max.filter(|max| *max < min) {
        let problem = Problem::new(at, "is below min", format!("at least {min}"));
        table.context().report(problem.value(max.to_string()));
    }
    table.finish();
    Some(Workers { min, max: max?, idle_timeout_s })
}

/// `idle` says that an idle timeout is given.
fn scaling_of(mut table: Table<'_>, kind: Option<EndpointKind>, idle: bool) -> Option<Scaling> {
    let context = table.context();
    let report = |at: String, fault: &str, expected: &str, hint: &str| {
        context.report(Problem::new(at, fault, expected).hint(hint));
        None
    };
    let (by_count, by_delay) = (table.at("requests_per_worker"), table.at("queue_delay_s"));
    let given = (table.has("requests_per_worker"), table.has("queue_delay_s"));
    let count = table.int("requests_per_worker", 1..=10_000);
    let delay = table.int("queue_delay_s", 1..=3600);
    table.finish();
    match (given, kind) {
        ((true, true), _) => {
            report(by_delay, "stands beside requests_per_worker", "one of the two", "keep one of them")
        }
        ((false, false), _) => {
            let expected = "requests in progress for which one worker is enough";
            report(
                by_count,
                "missing",
                expected,
                "start with what one worker answers at once without slowing down, say 16",
            )
        }
        ((_, true), Some(EndpointKind::LoadBalancer)) => {
            let hint = "load balancers have no queue: use requests_per_worker";
            report(by_delay, "is set for type = \"load_balancer\"", "this key with type = \"queue\" only", hint)
        }
        ((true, _), Some(EndpointKind::Queue)) if idle => {
            let expected = "no idle timeout with type = \"queue\" and requests_per_worker";
            let hint = "RunPod refuses the three together: remove it, or scale by queue_delay_s";
            report("workers.idle_timeout_s".to_owned(), "cannot be set here", expected, hint)
        }
        _ => count.map(Scaling::RequestCount).or(delay.map(Scaling::QueueDelay)),
    }
}

/// Arguments are shown in plans and in RunPod's console, so that nothing from the environment belongs into them.
fn arguments(text: Text<'_>) -> Option<String> {
    if text.raw().contains("${") {
        let hint = "vLLM reads its key from VLLM_API_KEY: set that under [env]";
        return text.refuse_hidden("refers to a variable, which may be a secret", "arguments without variables", hint);
    }
    Some(text.value)
}

/// Variables of the container, under any name.
fn variables(mut table: Table<'_>) -> BTreeMap<String, String> {
    let read = |(name, item): (String, Item<'_>)| {
        let text = item.text()?;
        let referred = text.raw().contains("${") || text.raw().starts_with("{{");
        if !referred && is_secret(&name) {
            let hint = format!("write \"${{{name}}}\" and export {name}, or refer to one of RunPod's own secrets");
            return text.refuse_hidden("a secret does not belong in this file", "no secrets in clear", &hint);
        }
        Some((name, text.value))
    };
    table.take_rest().into_iter().filter_map(read).collect()
}
