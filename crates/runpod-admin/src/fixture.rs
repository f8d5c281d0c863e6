//! A specification for the tests of this module.

use std::collections::BTreeMap;

use crate::{EndpointKind, FlashBoot, Scaling, Spec, Volume, VolumeTier, Workers};

pub(super) fn spec() -> Spec {
    Spec {
        name: "llama".into(),
        kind: EndpointKind::LoadBalancer,
        image: "vllm/vllm-openai:v1".into(),
        model: "org/model".into(),
        served_name: "llama".into(),
        context_tokens: Some(8192),
        tool_parser: Some("hermes".into()),
        vllm_args: None,
        pools: vec!["ADA_24".into(), "AMPERE_24".into()],
        gpu_count: 1,
        volume: Some(Volume {
            name: "hf".into(),
            size_gb: 100,
            data_center: "US-KS-2".into(),
            tier: VolumeTier::Standard,
        }),
        workers: Workers { min: 0, max: 3, idle_timeout_s: Some(30) },
        scaling: Scaling::RequestCount(16),
        flashboot: FlashBoot::On,
        execution_timeout_s: 300,
        env: BTreeMap::new(),
    }
}
