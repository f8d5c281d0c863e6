//! Decision logs as the router writes them: one line of JSON for each request, after a first line with the format's
//! version.
//!
//! A log may end amid a line, because its disk was full or its process was killed. Lines that cannot be read are left
//! out and counted, and the count is reported with the figures.

use serde::Deserialize;

use crate::time::from_seconds;
use crate::trace::{Arrival, Trace, TraceError};

/// The version of the lines that are read here.
const FORMAT: u64 = 1;

/// The requests of a decision log, in order of their arrivals.
#[derive(Debug, Clone, Default)]
pub struct DecisionLog {
    pub(crate) records: Vec<Record>,
    /// Lines that could not be read.
    pub unreadable: usize,
}

/// Why a decision log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DecisionLogError {
    /// It was written by another version of the router.
    #[error("the decision log is of format {0}; this program reads format {FORMAT}")]
    Format(u64),
    /// No line of it is one of a decision log.
    #[error(
        "this is no decision log: that has lines of JSON, the first of them {{\"format\":{FORMAT},…}}, as a router writes them \
         to decisions.log_folder"
    )]
    NoLog,
    /// No line of it is the record of a request.
    #[error("the decision log has no request in it")]
    Empty,
    /// No request asks for this model.
    #[error("no request in the decision log asks for {wanted:?}; they ask for {known}")]
    NoModel {
        /// The model.
        wanted: String,
        /// Those that are there.
        known: String,
    },
}

/// A line of the log.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Head { format: u64 },
    Record(Box<Record>),
}

/// What is read of a request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Record {
    /// When it came, in seconds since 1970.
    pub(crate) ts: f64,
    #[serde(default)]
    pub(crate) stream: bool,
    pub(crate) decision: Decision,
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Decision {
    pub(crate) model: String,
    pub(crate) estimated_prompt_tokens: u64,
    pub(crate) expected_completion_tokens: f64,
    #[serde(default)]
    pub(crate) candidates: Vec<Candidate>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) upstream: String,
    pub(crate) provider: String,
    pub(crate) share: f64,
    pub(crate) ready_workers: Option<u32>,
    pub(crate) queued: Option<u32>,
    pub(crate) in_flight: u32,
    pub(crate) price: Option<Price>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Price {
    pub(crate) input_usd_per_million: f64,
    pub(crate) output_usd_per_million: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) upstream: String,
    pub(crate) role: String,
    pub(crate) start_ms: f64,
    pub(crate) outcome: String,
    pub(crate) first_token_ms: Option<f64>,
    pub(crate) duration_ms: f64,
    pub(crate) usage_source: Option<String>,
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
}

impl DecisionLog {
    /// Whether a text looks like a decision log rather than like a table.
    pub fn is_one(text: &str) -> bool {
        text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
    }

    /// Reads the lines of one or several logs, one after the other.
    pub fn parse(text: &str) -> Result<Self, DecisionLogError> {
        let (mut log, mut has_head) = (Self::default(), false);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str(line.trim_start_matches('\u{feff}')) {
                Ok(Line::Head { format: FORMAT }) => has_head = true,
                Ok(Line::Head { format }) => return Err(DecisionLogError::Format(format)),
                Ok(Line::Record(record)) if record.ts.is_finite() => log.records.push(*record),
                Ok(Line::Record(_)) | Err(_) => log.unreadable += 1,
            }
        }
        log.records.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        match log.records.as_slice() {
            [] if has_head => Err(DecisionLogError::Empty),
            [] => Err(DecisionLogError::NoLog),
            [_, ..] => Ok(log),
        }
    }

    /// The requests of both.
    pub fn merge(&mut self, other: Self) {
        self.records.extend(other.records);
        self.records.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        self.unreadable += other.unreadable;
    }

    /// The requests alone that ask for `model`.
    pub fn of_model(mut self, model: &str) -> Result<Self, DecisionLogError> {
        let mut known: Vec<&str> = self.records.iter().map(|record| record.decision.model.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        if !known.contains(&model) {
            return Err(DecisionLogError::NoModel { wanted: model.to_owned(), known: known.join(", ") });
        }
        self.records.retain(|record| record.decision.model == model);
        Ok(self)
    }

    /// When requests came and how long they were, as a trace.
    pub fn trace(&self, name: &str) -> Result<Trace, TraceError> {
        let first = self.records.first().map_or(0.0, |record| record.ts);
        Trace::new(name, self.records.iter().map(|record| record.arrival(first)).collect())
    }
}

