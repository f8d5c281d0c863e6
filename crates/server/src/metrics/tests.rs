//! The contract, its document, and what it costs.

use std::{fmt::Write, path::Path};

use super::{contract::ALL, *};

const DOCUMENT: &str = "../../docs/metrics.md";
const BEGIN: &str = "<!-- The table is written from crates/server/src/metrics/contract.rs: \
    UPDATE_DOCS=1 cargo test -p server the_document -->";

fn table_of_metrics() -> String {
    let mut out = String::from("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for metric in ALL {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let kind = metric.kind.as_str();
        writeln!(out, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help).expect("a String takes it");
    }
    out
}

/// A change of a name, a label or a help text must change this document too: dashboards and alerts of users depend on
/// it.
#[test]
fn the_document_says_what_is_published() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let text = std::fs::read_to_string(&path).expect("docs/metrics.md");
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the table");
    let after = rest.trim_start().lines().skip_while(|line| line.starts_with('|')).collect::<Vec<_>>().join("\n");
    let wanted = format!("{before}{BEGIN}\n\n{}{after}\n", table_of_metrics());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/metrics.md can be written");
    } else {
        assert!(
            text == wanted,
            "docs/metrics.md is not what the code says: UPDATE_DOCS=1 cargo test -p server the_document"
        );
    }
}

#[test]
fn every_metric_of_the_contract_is_registered() {
    let metrics = Metrics::new(Duration::from_mins(1)).expect("the metrics");
    let registered: Vec<String> = ALL.iter().map(|metric| metric.name.to_owned()).collect();
    for name in &registered {
        let taken = prometheus::IntGauge::new(name.as_str(), "help").expect("a gauge");
        let again = metrics.registry.register(Box::new(taken));
        assert!(again.is_err(), "{name} is not registered");
    }
}
