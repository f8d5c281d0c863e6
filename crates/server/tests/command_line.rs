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
        assert!(
            text(&output.stdout).contains("no problems (3 upstreams, 2 models, 1 key;"),
            "{}",
            text(&output.stdout)
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_said() {
        let output = check(Path::new("nowhere.toml"));
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("nowhere.toml"), "{}", text(&output.stderr));
    }

    /// The finest log is where a header or a body would slip out.
    #[test]
    fn the_demo_answers_and_its_log_keeps_secrets() {
        const PROMPT: &str = "canary-in-the-prompt";
        let log = std::env::temp_dir().join(format!("llm-router-log-{}", std::process::id()));
        let mut child = Command::new(BINARY)
            .args(["serve", "--demo"])
            .env("LLM_ROUTER__SERVER__LISTEN", "127.0.0.1:0")
            .env("LLM_ROUTER__SERVER__ADMIN_LISTEN", "127.0.0.1:0")
            .env("LLM_ROUTER__LOG__LEVEL", "trace")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let running = Running(child);
        let address = lines.find_map(|line| {
            let line = line.expect("text");
            Some(line.split_once("listening on  http://")?.1.strip_suffix("/v1")?.to_owned())
        });
        let address = address.expect("an address");
        for stream in [false, true] {
            let body = format!(
                r#"{{"model":"llama-3.1-8b","stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
            );
            let mut connection = TcpStream::connect(&address).expect("a connection");
            let request = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(request.as_bytes()).expect("sent");
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).expect("answered");
            assert!(text(&answer).starts_with("HTTP/1.1 200 OK"), "{}", text(&answer));
        }
        drop(running);
        let told = text(&fs::read(&log).expect("a log"));
        drop(fs::remove_file(&log));
        assert!(told.lines().count() > 10, "there is something to look at: {told}");
        for canary in [PROMPT, "sk-demo", "demo-upstream-key"] {
            let line = told.lines().find(|line| line.contains(canary));
            assert_eq!(line, None, "{canary} is in the log");
        }
    }
}
