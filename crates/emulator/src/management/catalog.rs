//! The GPUs on offer. Names and prices follow RunPod's list of June 2026, in dollars an hour.

use serde_json::{Value, json};

/// Id, name, memory in GB, and pool with its serverless price. A card without a pool is for pods only.
type Gpu = (&'static str, &'static str, u32, Option<(&'static str, f64)>);

const GPUS: [Gpu; 10] = [
    ("NVIDIA RTX A4000", "RTX A4000", 16, Some(("AMPERE_16", 0.58))),
    ("NVIDIA L4", "L4", 24, Some(("AMPERE_24", 0.68))),
    ("NVIDIA GeForce RTX 4090", "RTX 4090", 24, Some(("ADA_24", 1.12))),
    ("NVIDIA A40", "A40", 48, Some(("AMPERE_48", 1.22))),
    ("NVIDIA L40S", "L40S", 48, Some(("ADA_48_PRO", 1.91))),
    ("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, Some(("AMPERE_80", 2.74))),
    ("NVIDIA H100 80GB HBM3", "H100 SXM", 80, Some(("ADA_80_PRO", 4.18))),
    ("NVIDIA H100 PCIe", "H100 PCIe", 80, Some(("ADA_80_PRO", 4.18))),
    ("NVIDIA H200", "H200 SXM", 141, Some(("HOPPER_141", 5.58))),
    ("NVIDIA GeForce RTX 3070", "RTX 3070", 8, None),
];

pub(super) fn gpus() -> Value {
    let gpu = |&(id, name, memory, pool): &Gpu| {
        let mut gpu = json!({
            "id": id, "name": name, "pool": pool.map(|(id, _)| id), "manufacturer": "NVIDIA", "memory": memory, "secure": true, "community": false,
            "price": {"secure": 0.5, "community": 0.5}, "maxCount": {"secure": 8, "community": 8},
        });
        if let Some((_, price)) = pool {
            gpu["price"]["serverless"] = price.into();
        }
        gpu
    };
    json!({"gpus": GPUS.iter().map(gpu).collect::<Vec<_>>()})
}
