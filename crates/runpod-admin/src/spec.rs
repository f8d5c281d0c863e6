//! The wanted state of one endpoint, and how it is sent to RunPod and vLLM.
//!
//! A load-balancing endpoint runs vLLM's own image, which takes arguments; a queue endpoint runs RunPod's worker around
//! it, which takes variables. Both keep models under the same path, where RunPod's own cached models appear too.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

/// Where a network volume is mounted.
const MOUNT: &str = "/runpod-volume";
/// The jobs that RunPod's worker takes at a time by default.
const WORKER_CONCURRENCY: u32 = 30;

/// The kind of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// Requests become jobs in a queue.
    Queue,
    /// Requests go straight to a worker.
    LoadBalancer,
}

/// The tier of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeTier {
    /// The usual one.
    Standard,
    /// Faster and dearer.
    HighPerformance,
}

/// A network volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its size in GB.
    pub size_gb: u64,
    /// Where it lies, and every worker with it.
    pub data_center: String,
    /// Its tier.
    pub tier: VolumeTier,
}

/// How many workers there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Workers that always run, and are always paid.
    pub min: u32,
    /// Most workers at a time.
    pub max: u32,
    /// Seconds that a worker runs on after its last request, where RunPod lets that be set.
    pub idle_timeout_s: Option<u64>,
}

/// When another worker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// For each so many requests queued or in progress.
    RequestCount(u32),
    /// When a request has waited for so many seconds.
    QueueDelay(u32),
}

/// How workers that were scaled down are revived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashBoot {
    /// From nothing.
    Off,
    /// From what they left, where RunPod has kept it.
    On,
    /// The same, with priority.
    Priority,
}

/// What one endpoint should be.
#[derive(Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its name, by which it is found again.
    pub name: String,
    /// Its kind, which cannot be changed later.
    pub kind: EndpointKind,
    /// The container image.
    pub image: String,
    /// The model, as Hugging Face calls it.
    pub model: String,
    /// The name that callers use.
    pub served_name: String,
    /// Longest prompt and answer together.
    pub context_tokens: Option<u64>,
    /// Which tool calls the model writes; without one, requests with tools are refused.
    pub tool_parser: Option<String>,
    /// Further arguments of `vllm serve`.
    pub vllm_args: Option<String>,
    /// Pools of GPUs, any of which will do.
    pub pools: Vec<String>,
    /// GPUs of a worker.
    pub gpu_count: u32,
    /// Where the model is kept.
    pub volume: Option<Volume>,
    /// How many workers.
    pub workers: Workers,
    /// When another one is started.
    pub scaling: Scaling,
    /// How they are revived.
    pub flashboot: FlashBoot,
    /// Seconds that a request may take.
    pub execution_timeout_s: u64,
    /// Further variables of the container; they win over those that are set here.
    pub env: BTreeMap<String, String>,
}

/// Says nothing of variables, which may hold secrets.
impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Volume {
    /// The body of the request to RunPod.
    pub(super) fn body(&self) -> Value {
        let tier = match self.tier {
            VolumeTier::Standard => "STANDARD",
            VolumeTier::HighPerformance => "HIGH_PERFORMANCE",
        };
        json!({"name": self.name, "size": self.size_gb, "dataCenter": self.data_center, "type": tier})
    }
}

impl Spec {
    /// The body of the request to RunPod, given the id of the volume.
    pub(super) fn body(&self, volume_id: Option<&str>) -> Value {
        let (kind, ports) = match self.kind {
            EndpointKind::Queue => ("QUEUE", json!([])),
            EndpointKind::LoadBalancer => ("LOAD_BALANCER", json!(["8000/http"])),
        };
        let mut workers = json!({"min": self.workers.min, "max": self.workers.max});
        if let Some(idle) = self.workers.idle_timeout_s {
            workers["idleTimeout"] = idle.into();
        }
        let scaling = match self.scaling {
            Scaling::RequestCount(count) => json!({"type": "REQUEST_COUNT", "requestCount": count}),
            Scaling::QueueDelay(seconds) => json!({"type": "QUEUE_DELAY", "queueDelay": seconds}),
        };
        let flashboot = match self.flashboot {
            FlashBoot::Off => "OFF",
            FlashBoot::On => "FLASHBOOT",
            FlashBoot::Priority => "PRIORITY_FLASHBOOT",
        };
        let data_centers: Vec<&str> = self.volume.iter().map(|volume| volume.data_center.as_str()).collect();
        json!({
            "name": self.name,
            "type": kind,
            "image": self.image,
            "args": self.args(),
            "ports": ports,
            "env": self.env(),
            "gpu": {"pools": self.pools, "count": self.gpu_count},
            "workers": workers,
            "scaling": scaling,
            "networkVolumes": Vec::from_iter(volume_id),
            "dataCenterIds": data_centers,
            "flashboot": flashboot,
            "timeout": self.execution_timeout_s * 1000,
        })
    }

