//! `llm-router simulate` as its users start it.

#[cfg(test)]
mod tests {
    use std::{
        fmt::Write as _,
        fs,
        path::{Path, PathBuf},
        process::{Command, Output, Stdio},
        time::Duration,
    };

    use serde_json::Value;

    const BINARY: &str = env!("CARGO_BIN_EXE_llm-router");

    /// Files for one test, removed with it.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    impl Folder {
        /// A trace of five minutes, and two configurations that differ in their shares.
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("llm-router-simulate-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            let folder = Self(path);
            let mut trace = "t_s,input_tokens,output_tokens\n".to_owned();
            for number in 0..300 {
                let _ = writeln!(trace, "{number},{},{}", 200 + number % 7 * 100, 20 + number % 5 * 10);
            }
            folder.write("trace.csv", &trace);
            folder.write("today.toml", &config("0.8", "0.2"));
            folder.write("next.toml", &config("0.5", "0.5"));
            folder
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).expect("a file");
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).expect("a file")
        }

        fn command(&self, arguments: &[&str]) -> Command {
            let mut command = Command::new(BINARY);
            command.arg("simulate").args(arguments).current_dir(&self.0).env_clear();
            command
        }

        fn simulate(&self, arguments: &[&str]) -> Simulated {
            let Output { status, stdout, stderr } = self.command(arguments).output().expect("the binary runs");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Simulated { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
        }

        /// With both configurations.
        fn compare(&self, arguments: &[&str]) -> Simulated {
            let both = ["--trace", "trace.csv", "--config", "today.toml", "--config", "next.toml", "--seeds", "2"];
            self.simulate(&[&both, arguments].concat())
        }
    }

    #[derive(Debug)]
    struct Simulated {
        code: Option<i32>,
        stdout: String,
        stderr: String,
    }

    impl Simulated {
        /// The row of `policy` in the table of `scenario`.
        fn row(&self, scenario: &str, policy: &str) -> &str {
            let mut lines = self.stdout.lines().skip_while(|line| !line.contains(&format!("/ {scenario}:")));
            lines
                .find(|line| line.starts_with(policy))
                .unwrap_or_else(|| panic!("{scenario}, {policy}: {}", self.stdout))
        }
    }

    /// Exact shares between the two upstreams that ship simulated. What it takes from the environment is not there.
    fn config(runpod: &str, cerebras: &str) -> String {
        format!(
            r#"
[[keys]]
id = "a"
team = "a"
env = "NOT_SET"

[[upstreams]]
id = "runpod-8b"
provider = "runpod"
endpoint_id = "${{NOT_SET_EITHER}}"
endpoint_type = "queue"
model = "m"
cost = {{ kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }}

[[upstreams]]
id = "cerebras-8b"
provider = "cerebras"
model = "m"
cost = {{ kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }}

[[models]]
name = "m"
strategy = "weighted"
targets = [{{ upstream = "runpod-8b", share = {runpod} }}, {{ upstream = "cerebras-8b", share = {cerebras} }}]
"#
        )
    }

    #[test]
    fn two_configurations_are_compared_and_gates_that_hold_are_quiet() {
        let folder = Folder::new("compare");
        let done = folder.compare(&["--share", "49..51", "--min-slo", "50", "--max-cost-increase", "100"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.row("steady", "today.toml").contains("80.0"), "{}", done.stdout);
        assert!(done.row("steady", "next.toml").contains("50.0"), "{}", done.stdout);
        for words in ["policy", "of limit", "limit: SLO", "In steady, next.toml costs", "more than today.toml"] {
            assert!(done.stdout.contains(words), "{words}: {}", done.stdout);
        }
        assert!(!done.stderr.contains("gate"), "{}", done.stderr);
        // A log gets no bar.
        assert!(done.stderr.contains("4 runs and 1 limit in ") && !done.stderr.contains('\r'), "{}", done.stderr);
    }

    #[test]
    fn each_broken_gate_is_reported_with_its_figures_and_fails() {
        let folder = Folder::new("gates");
        let done = folder.compare(&[
            "--share",
            "cerebras-8b=0..20",
            "--min-slo",
            "100",
            "--max-cost-increase",
            "-5",
            "--scenario",
            "steady,outage10m",
            "--json",
            "results.json",
        ]);
        assert_eq!(done.code, Some(1), "{done:?}");
        let told: Vec<&str> = done.stderr.lines().filter(|line| line.starts_with("gate ")).collect();
        let expected = [
            ("gate --max-cost-increase is broken by next.toml in steady: ", "-5 % are allowed"),
            ("gate --min-slo is broken by next.toml in outage10m: ", "100 % must be"),
            ("gate --share is broken by next.toml in steady: cerebras-8b serves 50.00 %", "10 ± 10 % are demanded"),
        ];
        for (start, end) in expected {
            assert!(told.iter().any(|line| line.starts_with(start) && line.ends_with(end)), "{start}: {told:#?}");
        }
        assert!(!told.iter().any(|line| line.contains("today.toml ")), "today's is the measure: {told:#?}");
        // The error names everything that is needed to find the reason.
        assert!(done.row("outage10m", "next.toml").contains('%'));
        let results: Value = serde_json::from_str(&folder.read("results.json")).expect("JSON");
        assert_eq!(results["broken_gates"].as_array().expect("a list").len(), told.len());
        assert_eq!(results["broken_gates"][0]["policy"], "next.toml");
    }

    #[test]
    fn a_lone_configuration_is_held_to_gates_too() {
        let folder = Folder::new("lone");
        let lone = |gate: &[&str]| {
            folder.simulate(&[&["--trace", "trace.csv", "--config", "today.toml", "--seeds", "1"], gate].concat())
        };
        let held = lone(&["--share", "79..81"]);
        assert_eq!(held.code, Some(0), "{held:?}");
        assert!(held.stdout.contains("One run each"), "{}", held.stdout);
        assert_eq!(lone(&["--share", "40..60"]).code, Some(1));
    }

    #[test]
    fn what_cannot_be_simulated_is_said_before_anything_runs() {
        let folder = Folder::new("wrong");
        folder.write("README.md", "# A service\n\nThat answers.\n");
        folder.write("bad.csv", "t_s,input_tokens,output_tokens\n0,1,1\nsoon,1,1\n");
        folder.write("broken.toml", "[server]\ndrane_s = 1\n");
        folder.write(
            "two.toml",
            &(config("0.8", "0.2")
                + "[[models]]\nname = \"n\"\ntargets = [{ upstream = \"runpod-8b\" }]\nstrategy = \"cost\"\n"),
        );
        folder
            .write("elsewhere.toml", &config("0.8", "0.2").replace("cerebras", "openai").replace("openai-8b", "mine"));
        folder.write("providers.toml", "slo_ttft_ms = \"soon\"\n");
        let cases: [(&[&str], &[&str]); 21] = [
            (&["--config", "today.toml"], &["--trace FILE", "t_s,input_tokens,output_tokens"]),
            (&["--trace", "trace.csv"], &["--config", "--baselines"]),
            (&["--trace", "bad.csv", "--config", "today.toml"], &["bad.csv", "line 3: t_s is \"soon\""]),
            (&["--trace", "nowhere.csv", "--config", "today.toml"], &["nowhere.csv", "No such file"]),
            (
                &["--trace", "README.md", "--config", "today.toml"],
                &["README.md: no trace and no decision log", "t_s, input_tokens and output_tokens"],
            ),
            (&["--trace", ".", "--config", "today.toml"], &[". is a folder", "give the files in it: ./*.jsonl"]),
            (
                &["--trace", "trace.csv", "bad.csv", "--config", "today.toml"],
                &["trace.csv: this is no decision log", "{\"format\":1,"],
            ),
            (
                &["--trace", "trace.csv", "--config", "broken.toml", "--config", "two.toml"],
                &["broken.toml: server.drane_s", "did you mean \"drain_s\"?", "two.toml has several models", "m, n"],
            ),
            (&["--trace", "trace.csv", "--config", "nowhere.toml"], &["nowhere.toml", "No such file"]),
            (
                &["--trace", "trace.csv", "--config", "two.toml", "--model", "o"],
                &["two.toml has no model \"o\"", "m, n"],
            ),
            (&["--trace", "trace.csv", "--config", "elsewhere.toml"], &["elsewhere.toml", "\"mine\"", "\"runpod-8b\""]),
            (&["--trace", "trace.csv", "--config", "today.toml", "--config", "today.toml"], &["twice"]),
            (
                &["--trace", "trace.csv", "--config", "today.toml", "--scenario", "quake"],
                &["\"quake\"", "all", "outage10m", "flap30s"],
            ),
            (
                &["--trace", "trace.csv", "--config", "today.toml", "--providers", "providers.toml"],
                &["providers.toml", "slo_ttft_ms"],
            ),
            (&["--trace", "trace.csv", "--config", "today.toml", "--scenarios", "nowhere.toml"], &["nowhere.toml"]),
            (&["--trace", "trace.csv", "--config", "today.toml", "--speed", "0"], &["--speed", "above 0"]),
            (&["--trace", "trace.csv", "--config", "today.toml", "--seeds", "0"], &["--seeds"]),
            (&["--trace", "trace.csv", "--config", "today.toml", "--share", "0.79..0.81"], &["79..81 rather than"]),
            (&["--trace", "trace.csv", "--config", "today.toml", "--share", "mine=1..2"], &["\"mine\"", "runpod-8b"]),
            (
                &["--trace", "trace.csv", "--config", "today.toml", "--max-cost-increase", "5"],
                &["compares two configurations"],
            ),
            (
                &["--trace", "trace.csv", "--config", "today.toml", "--json", "nowhere/results.json"],
                &["nowhere/results.json", "no folder nowhere"],
            ),
        ];
        for (arguments, said) in cases {
            let done = folder.simulate(arguments);
            assert_eq!(done.code, Some(2), "{arguments:?}: {done:?}");
            assert_eq!(done.stdout, "", "{arguments:?}");
            assert!(!done.stderr.contains("runs and"), "{arguments:?}: {}", done.stderr);
            for words in said {
                assert!(done.stderr.contains(words), "{arguments:?}, {words}: {}", done.stderr);
            }
        }
    }

    #[test]
    fn the_same_arguments_give_the_same_bytes() {
        let folder = Folder::new("same");
        let run = || {
            let files = ["--json", "results.json", "--report", "report.html"];
            let done = folder.compare(&[&files[..], &["--scenario", "all", "--baselines"]].concat());
            assert_eq!(done.code, Some(0), "{done:?}");
            (done.stdout, folder.read("results.json"), folder.read("report.html"))
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn the_json_holds_what_its_description_says() {
        let folder = Folder::new("json");
        let done = folder.compare(&["--scenario", "outage10m,steady", "--speed", "2", "--json", "results.json"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let results: Value = serde_json::from_str(&folder.read("results.json")).expect("JSON");
        assert_eq!(
            (&results["schema_version"], &results["trace"], &results["speed"]),
            (&1.into(), &"trace".into(), &2.0.into())
        );
        assert_eq!((&results["seeds"], &results["slo_ttft_s"]), (&2.into(), &2.0.into()));
        assert_eq!(results["configs"][1], serde_json::json!({"policy": "next.toml", "model": "m"}));
        assert_eq!(results["upstreams"], serde_json::json!(["runpod-8b", "cerebras-8b"]));
        assert!(results["changes"][0].as_str().expect("text").starts_with("In steady, next.toml"));
        assert_eq!(results["broken_gates"], serde_json::json!([]));
        let scenarios = results["scenarios"].as_array().expect("a list");
        let names: Vec<&Value> = scenarios.iter().map(|scenario| &scenario["scenario"]).collect();
        assert_eq!(names, ["steady", "outage10m"]);
        let bound = &scenarios[0]["bound"];
        for member in
            [&bound["slo_percent"], &bound["cheapest"]["usd_per_million"], &bound["within_share"]["share_percent"][1]]
        {
            assert!(member.is_f64(), "{bound}");
        }
        let next = &scenarios[0]["policies"][1];
        assert_eq!(next["policy"], "next.toml");
        let documented = [
            "requests",
            "ok_percent",
            "slo_percent",
            "ttft_p50",
            "ttft_p95",
            "ttft_p99",
            "ttft_p95_of_all",
            "end_p95",
            "usd_per_million",
            "waste_percent",
            "gpu_usd",
            "worker_starts",
            "rate_limited",
            "attempts_per_request",
        ];
        for name in documented {
            assert!(next[name]["mean"].is_f64() && next[name]["half_width"].is_f64(), "{name}: {next}");
        }
        for name in ["share_percent", "token_share_percent"] {
            assert!(next[name][1]["mean"].is_f64(), "{name}: {next}");
        }
        let page =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulation.md")).expect("a page");
        for name in next.as_object().expect("an object").keys().chain(results.as_object().expect("an object").keys()) {
            assert!(page.contains(&format!("`{name}`")), "docs/simulation.md says nothing of {name}");
        }
    }

    #[test]
    fn the_report_is_one_file_that_needs_no_other() {
        let folder = Folder::new("report");
        let done = folder.compare(&["--report", "report.html"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let page = folder.read("report.html");
        assert!(page.starts_with("<!doctype html>"));
        for words in ["today.toml", "next.toml", "In steady, next.toml costs", "<svg", "No router can"] {
            assert!(page.contains(words), "{words}");
        }
        for reference in ["http:", "https:", "src=", "href=", "url(", "<script", "<link", "@import"] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    #[test]
    fn scenarios_of_ones_own_run_beside_those_that_ship() {
        let folder = Folder::new("own");
        folder.write(
            "mine.toml",
            "[[scenarios]]\nname = \"quake\"\nfaults = [{ kind = \"cerebras\", fault = \"outage\" }]\n",
        );
        let done = folder.compare(&["--scenarios", "mine.toml"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        done.row("quake", "next.toml");
        assert!(!done.stdout.contains("/ steady:"), "the file's alone, unless others are named: {}", done.stdout);
        let both = folder.compare(&["--scenarios", "mine.toml", "--scenario", "quake,cb429"]);
        both.row("quake", "today.toml");
        both.row("cb429", "today.toml");
    }

    /// `--scenario all` means all that can be: what does not fit the providers is left out, and that is said.
    #[test]
    fn of_all_scenarios_those_that_do_not_fit_are_left_out() {
        let folder = Folder::new("fit");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/simulated-providers.toml");
        let shipped = fs::read_to_string(shipped).expect("a file");
        let runpod = shipped.rsplit_once("[[upstreams]]").expect("two upstreams").0;
        folder.write("runpod.toml", runpod);
        folder.write("alone.toml", &config("1.0", "0.2").replace(", { upstream = \"cerebras-8b\", share = 0.2 }", ""));
        let alone = |names| {
            folder.simulate(&[
                "--trace",
                "trace.csv",
                "--config",
                "alone.toml",
                "--providers",
                "runpod.toml",
                "--seeds",
                "1",
                "--scenario",
                names,
            ])
        };
        let all = alone("all");
        assert_eq!(all.code, Some(0), "{all:?}");
        all.row("steady", "alone.toml");
        assert!(
            all.stderr.contains("left out: scenario cb429: there is no simulated upstream \"cerebras\""),
            "{}",
            all.stderr
        );
        assert_eq!(alone("cb429").code, Some(2), "but it is an error where it was asked for");
    }

    #[test]
    fn baselines_need_no_configuration() {
        let folder = Folder::new("baselines");
        let done = folder.simulate(&["--trace", "trace.csv", "--baselines", "--seeds", "1"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        for policy in ["static shares + fallback", "Peak-EWMA", "all on cerebras-8b"] {
            done.row("steady", policy);
        }
    }

    #[test]
    fn a_signal_ends_it_at_once_and_leaves_no_file() {
        let folder = Folder::new("interrupt");
        let arguments =
            ["--trace", "trace.csv", "--baselines", "--scenario", "all", "--seeds", "1000", "--json", "results.json"];
        let mut running = folder.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
        // A shell starts what runs in the background with interrupts ignored, but not this signal.
        let kill = |id: u32| Command::new("kill").args(["-TERM", &id.to_string()]).status().expect("kill runs");
        std::thread::sleep(Duration::from_millis(300));
        assert!(running.try_wait().expect("its state").is_none(), "it has work for long");
        assert!(kill(running.id()).success());
        let status = running.wait().expect("its end");
        assert_eq!(status.code(), None, "it ends by the signal, not with its work");
        assert!(!folder.0.join("results.json").exists());
    }
}
