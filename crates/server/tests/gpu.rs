//! What workers cost, as finance asks for it: `gpu`, `spend`, `savings` and `reconcile` over a ledger whose figures are known.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        process::{Command, Output, Stdio},
        sync::Arc,
    };

    use emulator::{Billed, Emulator, ManagementSettings, Settings};
    use ledger::{
        Attempt, AttemptKey, Durability, Entry, FILE_BYTES, GpuHour, HOUR_MS, JournalSettings, Labels, Ledger,
        LedgerSettings, Location, Progress, Request, RequestKey, Retention, Tokens, UsageSource,
    };

    const BINARY: &str = env!("CARGO_BIN_EXE_llm-router");
    const KEY: &str = "rpa_canary";
    /// 2026-10-05, 10:00 UTC.
    const TEN: i64 = 497_554;
    const CONFIG: &str = r#"
[auth]
mode = "none"

[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_id = "ep1"
model = "m"
cost = { kind = "gpu_seconds", usd_per_second = "0.00019", list_usd_per_million = "0.02" }

[[upstreams]]
id = "cerebras"
provider = "cerebras"
model = "m"
cost = { kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }

[[models]]
name = "m"
strategy = "balanced"
baseline = "cerebras"
targets = [{ upstream = "runpod", share = 0.8 }, { upstream = "cerebras", share = 0.2 }]
"#;

    struct Nobody;

    impl Progress for Nobody {
        fn stored(&self, _: u64) {}
        fn not_written(&self, _: u64) {}
        fn store_failed(&self) {}
        fn waiting(&self, _: u64) {}
    }

    /// A ledger and a configuration that names it; both are gone after the test.
    struct Books(PathBuf);

    impl Books {
        /// At ten, a worker ran for 100 s, and two calls of 300,000 and 100,000 tokens took 10 s each; at eleven it ran for 10 s
        /// without a call; at twelve a call came and nobody counted the workers.
        fn new(name: &str) -> Self {
            Self::with(name, &[TEN, TEN + 1])
        }

        /// The same, with workers on record in these of the hours alone.
        fn with(name: &str, hours: &[i64]) -> Self {
            let books = Self(std::env::temp_dir().join(format!("llm-router-gpu-{name}-{}", std::process::id())));
            drop(fs::remove_dir_all(&books.0));
            fs::create_dir_all(&books.0).expect("a folder");
            let database = books.0.join("ledger.db");
            let config = format!("{CONFIG}\n[storage]\nurl = \"sqlite:{}\"\n", database.display());
            fs::write(books.0.join("config.toml"), config).expect("written");
            let ledger = books.open();
            let at_ten = GpuHour {
                hour: TEN,
                upstream: "runpod",
                writer: 7,
                observed_ms: 3_600_000,
                start_ms: 30_000,
                busy_ms: 60_000,
                idle_ms: 10_000,
                starts: 1,
                cost_nano_usd: 19_095_000,
                pico_usd_per_second: 190_000_000,
            };
            let at_eleven =
                GpuHour { hour: TEN + 1, start_ms: 0, busy_ms: 0, starts: 0, cost_nano_usd: 1_900_000, ..at_ten };
            for hour in [at_ten, at_eleven].into_iter().filter(|row| hours.contains(&row.hour)) {
                drop(ledger.append(&[Entry::GpuHour(hour)]));
            }
            for (number, team, upstream, hour, tokens) in [
                (1, "search", "runpod", TEN, 300_000),
                (2, "ads", "runpod", TEN, 100_000),
                (3, "search", "cerebras", TEN, 100_000),
                (4, "ads", "runpod", TEN + 2, 50_000),
            ] {
                drop(ledger.append(&answer(number, team, upstream, hour, tokens)));
            }
            drop(ledger.append(&[Entry::Attempt(left(5))]));
            ledger.close();
            books
        }

        fn open(&self) -> Ledger {
            let journal = JournalSettings {
                folder: self.0.join("journals"),
                durability: Durability::Process,
                max_bytes: 1 << 30,
                file_bytes: FILE_BYTES,
            };
            let location = Location::Sqlite(self.0.join("ledger.db"));
            let settings = LedgerSettings { location, journal, retention: Retention::default(), clock: || 0 };
            Ledger::open(&settings, 7, Arc::new(Nobody)).expect("a ledger")
        }

        fn file(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::write(&path, text).expect("written");
            path.display().to_string()
        }

        fn output(&self, arguments: &[&str]) -> Output {
            let mut command = Command::new(BINARY);
            command.args(arguments);
            if !arguments.contains(&"--ledger") {
                command.arg("--config").arg(self.0.join("config.toml"));
            }
            command.env_clear().env("RUNPOD_API_KEY", KEY).stdin(Stdio::null());
            command.output().expect("the binary runs")
        }

        /// What a run says that ends with this code.
        fn run(&self, code: i32, arguments: &[&str]) -> String {
            let arguments: Vec<_> = arguments.iter().copied().chain(["--month", "2026-10"]).collect();
            let output = self.output(&arguments);
            let (said, complaint) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(code), "{said}{complaint}");
            assert!(!said.contains(KEY) && !complaint.contains(KEY), "{said}{complaint}");
            if code == 0 { said } else { said + &complaint }
        }
    }

    impl Drop for Books {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn key(number: u64) -> RequestKey {
        RequestKey { writer: 7, number }
    }

    fn attempt<'a>(number: u64, team: &'a str, upstream: &'a str, hour: i64, tokens: u64) -> Attempt<'a> {
        let nano_a_token = if upstream == "runpod" { 20 } else { 100 };
        Attempt {
            key: AttemptKey { request: key(number), attempt: 1 },
            ended_at_ms: hour * HOUR_MS + 1_000,
            labels: Labels {
                request_id: "r",
                team: Some(team),
                key: Some("k"),
                model: Some("m"),
                route: "chat",
                tags: None,
                requested: None,
            },
            upstream,
            role: "primary",
            reason: "share",
            outcome: "served",
            usage_source: Some(UsageSource::Reported),
            tokens: Some(Tokens { prompt: tokens, cached: Some(tokens / 10), completion: 0, reasoning: None }),
            cost_nano_usd: Some(tokens * nano_a_token),
            price_version: None,
            upstream_call: None,
            first_token_us: None,
            duration_us: 10_000_000,
        }
    }

    /// A call to Cerebras that timed out, and may have been billed.
    fn left(number: u64) -> Attempt<'static> {
        Attempt {
            outcome: "timeout_gap",
            usage_source: Some(UsageSource::Estimated),
            ..attempt(number, "search", "cerebras", TEN, 10_000)
        }
    }

    /// A call that served, and its request.
    fn answer<'a>(number: u64, team: &'a str, upstream: &'a str, hour: i64, tokens: u64) -> [Entry<'a>; 2] {
        let attempt = attempt(number, team, upstream, hour, tokens);
        let request = Request {
            key: key(number),
            ended_at_ms: attempt.ended_at_ms,
            labels: attempt.labels,
            is_stream: false,
            strategy: None,
            reason: None,
            outcome: "served",
            error: "",
            attempts: 1,
            upstream: Some(upstream),
            first_token_us: None,
            duration_us: attempt.duration_us,
            baselines: vec![
                ("configured", tokens * 100),
                ("split", tokens * 36),
                ("all:runpod", tokens * 20),
                ("all:cerebras", tokens * 100),
            ],
            config_version: "v",
        };
        [Entry::Attempt(attempt), Entry::Request(request)]
    }

    /// These columns of CSV.
    fn columns(csv: &str, names: &[&str]) -> Vec<String> {
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().expect("a header");
        let at = |name: &&str| header.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name}: {csv}"));
        let at: Vec<_> = names.iter().map(at).collect();
        lines.map(|line| at.iter().map(|nth| line[*nth]).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn hours_and_days_of_workers_and_what_their_tokens_cost() {
        let books = Books::new("hours");
        let hours = books.run(0, &["gpu", "--by", "hour", "--format", "csv"]);
        assert_eq!(
            hours.lines().collect::<Vec<_>>(),
            [
                "hour,upstream,observed_s,unobserved_s,start_s,busy_s,idle_s,starts,gpu_cost_usd,without_calls_usd,calls,tokens,\
                 utilisation_percent,average_usd_per_million,marginal_usd_per_million",
                "2026-10-05T10,runpod,3600,0,30,60,10,1,0.019095000,0.000000000,2,400000,60.0,0.047737500,0.028642500",
                "2026-10-05T11,runpod,3600,0,0,0,10,0,0.001900000,0.001900000,0,0,0.0,,",
            ]
        );
        let day =
            columns(&books.run(0, &["gpu", "--format", "csv"]), &["day", "unobserved_s", "gpu_cost_usd", "tokens"]);
        assert_eq!(day, ["2026-10-05 0 0.020995000 400000"]);
        let total: serde_json::Value =
            serde_json::from_str(&books.run(0, &["gpu", "--by", "total", "--format", "json"])).expect("JSON");
        assert_eq!(total["rows"][0]["average_usd_per_million"], "0.052487500");
        assert!(books.run(0, &["gpu"]).contains("2026-10-05  runpod"));
        assert!(books.run(0, &["gpu", "--upstream", "cerebras"]).contains("no rows"));
    }

    #[test]
    fn spend_has_shares_of_workers_beside_list_prices() {
        let books = Books::new("spend");
        let csv = books.run(0, &["spend", "--by", "team", "--format", "csv"]);
        let names = ["team", "cost_usd", "gpu_cost_usd", "billed_usd", "gpu_unshared_calls", "billed_known_usd"];
        assert_eq!(
            columns(&csv, &names),
            [
                "search 0.017000000 0.011934375 0.022934375 0 0.022934375",
                // The call at twelve is in the list cost alone, so that what was billed is unknown.
                "ads 0.003000000 0.007160625  1 0.007160625",
                // The worker that ran for nobody at eleven.
                " 0.000000000 0.001900000 0.001900000 0 0.001900000",
            ]
        );
        let by_upstream = books.run(0, &["spend", "--by", "day,upstream", "--format", "csv"]);
        assert_eq!(
            columns(&by_upstream, &["upstream", "gpu_cost_usd", "billed_usd"]),
            ["cerebras  0.011000000", "runpod 0.020995000 "],
            "what is unknown is empty"
        );
        let table = books.run(0, &["spend", "--by", "team"]);
        let total = table.lines().last().expect("a total").split_whitespace().collect::<Vec<_>>();
        assert_eq!(total[total.len() - 3..], ["0.020995000", "1", "0.031995000"], "no billed_usd: {table}");
    }

    #[test]
    fn savings_as_billed_take_what_tokens_did_cost() {
        let books = Books::new("savings");
        let csv = books.run(0, &["savings", "--by", "team", "--format", "csv"]);
        let names = ["team", "policy", "billed_usd", "baseline_billed_usd", "billed_saved_usd", "baseline_is_estimate"];
        let rows = columns(&csv, &names);
        // 20,995,000 nano-dollars for a list cost of 8,000,000; the call without a share counts at that as well.
        let ads = [
            "ads all:cerebras 0.009785000 0.015000000 0.005215000 no",
            "ads all:runpod 0.009785000 0.007873125 -0.001911875 yes",
            "ads configured 0.009785000 0.015000000 0.005215000 no",
            "ads split 0.009785000 0.009298500 -0.000486500 yes",
        ];
        assert_eq!(rows[4..8], ads, "{csv}");
        assert_eq!(rows[8], " all:cerebras 0.001900000 0.000000000 -0.001900000 no", "workers of nobody");
    }

    #[test]
    fn what_nobody_knows_is_empty_and_not_zero() {
        let names = ["policy", "billed_usd", "baseline_billed_usd", "billed_saved_usd"];
        let savings = ["savings", "--by", "route", "--format", "csv"];
        // Workers were never counted: neither what RunPod's calls cost is known nor what others would have.
        let books = Books::with("never", &[]);
        let rows = columns(&books.run(0, &savings), &names);
        assert_eq!(rows, ["all:cerebras  0.055000000 ", "all:runpod   ", "configured  0.055000000 ", "split   "]);
        let spend = books.run(0, &["spend", "--by", "upstream", "--format", "csv"]);
        let costs = columns(&spend, &["upstream", "gpu_cost_usd", "billed_usd", "gpu_unshared_calls"]);
        assert_eq!(costs, ["cerebras  0.011000000 0", "runpod   3"]);
        let gpu = books.output(&["gpu", "--month", "2026-10"]);
        assert!(text(&gpu.stderr).contains("no workers are on record: routers with a ledger count"), "{gpu:?}");

        // Without the configuration nobody knows which upstreams these policies are.
        let books = Books::new("no-config");
        let ledger = books.0.join("ledger.db").display().to_string();
        let rows = columns(&books.run(0, &[&savings[..], &["--ledger", &ledger]].concat()), &names);
        let known =
            ["all:cerebras 0.032719375 0.055000000 0.022280625", "all:runpod 0.032719375 0.028868125 -0.003851250"];
        assert_eq!(rows[..2], known);
        assert_eq!(rows[2..4], ["configured 0.032719375  ", "split 0.032719375  "]);
    }

    /// At ten and, without calls, at eleven, the workers were counted for five minutes, and at twelve, the router knew nothing of them.
    #[test]
    fn the_cost_of_an_hour_that_was_not_observed_is_in_no_report() {
        let books = Books::with("part", &[]);
        let five_minutes = GpuHour {
            hour: TEN,
            upstream: "runpod",
            writer: 7,
            observed_ms: 300_000,
            start_ms: 0,
            busy_ms: 10_000,
            idle_ms: 0,
            starts: 0,
            cost_nano_usd: 1_900_000,
            pico_usd_per_second: 190_000_000,
        };
        let nothing = GpuHour { hour: TEN + 2, observed_ms: 0, busy_ms: 0, cost_nano_usd: 0, ..five_minutes };
        let ledger = books.open();
        let without_calls = GpuHour { hour: TEN + 1, ..five_minutes };
        drop(ledger.append(&[five_minutes, without_calls, nothing].map(Entry::GpuHour)));
        ledger.close();
        let gpu = books.run(0, &["gpu", "--by", "hour", "--format", "csv"]);
        let hours = ["300 3300 0.001900000", "300 3300 0.001900000", " 3600 "];
        assert_eq!(columns(&gpu, &["observed_s", "unobserved_s", "gpu_cost_usd"]), hours);
        let spend = books.run(0, &["spend", "--by", "upstream", "--format", "csv"]);
        let costs = columns(&spend, &["upstream", "gpu_cost_usd", "billed_usd", "gpu_unshared_calls"]);
        assert_eq!(costs, ["cerebras  0.011000000 0", "runpod   3"]);
        let savings = books.run(0, &["savings", "--by", "route", "--format", "csv"]);
        let rows = columns(&savings, &["policy", "billed_usd", "baseline_billed_usd"]);
        assert_eq!(rows[..4], ["all:cerebras  0.055000000", "all:runpod  ", "configured  0.055000000", "split  "]);
        assert_eq!(rows[4], "all:cerebras  0.000000000", "what workers of nobody cost is unknown");
        let out = books.file("focus.csv", "");
        books.run(0, &["spend", "--format", "focus", "--out", &out]);
        let charges = fs::read_to_string(&out).expect("a file");
        assert!(!charges.contains("GPU time"), "{charges}");
        let note = "in 2 hours workers were counted for less than 95 % of the time";
        let bill = books.file("bill.csv", "endpoint,day,amount\nep1,2026-10-05,0.021\n");
        for report in [
            &["gpu"][..],
            &["spend"],
            &["savings"],
            &["spend", "--format", "focus", "--out", &out],
            &["reconcile", "--bill", &bill],
        ] {
            let said = books.output(&[report, &["--month", "2026-10"]].concat());
            assert!(text(&said.stderr).contains(note), "{report:?}: {said:?}");
        }
        assert!(books.run(0, &["spend", "--format", "json"]).contains(note));
        let unpriced = fs::read_to_string(books.0.join("focus.unpriced.csv")).expect("a file");
        let unpriced = columns(&unpriced, &["team", "calls", "reason"]);
        assert_eq!(
            unpriced[2..],
            [" 0 gpu_seconds_unknown", "ads 2 gpu_seconds_unknown", "search 1 gpu_seconds_unknown"]
        );
    }

    /// It billed tokens, and from some moment within an hour on, workers.
    #[test]
    fn each_call_is_billed_as_its_price_says() {
        let books = Books::with("switch", &[]);
        let config = fs::read_to_string(books.0.join("config.toml")).expect("a file");
        let by_second =
            "cost = { kind = \"gpu_seconds\", usd_per_second = \"0.00019\", list_usd_per_million = \"0.02\" }";
        let by_token =
            "cost = { kind = \"tokens\", input_usd_per_million = \"0.10\", output_usd_per_million = \"0.10\" }";
        let both = format!("{by_token}\nprices = [{{ from = \"2026-10-05\", {by_second} }}]");
        books.file("config.toml", &config.replacen(by_second, &both, 1));
        fs::remove_file(books.0.join("ledger.db")).expect("an empty ledger");
        let ledger = books.open();
        let workers = GpuHour {
            hour: TEN,
            upstream: "runpod",
            writer: 7,
            observed_ms: 3_600_000,
            start_ms: 0,
            busy_ms: 100_000,
            idle_ms: 0,
            starts: 0,
            cost_nano_usd: 19_000_000,
            pico_usd_per_second: 190_000_000,
        };
        drop(ledger.append(&[Entry::GpuHour(workers)]));
        let versions = [":100000,100000,100000,100000", "2026-10-05:20000,20000,20000,20000"];
        for (number, team, tokens, nano_usd) in [(1, "ads", 100_000, 10_000_000), (2, "search", 300_000, 6_000_000)] {
            let [Entry::Attempt(attempt), request] = answer(number, team, "runpod", TEN, tokens) else { panic!() };
            let price_version = Some(versions[usize::from(team == "search")]);
            let attempt = Attempt { price_version, cost_nano_usd: Some(nano_usd), ..attempt };
            drop(ledger.append(&[Entry::Attempt(attempt), request]));
        }
        ledger.close();
        let spend = books.run(0, &["spend", "--by", "team", "--format", "csv"]);
        let costs = columns(&spend, &["team", "gpu_cost_usd", "billed_usd", "gpu_unshared_calls"]);
        assert_eq!(costs, ["ads  0.010000000 0", "search 0.019000000 0.019000000 0"]);
        let savings = books.run(0, &["savings", "--by", "route", "--format", "csv"]);
        let all_runpod =
            &columns(&savings, &["policy", "billed_usd", "baseline_billed_usd", "baseline_is_estimate"])[1];
        assert_eq!(all_runpod, "all:runpod 0.029000000 0.014500000 yes", "8 of 16 million nano-dollars at list prices");
        let bill = books.file("bill.csv", "endpoint,day,amount\nep1,2026-10-05,0.029\n");
        let reconciled = books.run(0, &["reconcile", "--bill", &bill, "--format", "csv"]);
        assert_eq!(columns(&reconciled, &COLUMNS), ["ep1 runpod 0.029000000 0.029000000 ok"]);
        let focus = books.run(0, &["spend", "--format", "focus"]);
        let charges = columns(&focus, &["SkuMeter", "BilledCost"]);
        assert_eq!(
            charges,
            ["Input tokens 0.009", "Cached input tokens 0.001", "GPU time 0.019"],
            "nothing is unpriced"
        );
    }

    /// Two routers that know nothing of each other.
    #[test]
    fn workers_that_were_counted_twice_are_named_in_every_report() {
        let books = Books::new("routers");
        let ledger = books.open();
        let other = GpuHour {
            hour: TEN,
            upstream: "runpod",
            writer: 8,
            observed_ms: 120_000,
            start_ms: 0,
            busy_ms: 0,
            idle_ms: 0,
            starts: 0,
            cost_nano_usd: 0,
            pico_usd_per_second: 190_000_000,
        };
        drop(ledger.append(&[Entry::GpuHour(other)]));
        ledger.close();
        for report in ["gpu", "spend", "savings"] {
            let said = books.output(&[report, "--month", "2026-10"]);
            assert!(text(&said.stderr).contains("in 1 hours several routers counted the same workers"), "{said:?}");
        }
    }

    /// Of a hundred seconds the last half costs twice as much.
    #[test]
    fn seconds_are_those_of_workers_whatever_they_cost_before() {
        let books = Books::new("price");
        let ledger = books.open();
        let dearer = GpuHour {
            hour: TEN + 2,
            upstream: "runpod",
            writer: 7,
            observed_ms: 3_600_000,
            start_ms: 0,
            busy_ms: 100_000,
            idle_ms: 0,
            starts: 0,
            cost_nano_usd: 28_500_000,
            pico_usd_per_second: 380_000_000,
        };
        drop(ledger.append(&[Entry::GpuHour(dearer)]));
        ledger.close();
        let out = books.file("focus.csv", "");
        books.run(0, &["spend", "--format", "focus", "--out", &out]);
        let charges = fs::read_to_string(&out).expect("a file");
        let names = ["SubAccountId", "ConsumedQuantity", "ListUnitPrice", "BilledCost"];
        let expected = [
            " 10 0.00019 0.0019",
            // A hundred seconds and half a one for the start, 62.5 % and 37.5 % of them.
            "ads 37.6875 0.00019 0.007160625",
            "ads 100 0.00038 0.0285",
            "search 62.8125 0.00019 0.011934375",
        ];
        assert_eq!(columns(&charges, &names), expected);
    }

    /// A day without a router between two with one.
    #[test]
    fn a_day_that_nobody_observed_is_shown_as_unknown() {
        let books = Books::with("gap", &[TEN]);
        let later = GpuHour {
            hour: TEN + 48,
            upstream: "runpod",
            writer: 8,
            observed_ms: 3_600_000,
            start_ms: 0,
            busy_ms: 0,
            idle_ms: 0,
            starts: 0,
            cost_nano_usd: 0,
            pico_usd_per_second: 190_000_000,
        };
        let ledger = books.open();
        drop(ledger.append(&[Entry::GpuHour(later)]));
        ledger.close();
        let csv = books.run(0, &["gpu", "--format", "csv"]);
        let names = ["day", "observed_s", "unobserved_s", "gpu_cost_usd"];
        let days = ["2026-10-05 3600 46800 0.019095000", "2026-10-06  86400 ", "2026-10-07 3600 36000 0.000000000"];
        assert_eq!(columns(&csv, &names), days, "from the first hour on record to the last one");
        let spend = books.output(&["spend", "--month", "2026-10"]);
        assert!(text(&spend.stderr).contains("workers were not counted: runpod for 47.0 h"), "{spend:?}");
    }

    #[test]
    fn two_upstreams_of_an_endpoint_count_the_same_workers() {
        let books = Books::new("twice");
        let config = fs::read_to_string(books.0.join("config.toml")).expect("a file");
        let second = "[[upstreams]]\nid = \"runpod-2\"\nprovider = \"runpod\"\nendpoint_id = \"ep1\"\nmodel = \"m\"\n\
                      cost = { kind = \"gpu_seconds\", usd_per_second = \"0.00019\" }\n";
        books.file("config.toml", &format!("{config}{second}"));
        let ledger = books.open();
        let same = GpuHour {
            hour: TEN,
            upstream: "runpod-2",
            writer: 7,
            observed_ms: 3_600_000,
            start_ms: 0,
            busy_ms: 0,
            idle_ms: 100_000,
            starts: 0,
            cost_nano_usd: 19_000_000,
            pico_usd_per_second: 190_000_000,
        };
        drop(ledger.append(&[Entry::GpuHour(same)]));
        ledger.close();
        let bill = books.file("bill.csv", "endpoint,day,amount\nep1,2026-10-05,0.021\n");
        let said = books.run(0, &["reconcile", "--bill", &bill, "--format", "csv"]);
        assert_eq!(columns(&said, &COLUMNS), ["ep1 runpod runpod-2 0.021000000 0.020995000 ok"]);
        assert!(said.contains("several upstreams have this endpoint"), "{said}");
    }

    const BILL: &str = r#"{"records": [
        {"serverlessId": "ep1", "startTime": "2026-10-05T00:00:00Z", "totalAmount": 0.0215, "gpuAmount": 0.021},
        {"serverlessId": "cerebras", "startTime": "2026-10-05T00:00:00Z", "totalAmount": 0.0109}]}"#;
    const COLUMNS: [&str; 5] = ["endpoint", "upstream", "billed_usd", "recorded_usd", "status"];

    #[test]
    fn a_bill_within_the_tolerance_is_reconciled_in_every_form() {
        let books = Books::new("bill");
        let json = books.file("bill.json", BILL);
        let csv = "endpoint,day,totalAmount,gpuAmount\nep1,2026-10-05,0.0215,0.021\ncerebras,2026-10-05,0.0109,\n";
        let csv = books.file("bill.csv", csv);
        for bill in [json, csv] {
            let said = books.run(0, &["reconcile", "--bill", &bill, "--format", "csv"]);
            let expected = ["cerebras cerebras 0.010900000 0.011000000 ok", "ep1 runpod 0.021000000 0.020995000 ok"];
            assert_eq!(columns(&said, &COLUMNS), expected, "{said}");
            for explains in [
                "workers not counted for 79200 s (about $0.230945000)",
                "1 starts, rounded up by $0.000095000",
                "$0.000500000 for disks and fees",
                "$0.001000000 estimated, because usage was not reported",
                "1 calls that timed out or were left",
                "cached tokens",
            ] {
                assert!(said.contains(explains), "{explains}: {said}");
            }
        }
    }

    #[test]
    fn what_differs_or_is_unknown_ends_with_an_error() {
        let books = Books::new("differs");
        let bill = books.file("bill.json", BILL);
        let strict = ["reconcile", "--bill", &bill, "--tolerance-percent", "0.5", "--format", "csv"];
        let said = books.run(1, &strict);
        assert!(said.contains("0.010900000,0.011000000,-0.000100000,-0.9") && said.contains(",differs,"), "{said}");

        let text = "endpoint,day,amount\nep1,2026-10-05,0.021\nep1,2026-10-06,0.5\nnobody,2026-10-05,3\n";
        let bill = books.file("bill.csv", text);
        let said = books.run(1, &["reconcile", "--bill", &bill, "--format", "json"]);
        let rows: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let status: Vec<_> = rows["rows"].as_array().expect("rows").iter().map(|row| &row["status"]).collect();
        assert_eq!(status, ["ok", "unknown endpoint", "not on record"], "{said}");
        assert!(rows["rows"][1]["recorded_usd"].is_null(), "unknown is not zero");
        let unseen = &rows["rows"][2];
        assert_eq!(unseen["difference_usd"], unseen["billed_usd"], "nothing of it is on record");
        assert!(unseen["explanation"].as_str().is_some_and(|text| text.contains("did the router run")), "{unseen}");

        let text = "endpoint,day,amount\nep1,2026-10-05,0.021\nold,2026-10-05,0.021\n";
        let bill = books.file("bill.csv", text);
        books.run(0, &["reconcile", "--bill", &bill, "--endpoint", "old=runpod"]);
        books.run(0, &["reconcile", "--bill", &bill, "--ignore-unknown"]);
    }

    #[test]
    fn a_day_that_only_the_ledger_has_is_shown() {
        let books = Books::new("unbilled");
        let bill = books.file("bill.csv", "endpoint,day,amount\nep1,2026-10-06,0\n");
        let said = books.run(1, &["reconcile", "--bill", &bill, "--format", "csv"]);
        assert_eq!(columns(&said.replace("note:", ""), &COLUMNS)[0], "ep1 runpod  0.020995000 not in the bill");
    }

    #[test]
    fn a_bill_of_other_days_is_not_reconciled_with_nothing() {
        let books = Books::new("other-days");
        let bill = books.file("bill.csv", "endpoint,day,amount\nep1,2026-08-01,3\nep1,2026-08-03,1\n");
        let complaint = books.run(1, &["reconcile", "--bill", &bill]);
        assert!(complaint.contains("the bill is of 2026-08-01 to 2026-08-03"), "{complaint}");
    }

    #[test]
    fn garbage_is_no_bill() {
        let books = Books::new("garbage");
        for (garbage, says) in
            [("", "it is empty"), ("hello", "no column for the endpoint"), ("[{}]", "record 1: no field")]
        {
            let bill = books.file("garbage", garbage);
            let complaint = books.run(1, &["reconcile", "--bill", &bill]);
            assert!(complaint.contains("garbage is no bill: ") && complaint.contains(says), "{complaint}");
        }
        assert!(books.run(1, &["reconcile", "--bill", "/no/such/file"]).contains("cannot be read"));
    }

    #[test]
    fn runpods_bill_is_fetched() {
        let books = Books::new("fetch");
        let billed = |endpoint: &str, day: &str, gpu_usd| Billed {
            endpoint: endpoint.to_owned(),
            day: day.to_owned(),
            gpu_usd,
            disk_usd: 0.000_5,
        };
        let billing = vec![billed("ep1", "2026-10-05", 0.021), billed("ep1", "2026-11-01", 9.0)];
        let management = ManagementSettings { api_key: Some(KEY.to_owned()), billing };
        let emulator = Emulator::start(Settings { management, ..Settings::instant() }).expect("an emulator");
        let api = emulator.management_base();
        let said = books.run(0, &["reconcile", "--fetch", "--api", &api, "--format", "csv"]);
        assert_eq!(columns(&said, &COLUMNS), ["ep1 runpod 0.021000000 0.020995000 ok"]);
        let calls = emulator.call_logs().management;
        assert_eq!((calls.len(), calls[0].path.as_str()), (1, "/v2/billing/serverless"));
    }
}
