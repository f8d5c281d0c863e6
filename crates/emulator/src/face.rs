//! The three provider APIs that the emulator imitates, called faces. One listener serves all of them under path
//! prefixes, so that one port is enough, and a fault can still apply to one of them alone.

use serde::{Deserialize, Serialize};

/// A provider API that the emulator imitates.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// A RunPod load-balancing endpoint: plain HTTP to a vLLM server, under `/lb/v1`.
    RunpodLb,
    /// A RunPod queue endpoint: jobs around a vLLM server, under `/v2/{endpoint}`.
    RunpodQueue,
    /// Cerebras Inference, under `/cerebras/v1`.
    Cerebras,
}

impl Face {
    /// Every face, in the order of [`Face::index`].
    pub const ALL: [Self; 3] = [Self::RunpodLb, Self::RunpodQueue, Self::Cerebras];

    /// The name used in the control API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunpodLb => "runpod_lb",
            Self::RunpodQueue => "runpod_queue",
            Self::Cerebras => "cerebras",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::RunpodLb => 0,
            Self::RunpodQueue => 1,
            Self::Cerebras => 2,
        }
    }
}
