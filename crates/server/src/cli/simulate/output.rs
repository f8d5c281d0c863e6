//! What is printed and written: a table, JSON, and files.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, bail};
use serde::Serialize;
use simulator::Results;

use super::{gates::BrokenGate, inputs::Inputs};

/// The form of [`Document`], raised when a member is renamed, removed or gets another meaning.
const SCHEMA_VERSION: u32 = 1;

/// What `--json` writes; docs/simulation.md describes it.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema_version: u32,
    /// How much faster the trace was replayed.
    speed: f64,
    /// The configurations, as they were given.
    configs: Vec<Configuration<'a>>,
    /// What each configuration after the first changes against it, in a sentence.
    changes: &'a [String],
    /// The demands that were not met.
    broken_gates: &'a [BrokenGate],
    #[serde(flatten)]
    results: &'a Results,
}

#[derive(Serialize)]
struct Configuration<'a> {
    /// Its name among the policies.
    policy: &'a str,
    /// The model whose targets got the requests.
    model: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn new(
        inputs: &'a Inputs,
        speed: f64,
        results: &'a Results,
        changes: &'a [String],
        broken_gates: &'a [BrokenGate],
    ) -> Self {
        let configs =
            inputs.configs.iter().map(|evaluated| Configuration { policy: &evaluated.name, model: &evaluated.model });
        Self { schema_version: SCHEMA_VERSION, speed, configs: configs.collect(), changes, broken_gates, results }
    }

    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The table and what a reader has to know of it.
pub(super) fn shown(table: &str, results: &Results, changes: &[String]) -> String {
    let mut text = table.to_owned();
    let runs = if results.seeds == 1 {
        "One run each, which says nothing of chance: --seeds takes more.".to_owned()
    } else {
        format!("Means of {} runs; ± is half a confidence interval of 95 %.", results.seeds)
    };
    let _ = write!(
        text,
        "\nSLO %: of all requests, answered with a first token within {} s; \"of limit\": of what no router can pass.\n{runs} \
         Times in seconds. Simulated providers: this ranks policies, it predicts no bill.",
        results.slo_ttft_s
    );
    for change in changes {
        let _ = write!(text, "\n\n{change}");
    }
    text
}

/// Fails where a file could not be written, before the work is done.
pub(in crate::cli) fn check_target(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("cannot write {}: there is no folder {}", file.display(), folder.display());
    }
    if file.is_dir() {
        bail!("cannot write {}: it is a folder", file.display());
    }
    Ok(())
}

pub(in crate::cli) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
