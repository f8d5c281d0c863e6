//! The binary as its users start it.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::TcpStream,
        path::Path,
        process::{Child, Command, Output, Stdio},
    };

    const BINARY: &str = env!("CARGO_BIN_EXE_llm-router");

    /// Ends the process with the test, whichever way that ends.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    fn check(file: &Path) -> Output {
        let arguments = ["check", "--without-secrets", "--config"];
        let mut command = Command::new(BINARY);
        command.args(arguments).arg(file).env_clear().env("RUNPOD_VLLM_ENDPOINT_ID", "endpoint");
        command.output().expect("the binary runs")
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn check_prints_every_problem_and_fails() {
        let file = std::env::temp_dir().join(format!("llm-router-check-{}.toml", std::process::id()));
        let broken = "[server]\ndrane_s = 1\n[[keys]]\nid = \"a\"\n[[upstreams]]\nid = \"b\"\nprovider = \"runpot\"\n";
        fs::write(&file, broken).expect("a file");
        let output = check(&file);
        drop(fs::remove_file(&file));
        assert_eq!(output.status.code(), Some(1));
        let report = text(&output.stderr);
        let said =
            ["server.drane_s", "did you mean \"drain_s\"?", "keys[0].team", "did you mean \"runpod\"?", "models"];
        for words in said {
            assert!(report.contains(words), "{words}: {report}");
        }
    }

    #[test]
    fn check_finds_no_fault_with_what_ships() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/reference.toml");
        let output = check(&config);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(said.contains("no problems (3 upstreams, 2 models, 1 key;"), "{said}");
        assert!(said.contains("\n  gpt-4o stands for llama-3.1-8b\n  claude-* stands for task/chat\n"), "{said}");
    }

    #[test]
    fn an_address_without_its_scheme_is_mended_in_words() {
        let output = Command::new(BINARY).args(["explain", "--model", "m", "--url", "127.0.0.1:8080"]).output();
        let said = text(&output.expect("the binary runs").stderr);
        assert!(said.contains("http://127.0.0.1:8080?"), "{said}");
    }

    #[test]
    fn an_access_log_that_cannot_be_opened_is_named() {
        let file = std::env::temp_dir().join(format!("llm-router-access-{}.toml", std::process::id()));
        let config = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[auth]\nmode = \"none\"\n\
                      [log]\naccess = \"/nowhere/access.log\"\n[[upstreams]]\nid = \"a\"\nprovider = \"openai\"\n\
                      base_url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\napi_key_env = \"KEY\"\n\
                      [[models]]\nname = \"m\"\nstrategy = \"weighted\"\ntargets = [{ upstream = \"a\" }]\n";
        fs::write(&file, config).expect("a file");
        let output = Command::new(BINARY).args(["serve", "--config"]).arg(&file).env("KEY", "k").output();
        drop(fs::remove_file(&file));
        let said = text(&output.expect("the binary runs").stderr);
        assert!(said.contains("/nowhere/access.log: No such file"), "{said}");
    }

    #[test]
    fn a_file_that_is_not_there_is_said() {
        let output = check(Path::new("nowhere.toml"));
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("nowhere.toml"), "{}", text(&output.stderr));
    }

    #[test]
    fn a_team_that_nothing_else_names_may_be_misspelt() {
        let folder = std::env::temp_dir().join(format!("llm-router-teams-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (file, database) = (folder.join("config.toml"), folder.join("ledger.db"));
        let config = format!(
            "[storage]\nurl = \"sqlite:{}\"\n[[upstreams]]\nid = \"a\"\nprovider = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
             model = \"m\"\napi_key_env = \"KEY\"\n[[models]]\nname = \"m\"\nstrategy = \"weighted\"\n\
             targets = [{{ upstream = \"a\" }}]\n[[teams]]\nid = \"search\"\n",
            database.display()
        );
        fs::write(&file, config).expect("a file");
        let create = |id: &str, team: &str| {
            let arguments = ["keys", "create", id, "--team", team, "--config"];
            let output = Command::new(BINARY).args(arguments).arg(&file).output().expect("the binary runs");
            assert!(output.status.success(), "{}", text(&output.stderr));
            text(&output.stderr).contains("is the name right?")
        };
        let said = [create("a", "search"), create("b", "serach"), create("c", "serach")];
        drop(fs::remove_dir_all(&folder));
        assert_eq!(said, [false, true, false]);
    }

    /// Starts the emulated providers with these settings.
    fn emulate(name: &str, settings: &str) -> Command {
        let file = std::env::temp_dir().join(format!("llm-router-{name}-{}.json", std::process::id()));
        fs::write(&file, settings).expect("a file");
        let mut command = Command::new(BINARY);
        command.args(["emulate", "--listen", "127.0.0.1:0", "--settings"]).arg(&file);
        command
    }

    #[test]
    fn emulated_providers_are_as_their_file_says() {
        let mut child = emulate("emulated", r#"{"cerebras": {"models": ["one-of-mine"]}}"#)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let _running = Running(child);
        assert!(lines.any(|line| line.contains("one-of-mine")));
    }

    #[test]
    fn a_setting_that_emulated_providers_do_not_have_is_named() {
        let output = emulate("unknown", r#"{"cerebras": {"modles": []}}"#).output().expect("the binary runs");
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains("llm-router-unknown-") && said.contains("`modles`"),
            "{said}"
        );
    }

    /// Sends a request with this key and returns all that comes back, headers included.
    fn send(address: &str, request_line: &str, key: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(address).expect("a connection");
        let request = format!(
            "{request_line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("answered");
        text(&answer)
    }

    /// Logged at the finest level, where a header or a body is most likely to appear.
    #[test]
    fn the_demo_answers_and_reveals_no_secret_anywhere() {
        const PROMPT: &str = "canary-in-the-prompt";
        const TOKEN: &str = "canary-of-the-operators";
        const WRONG: &str = "canary-that-nobody-knows";
        let log = std::env::temp_dir().join(format!("llm-router-log-{}", std::process::id()));
        let mut child = Command::new(BINARY)
            .args(["serve", "--demo", "--log-format", "json"])
            .env("LLM_ROUTER__SERVER__LISTEN", "127.0.0.1:0")
            .env("LLM_ROUTER__SERVER__ADMIN_LISTEN", "127.0.0.1:0")
            .env("LLM_ROUTER__LOG__LEVEL", "trace")
            .env("LLM_ROUTER_ADMIN_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let running = Running(child);
        let mut after = |mark: &str, end: &str| {
            let address = lines.find_map(|line| Some(line.split_once(mark)?.1.strip_suffix(end)?.to_owned()));
            address.expect("an address")
        };
        let (public, admin) = (after("listening on  http://", "/v1"), after("metrics       http://", "/metrics"));
        let ask = |stream: bool, model: &str, key: &str| {
            let body = format!(
                r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
            );
            send(&public, "POST /v1/chat/completions", key, &body)
        };
        let mut told = Vec::new();
        for stream in [false, true] {
            let answer = ask(stream, "llama-3.1-8b", "sk-demo");
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            told.push(answer.split_once("\r\n\r\n").expect("a head").0.to_owned());
            told.push(ask(stream, "no-such-model", "sk-demo"));
            told.push(ask(stream, "llama-3.1-8b", WRONG));
        }
        for (key, status) in [(TOKEN, 409), (WRONG, 401)] {
            let answer = send(&admin, "POST /admin/reload", key, "");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            told.push(answer);
        }
        told.push(send(&admin, "GET /metrics", TOKEN, ""));
        // One line for each request of somebody who is known, once it is written.
        told.extend(lines.filter(|line| line.starts_with('{')).take(4));
        drop(running);
        let process_log = text(&fs::read(&log).expect("a log"));
        drop(fs::remove_file(&log));
        assert!(process_log.lines().count() > 10, "there is something to look at: {process_log}");
        told.extend(process_log.lines().map(str::to_owned));
        for canary in [PROMPT, TOKEN, WRONG, "demo-upstream-key"] {
            let line = told.iter().find(|line| line.contains(canary));
            assert_eq!(line, None, "{canary} is told");
        }
        // The welcome prints the demo's key, and nothing else does.
        let key = told
            .iter()
            .filter(|line| line.contains("sk-demo") && !line.contains("curl") && !line.contains("Authorization"));
        assert_eq!(key.collect::<Vec<_>>(), Vec::<&String>::new());
    }

    /// Requests without a valid key do not fill the disk: the failures of one second share a line, and the access log has none.
    #[test]
    fn a_flood_of_wrong_keys_is_a_few_lines_of_log() {
        const FLOOD: usize = 300;
        let log = std::env::temp_dir().join(format!("llm-router-flood-{}", std::process::id()));
        let mut child = Command::new(BINARY)
            .args(["serve", "--demo", "--log-format", "json"])
            .env("LLM_ROUTER__SERVER__LISTEN", "127.0.0.1:0")
            .env("LLM_ROUTER__SERVER__ADMIN_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let running = Running(child);
        let address =
            lines.find_map(|line| Some(line.split_once("listening on  http://")?.1.strip_suffix("/v1")?.to_owned()));
        let address = address.expect("an address");
        for number in 0..FLOOD {
            let answer = send(&address, "POST /v1/chat/completions", &format!("guess-{number}"), "{}");
            assert!(
                answer.starts_with(if number < 30 { "HTTP/1.1 401" } else { "HTTP/1.1 429" }),
                "{number}: {answer}"
            );
        }
        // The one line of the access log that there is comes after the flood.
        send(&address, "POST /v1/chat/completions", "sk-demo", "{}");
        let line = lines.find(|line| line.starts_with('{')).expect("a line of the access log");
        assert!(line.contains("\"key\":"), "{line}");
        drop(running);
        let process_log = text(&fs::read(&log).expect("a log"));
        drop(fs::remove_file(&log));
        let refused: Vec<_> =
            process_log.lines().filter(|line| line.contains("its key or token is missing or unknown")).collect();
        assert!((1..FLOOD / 10).contains(&refused.len()), "{} lines", refused.len());
        assert!(refused.iter().all(|line| line.contains("\"peer\":\"127.0.0.1\"")), "{refused:?}");
        assert!(refused[0].contains("\"suppressed\":0"), "{}", refused[0]);
    }

    /// The demo, and the address that it serves on.
    fn serving(settings: &[(&str, &str)]) -> (Running, String) {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--demo"]);
        started(command, settings)
    }

    fn started(mut command: Command, settings: &[(&str, &str)]) -> (Running, String) {
        let mut child = command
            .envs(settings.iter().copied())
            .env("LLM_ROUTER__SERVER__LISTEN", "127.0.0.1:0")
            .env("LLM_ROUTER__SERVER__ADMIN_LISTEN", "127.0.0.1:0")
            .env("LLM_ROUTER__LOG__ACCESS", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        // The handle is kept: a process whose output has no reader ends.
        let output = BufReader::new(child.stdout.as_mut().expect("piped"));
        let address = output
            .lines()
            .map(|line| line.expect("text"))
            .find_map(|line| Some(line.split_once("listening on  http://")?.1.strip_suffix("/v1")?.to_owned()));
        (Running(child), address.expect("an address"))
    }

    fn send_signal(running: &Running, signal: &str) {
        let id = running.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if holds() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("waited in vain: {what}");
    }

    fn readiness(address: &str) -> String {
        send(address, "GET /readyz", "sk-demo", "")
    }

    #[test]
    fn a_first_sigterm_leaves_time_and_a_second_does_not() {
        let (mut running, address) =
            serving(&[("LLM_ROUTER__SERVER__DRAIN_S", "3600"), ("LLM_ROUTER__SERVER__GRACE_S", "3600")]);
        assert!(readiness(&address).starts_with("HTTP/1.1 200"));
        send_signal(&running, "-TERM");
        until("not ready", || readiness(&address).starts_with("HTTP/1.1 503"));
        let body = r#"{"model":"llama-3.1-8b","messages":[{"role":"user","content":"hello"}]}"#;
        assert!(send(&address, "POST /v1/chat/completions", "sk-demo", body).starts_with("HTTP/1.1 200"));
        assert!(running.0.try_wait().expect("its state").is_none(), "it waits for balancers");
        send_signal(&running, "-TERM");
        until("the end", || running.0.try_wait().expect("its state").is_some_and(|status| status.success()));
    }

    #[test]
    fn a_person_does_not_wait_for_balancers() {
        let (mut running, _address) =
            serving(&[("LLM_ROUTER__SERVER__DRAIN_S", "3600"), ("LLM_ROUTER__SERVER__GRACE_S", "3600")]);
        send_signal(&running, "-INT");
        until("the end", || running.0.try_wait().expect("its state").is_some_and(|status| status.success()));
    }

    /// Out of files, it takes no more connections, and takes them again when there are files.
    #[test]
    fn a_process_out_of_files_recovers() {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n 100; exec \"$0\" serve --demo", BINARY]);
        let (mut running, address) = started(limited, &[("LLM_ROUTER__SERVER__WORKERS", "1")]);
        // The listener is there before the threads that serve it.
        assert!(readiness(&address).starts_with("HTTP/1.1 200"));
        let held: Vec<_> = (0..200).map(|_| TcpStream::connect(&address).expect("the kernel takes it")).collect();
        assert!(running.0.try_wait().expect("its state").is_none());
        drop(held);
        until("it serves", || readiness(&address).starts_with("HTTP/1.1 200"));
    }

    /// Any client that can connect can send any number of requests that are not HTTP.
    #[test]
    fn garbage_does_not_fill_the_log() {
        let log = std::env::temp_dir().join(format!("llm-router-garbage-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" serve --demo 2> \"$1\"", BINARY, log.to_str().expect("UTF-8")]);
        let (running, address) = started(command, &[("LLM_ROUTER__LOG__LEVEL", "info")]);
        for garbage in ["GET / HTTP/1.1\r\nno colon\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
            for _ in 0..50 {
                let mut connection = TcpStream::connect(&address).expect("a connection");
                connection.write_all(garbage.as_bytes()).expect("sent");
                // However it ends.
                drop(connection.read_to_end(&mut Vec::new()));
            }
        }
        assert!(readiness(&address).starts_with("HTTP/1.1 200"));
        drop(running);
        let lines = fs::read_to_string(&log).expect("a log");
        drop(fs::remove_file(&log));
        assert!(lines.lines().count() < 20, "{lines}");
    }
}