impl Record {
    /// The request, counted from the moment `first`. Of one that was not served to its end, the answer has its
    /// expected length: a failure cuts an answer off, not the demand for it.
    fn arrival(&self, first: f64) -> Arrival {
        let counted = self.attempts.iter().rev().find(|attempt| attempt.is_counted());
        let prompt = counted.and_then(|attempt| attempt.prompt_tokens);
        let completion = counted.filter(|attempt| attempt.is_served()).and_then(|attempt| attempt.completion_tokens);
        Arrival {
            at: from_seconds(self.ts - first),
            prompt_tokens: tokens(prompt.unwrap_or(self.decision.estimated_prompt_tokens)),
            completion_tokens: completion.map_or_else(|| rounded(self.decision.expected_completion_tokens), tokens),
        }
    }
}

impl Attempt {
    /// Whether the answer was complete.
    pub(crate) fn is_served(&self) -> bool {
        self.outcome == "served"
    }

    /// Whether its upstream counted the tokens.
    pub(crate) fn is_counted(&self) -> bool {
        self.usage_source.as_deref() == Some("reported")
    }
}

fn tokens(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
fn rounded(count: f64) -> u32 {
    count.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    const HEAD: &str = r#"{"format":1,"started_ts":1.0,"config_version":"5f0c2a91"}"#;

    fn line(ts: f64, model: &str, attempts: &str) -> String {
        format!(
            r#"{{"ts":{ts},"request_id":"r","decision":{{"model":"{model}","estimated_prompt_tokens":90,
            "expected_completion_tokens":40.4,"candidates":[]}},"attempts":[{attempts}]}}"#
        )
        .replace('\n', "")
    }

    fn attempt(outcome: &str, source: &str) -> String {
        format!(
            r#"{{"upstream":"a","role":"primary","start_ms":0.1,"outcome":"{outcome}","duration_ms":5.0,
            "usage_source":"{source}","prompt_tokens":100,"completion_tokens":7}}"#
        )
    }

    fn arrivals(text: &str) -> Vec<(u64, u32, u32)> {
        let trace = DecisionLog::parse(text).expect("a log").trace("t").expect("a trace");
        trace.arrivals().iter().map(|it| (it.at, it.prompt_tokens, it.completion_tokens)).collect()
    }

    #[test]
    fn a_log_is_a_trace_by_what_was_counted_and_else_by_what_was_thought() {
        let lines = [
            HEAD.to_owned(),
            line(1002.0, "m", &attempt("served", "reported")),
            line(1000.0, "m", &attempt("unavailable", "estimated")),
            line(1001.5, "m", ""),
            line(1003.0, "m", &attempt("client_gone", "reported")),
            line(1004.0, "m", &attempt("served", "estimated")),
        ];
        let expected =
            [(0, 90, 40), (3 * SECOND / 2, 90, 40), (2 * SECOND, 100, 7), (3 * SECOND, 100, 40), (4 * SECOND, 90, 40)];
        assert_eq!(arrivals(&lines.join("\n")), expected);
    }

    #[test]
    fn logs_that_follow_each_other_are_one_and_a_line_that_was_cut_off_is_left_out() {
        let served = line(5.0, "m", &attempt("served", "reported"));
        let text = format!("{HEAD}\n{served}\n{}\n{HEAD}\n{served}\n", &served[..40]);
        let log = DecisionLog::parse(&text).expect("a log");
        assert_eq!((log.records.len(), log.unreadable), (2, 1));
    }

    #[test]
    fn what_is_no_log_of_ours_says_why() {
        let error = |text: &str| DecisionLog::parse(text).expect_err("no log").to_string();
        assert!(error(r#"{"format":2}"#).contains("format 2; this program reads format 1"));
        assert!(error(HEAD).contains("no request in it"));
        for other in ["# A service\n\nThat answers.", "t_s,input_tokens,output_tokens\n0,1,1", "{\"id\":1}", ""] {
            assert!(error(other).starts_with("this is no decision log"), "{other}: {}", error(other));
        }
        let log = DecisionLog::parse(&line(1.0, "llama", "")).expect("a log");
        let error = log.of_model("lama").expect_err("no such model").to_string();
        assert!(error.contains("\"lama\"") && error.contains("they ask for llama"), "{error}");
    }
}
