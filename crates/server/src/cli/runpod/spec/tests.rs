//! The specification of a RunPod endpoint: what ships is right, and each mistake is reported at its place.

use super::*;

const SHIPPED: &str = include_str!("../../../../../../deploy/runpod/endpoint.toml");

fn parse(text: &str) -> Result<Spec, Problems> {
    let env = |name: &str| (name != "UNSET").then(|| format!("value-of-{name}"));
    reader::read_text(text, "x.toml", &env, read)
}

fn shipped() -> Spec {
    parse(SHIPPED).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn what_ships_says_what_it_says() {
    let spec = shipped();
    assert_eq!((spec.name.as_str(), spec.kind), ("gpt-oss-120b", EndpointKind::LoadBalancer));
    assert_eq!((spec.workers.min, spec.workers.max, spec.workers.idle_timeout_s), (0, 3, Some(60)));
    assert_eq!((spec.scaling, spec.pools), (Scaling::RequestCount(16), vec!["ADA_80_PRO".to_owned()]));
    assert_eq!(spec.volume.map(|volume| volume.size_gb), Some(100));
}

#[test]
fn the_least_file_has_defaults() {
    let least = "name = \"n\"\ntype = \"queue\"\nimage = \"i\"\nmodel = \"org/m\"\n[gpu]\npools = [\"P\"]\n\
                 [workers]\nmax = 1\nidle_timeout_s = 5\n[scaling]\nqueue_delay_s = 4\n[env]\nHF_TOKEN = \"${HF_TOKEN}\"\n";
    let spec = parse(least).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((spec.served_name.as_str(), spec.gpu_count, spec.execution_timeout_s), ("org/m", 1, 300));
    assert_eq!((spec.volume, spec.workers.min, spec.scaling), (None, 0, Scaling::QueueDelay(4)));
    assert_eq!(spec.env["HF_TOKEN"], "value-of-HF_TOKEN");
}

#[test]
fn mistakes_are_reported_at_their_place() {
    // What is replaced, by what; where the problem is, what is said of it, and a part of the hint.
    let cases = [
        ("served_name = ", "served_nane = ", "served_nane", "unknown key", "did you mean \"served_name\"?"),
        ("type = \"load_balancer\"", "type = \"load-balancer\"", "type", "is not an endpoint type", "load_balancer"),
        ("model = \"openai/gpt", "model = \"openai gpt", "model", "is not one word", ""),
        ("pools = [\"ADA_80_PRO\"]", "pools = []", "gpu.pools", "is empty", ""),
        ("pools = [\"ADA_80_PRO\"]", "pools = \"ADA_80_PRO\"", "gpu.pools", "is not an array", ""),
        ("size_gb = 100", "size_gb = 5", "volume.size_gb", "is out of range", ""),
        ("size_gb = 100", "", "volume.size_gb", "missing", ""),
        ("max = 3", "max = 0", "workers.max", "is out of range", ""),
        ("min = 0", "min = 4", "workers.max", "is below min", ""),
        ("requests_per_worker = 16", "", "scaling.requests_per_worker", "missing", "16"),
        ("requests_per_worker = 16", "queue_delay_s = 4", "scaling.queue_delay_s", "is set for type", "no queue"),
        ("# queue_delay_s = 4", "queue_delay_s = 4", "scaling.queue_delay_s", "stands beside", "keep one"),
        ("type = \"load_balancer\"", "type = \"queue\"", "workers.idle_timeout_s", "cannot be set here", "remove it"),
        ("flashboot = \"on\"", "flashboot = \"fast\"", "flashboot", "is not a FlashBoot mode", ""),
        ("[env]", "[env]\nHF_TOKEN = \"hf_canary\"", "env.HF_TOKEN", "a secret does not belong", "${HF_TOKEN}"),
        ("[env]", "[env]\nHF_TOKEN = \"${UNSET}\"", "env.HF_TOKEN", "UNSET, which is not set", "export UNSET"),
        ("[env]", "api_key = \"rpa_canary\"\n[env]", "scaling.api_key", "a secret does not belong", "environment"),
    ];
    for (from, to, path, said, hint) in cases {
        // Comments name keys too; what stands at the start of a line is the key itself.
        let (from, to) = (format!("\n{from}"), format!("\n{to}"));
        assert_eq!(SHIPPED.matches(&from).count(), 1, "{from:?} does not name one place");
        let Err(problems) = parse(&SHIPPED.replace(&from, &to)) else {
            panic!("{to:?} instead of {from:?} is not noticed")
        };
        let [problem] = problems.list.as_slice() else { panic!("{to:?}: not one problem: {problems}") };
        assert_eq!(problem.path, path, "{problem}");
        assert!(problem.fault.contains(said), "{to:?}: {problem}");
        assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{to:?}: {problem}");
        assert!(!problems.to_string().contains("canary"), "{problems}");
    }
}
