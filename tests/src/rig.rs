//! A server and an emulator, wired to each other.

use std::{path::PathBuf, time::Duration};

use emulator::{CallLog, Emulator, Face, Settings};
use server::Running;
use settings::Config;

use crate::{Client, Samples, eventually};

/// The key that clients send.
pub const CLIENT_KEY: &str = "sk-test-client";
/// The key that the router sends to upstreams.
pub const UPSTREAM_KEY: &str = "upstream-secret-key";

/// The configuration that ships with the project.
const DEMO: &str = include_str!("../../config/demo.toml");

/// What every test's server has in common, unless [`Launch::env`] says otherwise.
const OVERRIDES: [(&str, &str); 9] = [
    ("LLM_ROUTER__SERVER__LISTEN", "127.0.0.1:0"),
    ("LLM_ROUTER__SERVER__ADMIN_LISTEN", "127.0.0.1:0"),
    ("LLM_ROUTER__SERVER__WORKERS", "2"),
    ("LLM_ROUTER__SERVER__GRACE_S", "0"),
    ("LLM_ROUTER__LOG__LEVEL", "off"),
    ("LLM_ROUTER__LOG__ACCESS", "off"),
    ("CLIENT_KEY", CLIENT_KEY),
    ("UPSTREAM_KEY", UPSTREAM_KEY),
    ("DEMO_UPSTREAM_KEY", UPSTREAM_KEY),
];

/// What to start.
pub struct Launch {
    settings: Settings,
    text: String,
    env: Vec<(String, String)>,
    watched: Option<PathBuf>,
}

impl Launch {
    /// An emulator with `settings` and a server with the configuration `text`.
    ///
    /// `${EMULATOR}` is the emulator's address, `UPSTREAM_KEY` a variable with a key for it. Without a `[[keys]]` there is
    /// one key that may take all of the router's room, [`CLIENT_KEY`].
    pub fn new(settings: Settings, text: &str) -> Self {
        let mut text = text.to_owned();
        if !text.contains("[[keys]]") {
            text.push_str(
                "\n[[keys]]\nid = \"test\"\nteam = \"test\"\nenv = \"CLIENT_KEY\"\nlimits = { concurrent = 1000000 }\n",
            );
        }
        Self { settings, text, env: Vec::new(), watched: None }
    }

    /// A further variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has the server follow this file.
    #[must_use]
    pub fn watched(mut self, path: impl Into<PathBuf>) -> Self {
        self.watched = Some(path.into());
        self
    }

    /// Starts both.
    pub fn start(self) -> Rig {
        let emulator = Emulator::start(self.settings.clone()).expect("the emulator starts");
        self.start_with(emulator)
    }

    /// Starts the server in front of an emulator that is there already.
    pub fn start_with(self, emulator: Emulator) -> Rig {
        let config = self.config(&emulator.url());
        let running = Running::start(&config, self.watched).expect("the server starts");
        let client = Client::new(&format!("http://{}", running.addr()), CLIENT_KEY);
        let admin = Client::new(&format!("http://{}", running.admin_addr()), CLIENT_KEY);
        Rig { emulator, running: Some(running), client, admin }
    }

    /// The configuration, in front of the emulator at this address.
    pub fn config(&self, emulator: &str) -> Config {
        let env = |name: &str| {
            if matches!(name, "EMULATOR" | "EMULATOR_URL") {
                return Some(emulator.to_owned());
            }
            let own = self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let common = || OVERRIDES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            own.or_else(common).map(str::to_owned)
        };
        settings::parse(&self.text, "test.toml", &env).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

/// A running server in front of a running emulator; both stop when dropped.
pub struct Rig {
    /// Plays the providers.
    pub emulator: Emulator,
    running: Option<Running>,
    /// A client of the public listener with a valid key.
    pub client: Client,
    /// A client of the admin listener.
    pub admin: Client,
}

impl Rig {
    /// A rig with this configuration, see [`Launch::new`].
    pub fn start(settings: Settings, text: &str) -> Self {
        Launch::new(settings, text).start()
    }

    /// The demo as it ships, on free ports.
    pub fn demo(settings: Settings) -> Self {
        Launch::new(settings, DEMO).env("DEMO_KEY", CLIENT_KEY).start()
    }

    /// The server.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the server was taken away")
    }

    /// Takes the server out, to wait for its end.
    pub fn take_running(&mut self) -> Running {
        self.running.take().expect("the server was taken away")
    }

    /// The calls that one face of the emulator has received.
    pub fn call_log(&self, face: Face) -> CallLog {
        self.emulator.call_logs().of(face).clone()
    }

    /// The metrics at this moment.
    pub async fn metrics(&self) -> Samples {
        Samples::parse(&self.admin.get("/metrics").await.text)
    }

    /// Waits until the breaker of an upstream is closed (0), half-open (1) or open (2).
    pub async fn until_breaker(&self, upstream: &str, state: f64) {
        eventually(&format!("breaker of {upstream} at {state}"), async || {
            let now = self.metrics().await.value("llmrouter_breaker_state", &[("upstream", upstream)]);
            ((now - state).abs() < 0.1).then_some(())
        })
        .await;
    }

    /// Waits until nothing is under way anywhere.
    pub async fn until_idle(&self) {
        eventually("nothing is in flight", async || {
            let ours = self.metrics().await.value("llmrouter_inflight_requests", &[]);
            let logs = self.emulator.call_logs();
            let theirs = logs.runpod_lb.in_flight + logs.runpod_queue.in_flight + logs.cerebras.in_flight;
            (ours < 0.5 && theirs == 0).then_some(())
        })
        .await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop_now();
        let ended = running.join();
        // A second panic would hide the first one.
        if !std::thread::panicking() {
            ended.expect("the server ends in order");
        }
    }
}

/// A time that no healthy request needs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
