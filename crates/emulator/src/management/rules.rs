//! Which bodies are valid. Every failure is reported, as RunPod's validator does.

use serde_json::{Map, Value};

/// What a field may hold.
#[derive(Clone, Copy)]
struct Rule {
    holds: fn(&Value) -> bool,
    want: &'static str,
}

const ANY: Rule = Rule { holds: |_| true, want: "" };
const OBJECT: Rule = Rule { holds: Value::is_object, want: "object" };
const LIST: Rule = Rule { holds: Value::is_array, want: "array" };
const STRING: Rule = Rule { holds: Value::is_string, want: "string" };
const TEXT: Rule =
    Rule { holds: |value| value.as_str().is_some_and(|text| !text.is_empty()), want: "string of at least 1 character" };
const STRINGS: Rule = Rule {
    holds: |value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
    want: "array of strings",
};
const POOLS: Rule = Rule {
    holds: |value| (STRINGS.holds)(value) && value.as_array().is_some_and(|items| !items.is_empty()),
    want: "array of at least 1 string",
};
const STRINGS_BY_NAME: Rule = Rule {
    holds: |value| value.as_object().is_some_and(|fields| fields.values().all(Value::is_string)),
    want: "object of strings",
};
const WHOLE: Rule = Rule { holds: Value::is_u64, want: "integer of at least 0" };
const ONE_OR_MORE: Rule = Rule { holds: |value| value.as_u64() >= Some(1), want: "integer of at least 1" };
const HALF_OR_MORE: Rule = Rule { holds: |value| value.as_f64() >= Some(0.5), want: "number of at least 0.5" };
const IDLE_TIMEOUT: Rule = Rule {
    holds: |value| value.as_u64().is_some_and(|seconds| (1..=3600).contains(&seconds)),
    want: "integer from 1 to 3600",
};
const VOLUME_SIZE: Rule = Rule {
    holds: |value| value.as_u64().is_some_and(|size| (10..=4096).contains(&size)),
    want: "integer from 10 to 4096",
};
const TIER: Rule = Rule {
    holds: |value| matches!(value.as_str(), Some("STANDARD" | "HIGH_PERFORMANCE")),
    want: "STANDARD or HIGH_PERFORMANCE",
};
const KIND: Rule =
    Rule { holds: |value| matches!(value.as_str(), Some("QUEUE" | "LOAD_BALANCER")), want: "QUEUE or LOAD_BALANCER" };
const FLASHBOOT: Rule = Rule {
    holds: |value| matches!(value.as_str(), Some("OFF" | "FLASHBOOT" | "PRIORITY_FLASHBOOT")),
    want: "OFF, FLASHBOOT or PRIORITY_FLASHBOOT",
};

type Fields = [(&'static str, Rule)];

const VOLUME: &Fields = &[("name", TEXT), ("size", VOLUME_SIZE), ("dataCenter", TEXT), ("type", TIER)];
const CHANGED_VOLUME: &Fields = &[("name", TEXT), ("size", VOLUME_SIZE)];
const ENDPOINT: &Fields = &[
    ("name", TEXT),
    ("type", KIND),
    ("image", TEXT),
    ("args", STRING),
    ("disk", ONE_OR_MORE),
    ("env", STRINGS_BY_NAME),
    ("ports", STRINGS),
    ("registry", ANY),
    ("gpu", OBJECT),
    ("cpu", LIST),
    ("workers", OBJECT),
    ("scaling", OBJECT),
    ("networkVolumes", STRINGS),
    ("dataCenterIds", STRINGS),
    ("flashboot", FLASHBOOT),
    ("timeout", WHOLE),
    ("templateId", TEXT),
];
const GPU: &Fields = &[
    ("pools", POOLS),
    ("count", ONE_OR_MORE),
    ("excludedTypes", STRINGS),
    ("allowedCudaVersions", STRINGS),
    ("minCudaVersion", STRING),
];
const WORKERS: &Fields = &[("min", WHOLE), ("max", WHOLE), ("idleTimeout", IDLE_TIMEOUT)];
const REQUEST_COUNT: &Fields = &[("type", ANY), ("requestCount", ONE_OR_MORE)];
const QUEUE_DELAY: &Fields = &[("type", ANY), ("queueDelay", HALF_OR_MORE)];

pub(super) fn new_volume(body: &Value) -> Vec<String> {
    check("$", body, VOLUME, &["name", "size", "dataCenter"])
}

pub(super) fn changed_volume(body: &Value) -> Vec<String> {
    let mut errors = check("$", body, CHANGED_VOLUME, &[]);
    if body.as_object().is_some_and(Map::is_empty) {
        errors.push("$: minProperties: got 0, want 1".to_owned());
    }
    errors
}

pub(super) fn new_endpoint(body: &Value) -> Vec<String> {
    let mut errors = check("$", body, ENDPOINT, &["name", "type", "scaling"]);
    if body["templateId"].is_null() && body["image"].is_null() {
        errors.push("$: missing property 'image'".to_owned());
    }
    errors.extend(parts(body, &["pools"]));
    errors
}

pub(super) fn changed_endpoint(body: &Value) -> Vec<String> {
    // The type is chosen once.
    let fields: Vec<_> = ENDPOINT.iter().filter(|(name, _)| *name != "type").copied().collect();
    let mut errors = check("$", body, &fields, &[]);
    errors.extend(parts(body, &[]));
    errors
}

/// The tables within an endpoint.
fn parts(body: &Value, gpu_needs: &[&str]) -> Vec<String> {
    let mut errors = Vec::new();
    if body["gpu"].is_object() {
        errors.extend(check("$.gpu", &body["gpu"], GPU, gpu_needs));
    }
    if body["workers"].is_object() {
        errors.extend(check("$.workers", &body["workers"], WORKERS, &[]));
    }
    let scaling = &body["scaling"];
    match scaling["type"].as_str() {
        Some("REQUEST_COUNT") => errors.extend(check("$.scaling", scaling, REQUEST_COUNT, &["requestCount"])),
        Some("QUEUE_DELAY") => errors.extend(check("$.scaling", scaling, QUEUE_DELAY, &["queueDelay"])),
        _ if scaling.is_object() => errors.push("$.scaling.type: want QUEUE_DELAY or REQUEST_COUNT".to_owned()),
        _ => {}
    }
    errors
}

fn check(at: &str, body: &Value, fields: &Fields, required: &[&str]) -> Vec<String> {
    let Some(body) = body.as_object() else { return vec![format!("{at}: want object")] };
    let mut errors = Vec::new();
    for name in required.iter().filter(|name| !body.contains_key(**name)) {
        errors.push(format!("{at}: missing property '{name}'"));
    }
    for (name, value) in body {
        match fields.iter().find(|(known, _)| known == name) {
            None => errors.push(format!("{at}: additional properties '{name}' not allowed")),
            Some((_, rule)) if !(rule.holds)(value) => errors.push(format!("{at}.{name}: want {}", rule.want)),
            Some(_) => {}
        }
    }
    errors
}
