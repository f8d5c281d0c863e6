use serde_json::json;

use super::*;
use crate::{EndpointKind, Scaling, VolumeTier, fixture::spec};

/// An account in which `spec` was made, with all that RunPod adds of its own.
fn made(spec: &Spec) -> Found {
    let existing = |id: &str, name: &str, settings: Value, more: Value| {
        let mut settings = settings;
        settings.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Existing { id: id.to_owned(), name: name.to_owned(), settings }
    };
    let volume = spec.volume.as_ref().expect("a volume");
    let mut endpoint = spec.body(Some("vol1"));
    endpoint["gpu"]["allowedCudaVersions"] = json!([]);
    Found {
        volumes: vec![existing("vol1", &volume.name, volume.body(), json!({}))],
        endpoints: vec![
            existing("ep0", "of somebody else", json!({"cpu": [{"id": "cpu5c"}]}), json!({})),
            existing("ep1", &spec.name, endpoint, json!({"disk": 20, "registry": null, "createdAt": "2026-06-01"})),
        ],
    }
}

/// The only action that is planned.
fn only(spec: &Spec, found: &Found) -> Action {
    let mut actions = plan(spec, found).expect("a plan");
    assert_eq!(actions.len(), 1, "{actions:?}");
    actions.remove(0)
}

fn reasons(spec: &Spec, found: &Found) -> Vec<String> {
    match plan(spec, found) {
        Err(Error::Conflicts(reasons)) => reasons,
        other => panic!("conflicts wanted: {other:?}"),
    }
}

#[test]
fn what_does_not_exist_is_created_the_volume_first() {
    let actions = plan(&spec(), &Found::default()).expect("a plan");
    let brief: Vec<_> = actions.iter().map(|action| (action.target, action.name.as_str(), &action.id)).collect();
    assert_eq!(brief, [(Target::Volume, "hf", &None), (Target::Endpoint, "llama", &None)]);
    assert_eq!(actions[0].body, json!({"name": "hf", "size": 100, "dataCenter": "US-KS-2", "type": "STANDARD"}));
    assert_eq!(actions[1].body["networkVolumes"], json!([NEW_VOLUME]));
    assert!(actions[1].changes.iter().all(|change| change.from.is_null()));
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let spec = spec();
    let mut found = made(&spec);
    assert_eq!(plan(&spec, &found).expect("a plan"), []);
    // RunPod may list in another order, leave out what is empty, and write a number as it likes.
    let endpoint = &mut found.endpoints[1].settings;
    endpoint["gpu"]["pools"] = json!(["AMPERE_24", "ADA_24"]);
    endpoint["timeout"] = json!(300_000.0);
    assert_eq!(plan(&spec, &found).expect("a plan"), []);
    let queue = Spec { kind: EndpointKind::Queue, ..spec };
    let mut found = made(&queue);
    let endpoint = found.endpoints[1].settings.as_object_mut().expect("an object");
    assert!(endpoint.remove("args").is_some() && endpoint.remove("ports").is_some());
    assert_eq!(plan(&queue, &found).expect("a plan"), []);
}

#[test]
fn a_changed_field_changes_that_field_only() {
    let before = spec();
    let found = made(&before);
    let mut now = before.clone();
    now.workers.max = 5;
    let action = only(&now, &found);
    assert_eq!((action.target, action.id.as_deref()), (Target::Endpoint, Some("ep1")));
    assert_eq!(action.body, json!({"workers": {"max": 5}}));
    let change = Change { field: "workers.max".into(), from: json!(3), to: json!(5) };
    assert_eq!(action.changes, [change]);

    let cases = [
        (Spec { image: "vllm/vllm-openai:v2".into(), ..before.clone() }, json!({"image": "vllm/vllm-openai:v2"})),
        (Spec { pools: vec!["ADA_24".into()], ..before.clone() }, json!({"gpu": {"pools": ["ADA_24"]}})),
        (
            Spec { scaling: Scaling::RequestCount(8), ..before.clone() },
            json!({"scaling": {"type": "REQUEST_COUNT", "requestCount": 8}}),
        ),
        (Spec { execution_timeout_s: 60, ..before.clone() }, json!({"timeout": 60_000})),
    ];
    for (spec, body) in cases {
        assert_eq!(only(&spec, &found).body, body);
    }
}

#[test]
fn what_runpod_scaled_down_by_itself_is_raised_again() {
    let spec = spec();
    let mut found = made(&spec);
    found.endpoints[1].settings["workers"]["max"] = json!(0);
    assert_eq!(only(&spec, &found).body, json!({"workers": {"max": 3}}));
}

#[test]
fn variables_are_sent_as_a_whole_and_shown_one_by_one_without_secrets() {
    let spec = spec();
    let mut found = made(&spec);
    let env = &mut found.endpoints[1].settings["env"];
    env["HF_TOKEN"] = json!("hf_canary");
    env["OLD"] = json!("1");
    let action = only(&spec, &found);
    let fields: Vec<_> = action.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["env.HF_TOKEN", "env.OLD"]);
    assert_eq!(action.changes[1].from, json!("(hidden)"), "whatever it is called, it may be a secret");
    assert_eq!(action.body, json!({"env": spec.body(None)["env"]}));
    for told in [format!("{action:?}"), format!("{found:?}"), json!(action).to_string()] {
        assert!(!told.contains("hf_canary"), "{told}");
    }
    // A reference to one of RunPod's secrets is none.
    let referring = Spec { env: [("HF_TOKEN".to_owned(), "{{ RUNPOD_SECRET_hf }}".to_owned())].into(), ..spec };
    assert_eq!(only(&referring, &found).changes[0].to, json!("{{ RUNPOD_SECRET_hf }}"));
}

#[test]
fn a_volume_grows_and_nothing_else_of_it_changes() {
    let before = spec();
    let mut now = before.clone();
    let volume = now.volume.as_mut().expect("a volume");
    volume.size_gb = 200;
    let action = only(&now, &made(&before));
    assert_eq!((action.target, action.id.as_deref()), (Target::Volume, Some("vol1")));
    assert_eq!(action.body, json!({"size": 200}));
}

#[test]
fn everything_that_would_need_a_deletion_is_refused_at_once() {
    let before = spec();
    let mut now = Spec { kind: EndpointKind::Queue, ..before.clone() };
    now.volume = Some(crate::Volume {
        name: "hf".into(),
        size_gb: 50,
        data_center: "EU-RO-1".into(),
        tier: VolumeTier::HighPerformance,
    });
    let reasons = reasons(&now, &made(&before));
    let said =
        ["its dataCenter is \"US-KS-2\"", "cannot shrink to 50 GB", "its type is \"STANDARD\"", "\"LOAD_BALANCER\""];
    assert_eq!(reasons.len(), said.len(), "{reasons:?}");
    for words in said {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
    }
}

#[test]
fn a_name_that_two_have_is_refused() {
    let spec = spec();
    let mut found = made(&spec);
    found.put(Target::Endpoint, Existing { id: "ep2".into(), ..found.endpoints[1].clone() });
    let reasons = reasons(&spec, &found);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("two endpoints are called llama (ep1 and ep2)"), "{reasons:?}");
}
