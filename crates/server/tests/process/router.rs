//! A router in a process of its own, in front of a first upstream and an emulated one that serves when that fails.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::Duration,
};

use emulator::{Emulator, Settings};

/// A key without limits, and one that may ask once a minute.
pub(crate) const KEY: &str = "sk-without-limits";
pub(crate) const SLOW_KEY: &str = "sk-once-a-minute";
/// Sent to upstreams.
pub(crate) const UPSTREAM_KEY: &str = "upstream-secret-key";

const CHAT: &str = r#"{"model":"llama","messages":[{"role":"user","content":"canary"}]}"#;

/// The process; it ends when dropped.
pub(crate) struct Router {
    pub(crate) public: String,
    pub(crate) admin: String,
    child: Child,
    folder: PathBuf,
    _emulator: Emulator,
}

/// A folder that no other test has.
pub(crate) fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("llm-router-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn configuration(first: &str, emulator: &Emulator) -> String {
    let upstream = |id: &str, provider: &str, url: &str, model: &str| {
        format!(
            "[[upstreams]]\nid = \"{id}\"\nprovider = \"{provider}\"\nbase_url = \"{url}\"\napi_key_env = \"UPSTREAM_KEY\"\n\
             model = \"{model}\"\n"
        )
    };
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nworkers = 2\n\
         [log]\nlevel = \"off\"\naccess = \"off\"\n\
         [[keys]]\nid = \"free\"\nteam = \"free\"\nenv = \"KEY\"\n\
         [[keys]]\nid = \"slow\"\nteam = \"slow\"\nenv = \"SLOW_KEY\"\nlimits = {{ requests_per_minute = 1 }}\n\
         {}{}\
         [[models]]\nname = \"llama\"\nstrategy = \"weighted\"\n\
         targets = [{{ upstream = \"first\", share = 1.0 }}, {{ upstream = \"second\", share = 0.0 }}]\n\
         [[models]]\nname = \"only-first\"\nstrategy = \"weighted\"\ntargets = [{{ upstream = \"first\" }}]\ndeadline_ms = 1500\n",
        upstream("first", "openai", first, "m"),
        upstream("second", "cerebras", &emulator.cerebras_base(), "llama3.1-8b"),
    )
}

impl Router {
    /// Starts it with the first upstream at this URL, in this environment, after this line of shell.
    pub(crate) fn start(first: &str, environment: &[(&str, &str)], before: &str) -> Self {
        let emulator = Emulator::start(Settings::instant()).unwrap();
        let folder = folder();
        let file = folder.join("router.toml");
        fs::write(&file, configuration(first, &emulator)).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{before}\nexec \"$0\" serve --config \"$1\""), env!("CARGO_BIN_EXE_llm-router")])
            .arg(&file)
            .envs([("KEY", KEY), ("SLOW_KEY", SLOW_KEY), ("UPSTREAM_KEY", UPSTREAM_KEY)])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses: Vec<_> = line.split("http://").skip(1).filter_map(|rest| rest.split('/').next()).collect();
        let [public, admin] = addresses[..] else { panic!("no addresses: {line}") };
        let (public, admin) = (public.to_owned(), admin.to_owned());
        Self { public, admin, child, folder, _emulator: emulator }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks for a chat and reads the whole answer; empty if none came.
    pub(crate) fn chat(&self, key: &str) -> String {
        exchange(&self.public, &request("POST /v1/chat/completions", key, CHAT))
    }

    /// The same of the first upstream alone.
    pub(crate) fn chat_with_the_first(&self) -> String {
        exchange(&self.public, &request("POST /v1/chat/completions", KEY, &CHAT.replace("llama", "only-first")))
    }

    pub(crate) fn metrics(&self) -> String {
        exchange(&self.admin, &request("GET /metrics", "", ""))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

pub(crate) fn request(line: &str, key: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends and reads until the router closes.
pub(crate) fn exchange(address: &str, request: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    drop(stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

pub(crate) fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let mut lines = answer.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

/// Waits for something to come true; fails after a time that no healthy run needs.
pub(crate) fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = holds() {
            return found;
        }
        sleep(Duration::from_millis(100));
    }
    panic!("waited in vain: {what}")
}
