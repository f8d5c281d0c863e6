//! Finance's path: from a ledger to last month by team and by tag, charges as FOCUS has them, and a page for the lead of a team.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        process::{Command, Output},
        sync::Arc,
    };

    use ledger::{
        Attempt, AttemptKey, Durability, Entry, FILE_BYTES, GpuHour, HOUR_MS, JournalSettings, Labels, Ledger,
        LedgerSettings, Location, Progress, Request, RequestKey, Retention, Tokens, UsageSource,
    };

    const CONFIG: &str = r#"
[auth]
mode = "none"
[[tags]]
name = "feature"
[[tags]]
name = "env"
[[upstreams]]
id = "fast"
provider = "cerebras"
model = "llama3.1-8b"
cost = { kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }
[[upstreams]]
id = "pod"
provider = "runpod"
endpoint_id = "abc"
model = "llama"
cost = { kind = "gpu_seconds", usd_per_second = "0.00019", list_usd_per_million = "0.02" }
[[models]]
name = "llama"
strategy = "weighted"
targets = [{ upstream = "fast" }, { upstream = "pod" }]
"#;

    struct Ignored;

    impl Progress for Ignored {
        fn stored(&self, _: u64) {}
        fn not_written(&self, _: u64) {}
        fn store_failed(&self) {}
        fn waiting(&self, _: u64) {}
    }

    /// A folder with a configuration and a ledger, which is gone after the test.
    struct Books(PathBuf);

    impl Drop for Books {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    /// Noon of 15 October 2026.
    const AT_MS: i64 = 1_792_065_600_000;

    /// A served request of a team: a thousand tokens of a prompt and a thousand of an answer.
    fn served<'a>(
        number: u64,
        team: &'a str,
        tags: Option<&'a str>,
        (upstream, price): (&'a str, Option<&'a str>),
    ) -> [Entry<'a>; 2] {
        let labels = Labels {
            request_id: "r",
            team: Some(team),
            key: Some("k"),
            model: Some("llama"),
            route: "chat",
            tags,
            requested: None,
        };
        let key = AttemptKey { request: RequestKey { writer: 1, number }, attempt: 1 };
        let cost = price.map(|price| if price.starts_with(":100000") { 200_000 } else { 40_000 });
        let attempt = Attempt {
            key,
            ended_at_ms: AT_MS,
            labels,
            upstream,
            role: "primary",
            reason: "share",
            outcome: "served",
            usage_source: Some(UsageSource::Reported),
            tokens: Some(Tokens { prompt: 1_000, cached: None, completion: 1_000, reasoning: None }),
            cost_nano_usd: cost,
            price_version: price,
            upstream_call: None,
            first_token_us: None,
            duration_us: 1,
        };
        let request = Request {
            key: key.request,
            ended_at_ms: AT_MS,
            labels,
            is_stream: false,
            strategy: Some("weighted"),
            reason: Some("share"),
            outcome: "served",
            error: "",
            attempts: 1,
            upstream: Some(upstream),
            first_token_us: None,
            duration_us: 1,
            baselines: vec![("all:fast", 200_000)],
            config_version: "v1",
        };
        [Entry::Attempt(attempt), Entry::Request(request)]
    }

    impl Books {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("llm-router-books-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&folder));
            fs::create_dir_all(&folder).expect("a folder");
            let database = folder.join("ledger.db");
            let storage = format!("[storage]\nurl = \"sqlite:{}\"\n", database.display());
            fs::write(folder.join("config.toml"), format!("{storage}{CONFIG}")).expect("a file");
            let journal = JournalSettings {
                folder: folder.join("ledger.db-journals"),
                durability: Durability::Process,
                max_bytes: 1 << 30,
                file_bytes: FILE_BYTES,
            };
            let settings = LedgerSettings {
                location: Location::Sqlite(database),
                journal,
                retention: Retention::default(),
                clock: || 0,
            };
            let ledger = Ledger::open(&settings, 1, Arc::new(Ignored)).expect("a ledger");
            let fast = ("fast", Some(":100000,100000,100000,100000"));
            let pod = ("pod", Some(":20000,20000,20000,20000"));
            for entries in [
                served(1, "search", Some("env=prod,feature=find"), fast),
                served(2, "search", Some("env=prod,feature=find"), pod),
                served(3, "search", None, fast),
                served(4, "ads", Some("env=test,feature=rank"), fast),
                served(5, "ads", Some("env=test,feature=rank"), ("gone", None)),
            ] {
                drop(ledger.append(&entries));
            }
            // In an hour its workers cost $0.0019 for the one call to it; in the next one, nobody counted them.
            let hour = GpuHour {
                hour: AT_MS / HOUR_MS,
                upstream: "pod",
                writer: 1,
                observed_ms: 3_600_000,
                start_ms: 0,
                busy_ms: 8_000,
                idle_ms: 2_000,
                starts: 0,
                cost_nano_usd: 1_900_000,
                pico_usd_per_second: 190_000_000,
            };
            drop(ledger.append(&[Entry::GpuHour(hour)]));
            let later = served(6, "ads", None, pod).map(|entry| match entry {
                Entry::Attempt(row) => Entry::Attempt(Attempt { ended_at_ms: AT_MS + HOUR_MS, ..row }),
                entry => entry,
            });
            drop(ledger.append(&later));
            ledger.close();
            Self(folder)
        }

        /// What a command says of October.
        fn ask(&self, arguments: &[&str]) -> Output {
            let mut command = Command::new(env!("CARGO_BIN_EXE_llm-router"));
            command.args(arguments).args(["--month", "2026-10", "--config", "config.toml"]);
            command.current_dir(&self.0).env_clear().output().expect("the binary runs")
        }

        fn answer(&self, arguments: &[&str]) -> String {
            let output = self.ask(arguments);
            assert!(output.status.success(), "{}", text(&output.stderr));
            text(&output.stdout)
        }

        fn refusal(&self, arguments: &[&str]) -> String {
            let output = self.ask(arguments);
            assert!(!output.status.success() && output.stdout.is_empty(), "{}", text(&output.stdout));
            text(&output.stderr)
        }

        fn file(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).expect(name)
        }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn last_month_is_told_by_team_and_by_tag() {
        let books = Books::new("spend");
        let cost = |answer: &str| -> Vec<(String, String)> {
            let mut lines = answer.lines().map(|line| line.split(',').collect::<Vec<_>>());
            let at =
                lines.next().and_then(|header| header.iter().position(|name| *name == "cost_usd")).expect("a cost");
            lines.map(|line| (line[0].to_owned(), line[at].to_owned())).collect()
        };
        let row = |label: &str, usd: &str| (label.to_owned(), usd.to_owned());
        let by_team = books.answer(&["spend", "--by", "team", "--format", "csv"]);
        assert_eq!(cost(&by_team), [row("search", "0.000440000"), row("ads", "0.000240000")]);
        let by_feature = books.answer(&["spend", "--by", "tag:feature", "--format", "csv"]);
        let expected = [row("", "0.000240000"), row("find", "0.000240000"), row("rank", "0.000200000")];
        assert_eq!(cost(&by_feature), expected);
        let prod = books.answer(&["spend", "--by", "tag:feature", "--tag", "env=prod", "--format", "csv"]);
        assert_eq!(cost(&prod), [row("find", "0.000240000")]);
        assert!(books.answer(&["spend", "--by", "tag:feature,team"]).contains("(none)       search"));
        let json = books.answer(&["spend", "--by", "tag:feature", "--team", "ads", "--format", "json"]);
        assert!(json.contains(r#""tag:feature": "rank""#) && json.contains(r#""unpriced_calls": 1"#), "{json}");
        assert!(books.answer(&["spend", "--by", "team", "--format", "csv", "--out", "team.csv"]).is_empty());
        assert_eq!(books.file("team.csv"), by_team);

        let savings = books.answer(&["savings", "--by", "tag:feature", "--format", "csv"]);
        assert!(savings.contains("find,all:fast,2,0,0,0.000400000,0.000240000,0.000160000,40.0"), "{savings}");
        let page = books.answer(&["showback", "--team", "search", "--format", "markdown"]);
        assert!(page.contains("## By tag") && page.contains("| feature | find | 2 | 2 |"), "{page}");
    }

    #[test]
    fn charges_are_in_one_file_and_what_has_no_cost_yet_in_another() {
        let books = Books::new("focus");
        let output = books.ask(&["spend", "--format", "focus", "--out", "october.csv"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let notes = text(&output.stderr);
        assert!(notes.contains("upstream \"gone\" is not in the configuration any more"), "{notes}");
        assert!(notes.contains("calls without a price: 1, without known GPU seconds: 1)"), "{notes}");
        let charges = books.file("october.csv");
        assert_eq!(charges.lines().count(), 1 + 3 * 2 + 1, "tokens in and out of three calls, and seconds: {charges}");
        assert!(charges.contains(r#","{""env"":""prod"",""feature"":""find""}","#), "{charges}");
        let of_runpod: Vec<_> = charges.lines().filter(|line| line.contains("RunPod")).collect();
        assert_eq!(of_runpod.len(), 1, "its invoice has no tokens: {charges}");
        assert!(of_runpod[0].starts_with("0.0019,runpod,") && of_runpod[0].contains(",10,Seconds,"), "{charges}");
        assert!(of_runpod[0].ends_with(",1,0.00004,2000,k,llama,,"), "what was used for it: {charges}");
        let unpriced = books.file("october.unpriced.csv");
        let lines: Vec<_> = unpriced.lines().collect();
        assert_eq!(lines.len(), 3, "{unpriced}");
        assert!(lines.iter().any(|line| line.ends_with(",1,2000,,no_price")), "{unpriced}");
        assert!(lines.iter().any(|line| line.ends_with(",1,2000,0.000040000,gpu_seconds_unknown")), "{unpriced}");

        let refused = books.refusal(&["spend", "--format", "focus", "--team", "ads", "--tag", "env=test"]);
        assert!(refused.contains("give --unpriced FILE for them, or --out FILE"), "{refused}");
        for (arguments, says) in [
            (&["spend", "--format", "focus", "--by", "team"][..], "leave out --by"),
            (&["spend", "--unpriced", "x.csv"], "is for --format focus"),
            (&["spend", "--by", "feature"], "or tag:NAME, such as tag:feature"),
            (&["spend", "--tag", "env"], "a tag, such as env=prod"),
            (&["savings", "--by", "upstream"], "one of team, key, model, route, day, or tag:NAME"),
            (&["spend", "--out", "nowhere/x.csv"], "there is no folder nowhere"),
        ] {
            let said = books.refusal(arguments);
            assert!(said.contains(says), "{arguments:?}: {said}");
        }
    }
}