    /// Arguments of the container: vLLM's own image takes them, RunPod's worker none.
    fn args(&self) -> String {
        if self.kind == EndpointKind::Queue {
            return String::new();
        }
        let mut args = vec![format!("--model {}", self.model), format!("--served-model-name {}", self.served_name)];
        args.extend(self.context_tokens.map(|tokens| format!("--max-model-len {tokens}")));
        // Usage in every stream, or what a stream cost would be an estimate.
        args.extend(["--enable-force-include-usage", "--enable-prompt-tokens-details"].map(str::to_owned));
        args.extend(
            self.tool_parser.as_ref().map(|name| format!("--enable-auto-tool-choice --tool-call-parser {name}")),
        );
        args.extend((self.gpu_count > 1).then(|| format!("--tensor-parallel-size {}", self.gpu_count)));
        args.extend(self.vllm_args.clone());
        args.join(" ")
    }

    fn env(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        match self.kind {
            EndpointKind::LoadBalancer => {
                set("PORT", "8000".into());
                set("PORT_HEALTH", "8000".into());
                set("HEALTH_CHECK_PATH", "/ping".into());
                set("HF_HOME", format!("{MOUNT}/huggingface-cache"));
            }
            EndpointKind::Queue => {
                set("MODEL_NAME", self.model.clone());
                set("OPENAI_SERVED_MODEL_NAME_OVERRIDE", self.served_name.clone());
                set("BASE_PATH", MOUNT.into());
                set("ENABLE_FORCE_INCLUDE_USAGE", "true".into());
                set("ENABLE_PROMPT_TOKENS_DETAILS", "true".into());
                if let Some(tokens) = self.context_tokens {
                    set("MAX_MODEL_LEN", tokens.to_string());
                }
                if let Some(parser) = &self.tool_parser {
                    set("ENABLE_AUTO_TOOL_CHOICE", "true".into());
                    set("TOOL_CALL_PARSER", parser.clone());
                }
                if let Scaling::RequestCount(count) = self.scaling {
                    // If a worker took fewer requests, some would wait without the scaler starting a worker for them.
                    set("MAX_CONCURRENCY", count.max(WORKER_CONCURRENCY).to_string());
                }
                if self.gpu_count > 1 {
                    set("TENSOR_PARALLEL_SIZE", self.gpu_count.to_string());
                }
                if let Some(args) = &self.vllm_args {
                    set("VLLM_EXTRA_ARGS", args.clone());
                }
            }
        }
        env.extend(self.env.clone());
        env
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::spec;

    #[test]
    fn a_load_balancer_runs_vllm_by_its_arguments() {
        let body = Spec { gpu_count: 2, vllm_args: Some("--seed 1".into()), ..spec() }.body(Some("vol1"));
        assert_eq!(
            body["args"],
            "--model org/model --served-model-name llama --max-model-len 8192 --enable-force-include-usage \
             --enable-prompt-tokens-details --enable-auto-tool-choice --tool-call-parser hermes --tensor-parallel-size 2 --seed 1"
        );
        assert_eq!(body["ports"], json!(["8000/http"]));
        assert_eq!(
            body["env"],
            json!({"PORT": "8000", "PORT_HEALTH": "8000", "HEALTH_CHECK_PATH": "/ping", "HF_HOME": "/runpod-volume/huggingface-cache"})
        );
        assert_eq!((&body["networkVolumes"], &body["dataCenterIds"]), (&json!(["vol1"]), &json!(["US-KS-2"])));
    }

    #[test]
    fn a_queue_runs_runpods_worker_by_its_variables() {
        let workers = Workers { idle_timeout_s: None, ..spec().workers };
        let scaling = Scaling::RequestCount(64);
        let env = [("BASE_PATH".to_owned(), "/models".to_owned())].into();
        let body = Spec { kind: EndpointKind::Queue, workers, scaling, env, ..spec() }.body(None);
        assert_eq!((&body["args"], &body["networkVolumes"]), (&json!(""), &json!([])));
        assert_eq!(
            body["env"],
            json!({
                "MODEL_NAME": "org/model", "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "llama", "MAX_MODEL_LEN": "8192",
                "ENABLE_FORCE_INCLUDE_USAGE": "true", "ENABLE_PROMPT_TOKENS_DETAILS": "true", "ENABLE_AUTO_TOOL_CHOICE": "true",
                "TOOL_CALL_PARSER": "hermes", "MAX_CONCURRENCY": "64", "BASE_PATH": "/models",
            })
        );
        assert_eq!(body["workers"], json!({"min": 0, "max": 3}), "RunPod refuses an idle timeout here");
    }
}
