//! `serve --demo`: the whole service with emulated providers, without keys, network or set-up.

use emulator::{Emulator, Settings};
use settings::{Config, Env, Problems};

/// The configuration that ships with the project.
const DEMO: &str = include_str!("../../../config/demo.toml");
/// What the demo's client sends.
pub(crate) const DEMO_KEY: &str = "sk-demo";

/// The demo's configuration against a running emulator. `env` may override the scalar sections.
pub(crate) fn config(emulator: &Emulator, env: Env<'_>) -> Result<Config, Problems> {
    let url = emulator.url();
    let with_demo = |name: &str| match name {
        "EMULATOR_URL" => Some(url.clone()),
        "DEMO_KEY" => Some(DEMO_KEY.to_owned()),
        "DEMO_UPSTREAM_KEY" => Some("demo-upstream-key".to_owned()),
        other => env(other),
    };
    settings::parse(DEMO, "config/demo.toml", &with_demo)
}

/// Starts the providers.
pub(crate) fn emulator() -> std::io::Result<Emulator> {
    Emulator::start(Settings::demo())
}

/// What to do next, for someone who has just started the demo.
pub(crate) fn welcome(listen: std::net::SocketAddr, admin: std::net::SocketAddr, config: &Config) -> String {
    let model = config.models.first().map_or("", |model| model.name.as_str());
    format!(
        "llm-router demo: emulated RunPod and Cerebras, nothing leaves this machine, prices are illustrative

  listening on  http://{listen}/v1
  demo key      {DEMO_KEY}
  metrics       http://{admin}/metrics

Try it:

  curl -i http://{listen}/v1/chat/completions \\
    -H 'Authorization: Bearer {DEMO_KEY}' -H 'Content-Type: application/json' \\
    -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello!\"}}]}}'

Add \"stream\": true for a stream (and -N to curl). The headers x-llm-router-provider and -reason say who answered and why.
Stop with Ctrl-C. Each call leaves a line below.
"
    )
}
