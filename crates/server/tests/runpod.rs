//! `llm-router runpod` as its users start it, against the emulator's management API: no call leaves the machine.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        process::{Command, Output, Stdio},
        sync::atomic::{AtomicU32, Ordering},
    };

    use emulator::{Emulator, Face, Fault, ManagementCall, ManagementSettings, Rule, Settings};
    use serde_json::{Value, json};

    const BINARY: &str = env!("CARGO_BIN_EXE_llm-router");
    const KEY: &str = "rpa_canary";

    /// An account with an endpoint's specification, which can be edited.
    struct Rig {
        emulator: Emulator,
        spec: PathBuf,
    }

    impl Rig {
        /// The specification that ships.
        fn start() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let management = ManagementSettings { api_key: Some(KEY.to_owned()), ..ManagementSettings::default() };
            let emulator = Emulator::start(Settings { management, ..Settings::instant() }).expect("an emulator");
            let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/runpod/endpoint.toml");
            let name = format!("llm-router-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let spec = std::env::temp_dir().join(name);
            fs::copy(shipped, &spec).expect("a copy");
            Self { emulator, spec }
        }

        /// Replaces a line of the specification.
        fn edit(&self, from: &str, to: &str) {
            let text = fs::read_to_string(&self.spec).expect("a file");
            let (from, to) = (format!("\n{from}\n"), format!("\n{to}\n"));
            assert_eq!(text.matches(&from).count(), 1, "{from:?} does not name one place");
            fs::write(&self.spec, text.replace(&from, &to)).expect("written");
        }

        fn run_with_key(&self, key: Option<&str>, arguments: &[&str]) -> Output {
            let mut command = Command::new(BINARY);
            command.arg("runpod").args(arguments).arg("--spec").arg(&self.spec);
            command.args(["--api", &self.emulator.management_base()]).env_clear().stdin(Stdio::null());
            command.envs(key.map(|key| ("RUNPOD_API_KEY", key)));
            command.output().expect("the binary runs")
        }

        /// What a run that succeeds says.
        fn run(&self, arguments: &[&str]) -> String {
            let output = self.run_with_key(Some(KEY), arguments);
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(text(&output.stderr), "");
            text(&output.stdout)
        }

        /// What a run that fails complains of.
        fn fail(&self, arguments: &[&str]) -> String {
            failure(&self.run_with_key(Some(KEY), arguments))
        }

        /// The calls that change something.
        fn changes(&self) -> Vec<ManagementCall> {
            let calls = self.emulator.call_logs().management.into_iter();
            calls.filter(|call| call.method != "GET").collect()
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.spec));
        }
    }

    fn failure(output: &Output) -> String {
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        assert!(!said.contains(KEY) && !complaint.contains(KEY), "{said}{complaint}");
        complaint
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn a_plan_changes_nothing_and_a_second_apply_neither() {
        let rig = Rig::start();
        let plan = rig.run(&["plan"]);
        assert!(
            plan.starts_with("+ network volume gpt-oss-120b\n    size        100\n    dataCenter  US-KS-2\n"),
            "{plan}"
        );
        assert!(plan.contains("\n+ endpoint gpt-oss-120b\n") && plan.contains("Nothing was changed."), "{plan}");
        assert!(rig.changes().is_empty(), "{:?}", rig.changes());

        let first = rig.run(&["apply", "--yes"]);
        assert!(first.contains("created the network volume gpt-oss-120b (vol0001)"), "{first}");
        assert!(first.contains("created the endpoint gpt-oss-120b (ep0002)"), "{first}");
        let changes = rig.changes();
        let brief: Vec<_> =
            changes.iter().map(|call| (call.method.as_str(), call.path.as_str(), call.status)).collect();
        assert_eq!(brief, [("POST", "/v2/network-volumes", 201), ("POST", "/v2/serverless", 201)]);
        let volume = json!({"name": "gpt-oss-120b", "size": 100, "dataCenter": "US-KS-2", "type": "STANDARD"});
        assert_eq!(changes[0].body, volume);
        let endpoint = &changes[1].body;
        assert_eq!(endpoint["networkVolumes"], json!(["vol0001"]));
        assert_eq!(endpoint["scaling"], json!({"type": "REQUEST_COUNT", "requestCount": 16}));
        let args = endpoint["args"].as_str().expect("arguments");
        for flag in ["--enable-force-include-usage", "--enable-auto-tool-choice --tool-call-parser openai"] {
            assert!(args.contains(flag), "{args}");
        }
        assert_eq!(endpoint["env"]["HF_HOME"], "/runpod-volume/huggingface-cache");

        let second = rig.run(&["apply"]);
        assert!(second.starts_with("Nothing to change.\n"), "{second}");
        assert_eq!(rig.changes().len(), 2);
    }

    #[test]
    fn a_changed_field_changes_only_that() {
        let rig = Rig::start();
        rig.run(&["apply", "--yes"]);
        rig.edit("max = 3", "max = 5");
        let plan = rig.run(&["plan"]);
        assert!(plan.starts_with("~ endpoint gpt-oss-120b (ep0002)\n    workers.max  3 -> 5\n\n"), "{plan}");
        let applied = rig.run(&["apply", "--yes"]);
        assert!(applied.contains("changed the endpoint gpt-oss-120b (ep0002)"), "{applied}");
        rig.edit("size_gb = 100", "size_gb = 150");
        rig.run(&["apply", "--yes"]);
        let changes = rig.changes().split_off(2);
        let brief: Vec<_> =
            changes.iter().map(|call| (call.method.as_str(), call.path.as_str(), call.body.clone())).collect();
        let expected = [
            ("PATCH", "/v2/serverless/ep0002", json!({"workers": {"max": 5}})),
            ("PATCH", "/v2/network-volumes/vol0001", json!({"size": 150})),
        ];
        assert_eq!(brief, expected);
        assert!(rig.run(&["apply"]).starts_with("Nothing to change.\n"));
    }

    /// By hand: 1500 GB are 1000 x $0.07 + 500 x $0.05 = $70 + $25 = $95.00. An H100 costs $4.18 an hour in the emulator's
    /// catalogue, so two workers that always run cost 2 x 730 h x $4.18 = $6102.80. Together $6197.80.
    #[test]
    fn the_monthly_cost_is_what_a_hand_computes() {
        let rig = Rig::start();
        rig.edit("size_gb = 100", "size_gb = 1500");
        rig.edit("min = 0", "min = 2");
        let plan = rig.run(&["plan"]);
        for line in [
            "  storage    1500 GB: $95.00 (RunPod's documentation, August 2026)\n",
            "  workers    2 always running x 730 h x $4.18 = $6102.80\n",
            "  fixed      $6197.80 a month, whether or not anybody asks\n",
            "  on demand  $4.18 (ADA_80_PRO) an hour for each worker that runs, 3 at most",
        ] {
            assert!(plan.contains(line), "{line}: {plan}");
        }
        let json: Value = serde_json::from_str(&rig.run(&["plan", "--json"])).expect("JSON");
        let cost = json!({
            "storage_usd_per_month": "95.000000000", "workers_usd_per_month": "6102.800000000",
            "fixed_usd_per_month": "6197.800000000", "worker_usd_per_hour": {"ADA_80_PRO": "4.180000000"}, "hours_per_month": 730,
        });
        assert_eq!(json["cost"], cost);
        assert_eq!(json["actions"][0]["target"], "network_volume");
        assert_eq!(json["actions"][0]["changes"][0], json!({"field": "size", "from": null, "to": 1500}));
    }

    #[test]
    fn what_is_printed_to_paste_is_a_configuration() {
        let rig = Rig::start();
        let applied = rig.run(&["apply", "--yes"]);
        let (_, upstream) = applied.split_once("\n[[upstreams]]").expect("an upstream");
        // 4.18 / 3600
        assert!(upstream.contains("usd_per_second = \"0.001161111111\", idle_timeout_s = 60 }"), "{upstream}");
        let config = format!(
            "[auth]\nmode = \"none\"\n[[upstreams]]{upstream}\n[[models]]\nname = \"m\"\nstrategy = \"weighted\"\n\
             targets = [{{ upstream = \"runpod-gpt-oss-120b\" }}]\n"
        );
        let file = rig.spec.with_extension("router.toml");
        fs::write(&file, config).expect("written");
        let mut check = Command::new(BINARY);
        let output = check.args(["check", "--config"]).arg(&file).env_clear().env("RUNPOD_API_KEY", KEY).output();
        drop(fs::remove_file(&file));
        let output = output.expect("the binary runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    #[test]
    fn a_key_that_is_missing_or_wrong_is_said() {
        let rig = Rig::start();
        let missing = failure(&rig.run_with_key(None, &["plan"]));
        assert!(missing.contains("RUNPOD_API_KEY is not set"), "{missing}");
        let wrong = failure(&rig.run_with_key(Some("rpa_other"), &["apply", "--yes"]));
        assert!(wrong.contains("invalid bearer token\n  check the key in RUNPOD_API_KEY"), "{wrong}");
        assert!(!wrong.contains("rpa_other"), "{wrong}");
        let unfit = failure(&rig.run_with_key(Some("rpa\nother"), &["plan"]));
        assert!(unfit.contains("RUNPOD_API_KEY"), "{unfit}");
        assert!(rig.changes().is_empty());
    }

    #[test]
    fn every_problem_of_a_specification_is_said_before_any_call() {
        let rig = Rig::start();
        rig.edit("type = \"load_balancer\"", "type = \"loadbalancer\"");
        rig.edit("size_gb = 100", "size_gb = 5");
        rig.edit("max = 3", "maxi = 3");
        let problems = rig.fail(&["plan"]);
        for said in [
            "type: \"loadbalancer\" is not",
            "did you mean \"load_balancer\"?",
            "volume.size_gb: 5 is out of range",
            "workers.maxi: unknown key",
            "workers.max: missing",
        ] {
            assert!(problems.contains(said), "{said}: {problems}");
        }
        assert!(rig.emulator.call_logs().management.is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_said_before_anything_is() {
        let rig = Rig::start();
        rig.run(&["apply", "--yes"]);
        rig.edit("size_gb = 100", "size_gb = 50");
        rig.edit("data_center = \"US-KS-2\"", "data_center = \"EU-RO-1\"");
        rig.edit("max = 3", "max = 5");
        let refused = rig.fail(&["apply", "--yes"]);
        assert!(refused.contains("cannot shrink to 50 GB") && refused.contains("its dataCenter is"), "{refused}");
        assert_eq!(rig.changes().len(), 2, "nothing but the creation");
        let rig = Rig::start();
        rig.edit("pools = [\"ADA_80_PRO\"]", "pools = [\"ADA_80\"]");
        let refused = rig.fail(&["apply", "--yes"]);
        assert!(refused.contains("gpu.pools[0]") && refused.contains("ADA_80_PRO"), "{refused}");
        assert!(rig.changes().is_empty());
    }

    #[test]
    fn without_a_yes_nothing_is_done() {
        let rig = Rig::start();
        let refused = rig.fail(&["apply"]);
        assert!(refused.contains("--yes"), "{refused}");
        assert!(rig.changes().is_empty());
    }

    #[test]
    fn a_warm_up_asks_until_the_endpoint_answers() {
        let rig = Rig::start();
        let no_worker = Fault::Status { code: 503, retry_after: None };
        rig.emulator.set_rules(Face::RunpodLb, vec![Rule { times: Some(1), ..no_worker.into() }]);
        let applied = rig.run(&["apply", "--yes", "--warm-up"]);
        assert!(applied.contains("\nanswered after "), "{applied}");
        let log = rig.emulator.call_logs().runpod_lb;
        assert_eq!((log.received, log.completed), (2, 1));
        let asked: Value = serde_json::from_str(&log.requests[1].body).expect("JSON");
        assert_eq!(asked["model"], "openai/gpt-oss-120b");
    }

    #[test]
    fn a_warm_up_that_waiting_does_not_help_fails_at_once() {
        let rig = Rig::start();
        rig.edit("served_name = \"openai/gpt-oss-120b\"", "served_name = \"nobody\"");
        let refused = rig.fail(&["apply", "--yes", "--warm-up"]);
        assert!(refused.contains("does not answer: The model `nobody` does not exist."), "{refused}");
        assert_eq!(rig.changes().len(), 2, "the endpoint is there all the same");
    }

    #[test]
    fn a_queue_endpoint_is_set_up_by_variables() {
        let rig = Rig::start();
        rig.edit("type = \"load_balancer\"", "type = \"queue\"");
        rig.edit("image = \"vllm/vllm-openai:v0.27.1\"", "image = \"runpod/worker-v1-vllm:v2.25.2\"");
        rig.edit("idle_timeout_s = 60", "");
        let applied = rig.run(&["apply", "--yes", "--warm-up"]);
        assert!(applied.contains("endpoint_type = \"queue\"") && applied.contains("\nanswered after "), "{applied}");
        assert!(applied.contains("/v2/ep0002/openai/v1\""), "{applied}");
        let env = &rig.changes()[1].body["env"];
        assert_eq!((&env["TOOL_CALL_PARSER"], &env["BASE_PATH"]), (&json!("openai"), &json!("/runpod-volume")));
        assert!(rig.run(&["apply"]).starts_with("Nothing to change.\n"));
        assert_eq!(rig.emulator.call_logs().runpod_queue.completed, 1);
    }
}
