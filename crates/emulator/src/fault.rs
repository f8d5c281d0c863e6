//! Faults that can be set, and which requests they apply to.
//!
//! A rule holds a fault and says for how many requests or for which share of them. A face holds a list of rules; the
//! first that applies to a request decides. Rules apply to inference requests; probes (`models`, `ping`, `health`,
//! `workers`) are spared, so that they do not use up a count, unless the rule asks for them or takes down the whole
//! connection for everyone.

mod odd;

pub use odd::{End, Headers, OddStream, OddWhole, Refusal, Scripted};
use serde::{Deserialize, Serialize};

/// Something that goes wrong. The name in the control API is the variant's in snake case, under `kind`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Nothing goes wrong.
    #[default]
    None,
    /// The connection is closed in order before any byte of an answer. One listener serves all faces, so the kernel has
    /// accepted it by then; for a refused connection see [`crate::Emulator::refusing_base`].
    Refuse,
    /// The request is read, then the connection is reset without a byte.
    ResetBefore,
    /// The connection is closed amid the response head.
    CutHead,
    /// No answer ever comes.
    HangBefore,
    /// The stream stalls, as does a whole answer after its first half.
    HangAmid {
        /// Events sent before it.
        #[serde(default = "two")]
        after_events: usize,
    },
    /// The connection is reset amid the stream.
    ResetAmid {
        /// Events sent before it.
        #[serde(default = "two")]
        after_events: usize,
    },
    /// The stream ends in order, but without a finish reason, usage or `[DONE]`.
    EndAmid {
        /// Events sent before it.
        #[serde(default = "two")]
        after_events: usize,
    },
    /// One event is not JSON; a whole answer is a web page.
    Garbage {
        /// Events sent before it.
        #[serde(default = "two")]
        after_events: usize,
    },
    /// The answer holds multi-byte characters and every one of them is split across two writes.
    SplitUtf8,
    /// One event, or the whole answer, is not valid UTF-8.
    InvalidUtf8 {
        /// Events sent before it.
        #[serde(default = "two")]
        after_events: usize,
    },
    /// Events come several to a write.
    Merged,
    /// Every event comes in three writes.
    Split,
    /// HTTP 200 with an error for a body.
    OkWithErrorBody {
        /// What the body looks like.
        #[serde(default)]
        shape: ErrorShape,
    },
    /// A failed job as a queue endpoint reports it.
    FailedJob {
        /// The status the server inside the worker gave.
        #[serde(default = "internal")]
        inner_status: u16,
    },
    /// An error event amid the stream, then `[DONE]`; a whole answer fails with 500.
    ErrorEvent {
        /// Events sent before it.
        #[serde(default = "two")]
        after_events: usize,
    },
    /// An answer with this status; 520 to 527 carry a proxy's web page.
    Status {
        /// The status.
        code: u16,
        /// Seconds for a `Retry-After` header.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// 429, as though a quota were used up.
    RateLimited {
        /// Which quota.
        #[serde(default)]
        which: Limit,
        /// Seconds for a `Retry-After` header.
        #[serde(default)]
        retry_after_s: Option<u64>,
        /// Seconds for the reset header of the quota.
        #[serde(default)]
        reset_s: Option<f64>,
    },
    /// Everything takes this many times longer.
    Brownout {
        /// How many times.
        factor: f64,
    },
    /// All workers are scaled down at this moment and take this long to start, until the face is reset.
    Cold {
        /// Seconds a start takes.
        start_s: f64,
    },
    /// No worker is ever ready: requests wait, and the worker counts show throttled ones only.
    Throttled,
    /// An error whose `code` is a number.
    IntegerCode {
        /// The status and the code.
        #[serde(default = "unavailable")]
        code: u16,
    },
    /// HTTP 200 without a body.
    #[serde(rename = "empty_200")]
    Empty200,
    /// Any answer at all, written out in the order.
    Scripted(Scripted),
    /// A stream that is odd. It comes as fast as it can be written, whatever the model's pace.
    OddStream(OddStream),
    /// A whole answer that is odd.
    OddWhole(OddWhole),
    /// The refusal of one request.
    Refusal(Refusal),
    /// The first request of each connection is served; the connection is closed without a byte when another one comes.
    StaleConnection,
    /// A usual answer with these headers, such as `x-ratelimit-remaining-requests: -1`, in place of those of the same
    /// names.
    OddQuota {
        /// The headers.
        headers: Headers,
    },
}

impl Fault {
    /// Whether the fault is about the connection rather than the answer.
    pub(crate) const fn breaks_connection(&self) -> bool {
        matches!(self, Self::Refuse | Self::ResetBefore | Self::CutHead | Self::HangBefore)
    }
}

/// Shape of an error body under HTTP 200.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `{"object":"error",…}`, as old vLLM servers answer.
    #[default]
    Flat,
    /// `{"error":{…}}`.
    Wrapped,
    /// A job with `"status":"FAILED"` and the error as text.
    FailedJob,
    /// `{"status":"IN_QUEUE"}`: the gateway gave up waiting.
    InQueue,
}

/// A quota of Cerebras.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Requests a minute.
    #[default]
    Requests,
    /// Tokens a minute.
    Tokens,
    /// The provider's own queue is full; not the account's doing.
    Queue,
}

/// A fault and the requests it is for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The fault.
    pub fault: Fault,
    /// Only for this many requests; all of them when left out.
    #[serde(default)]
    pub times: Option<u64>,
    /// Only for this share of the requests, from 0 to 1; all of them when left out.
    #[serde(default)]
    pub share: Option<f64>,
    /// Only for requests whose body contains this text; a probe has no body.
    #[serde(default)]
    pub containing: Option<String>,
    /// Whether probes are hit as well.
    #[serde(default)]
    pub probes: bool,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, ..Self::default() }
    }
}

impl Rule {
    fn covers_probes(&self) -> bool {
        self.probes || (self.fault.breaks_connection() && self.times.is_none() && self.share.is_none())
    }

    fn covers(&self, body: &[u8]) -> bool {
        self.containing.as_deref().is_none_or(|text| String::from_utf8_lossy(body).contains(text))
    }
}

/// The rules of one face.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub(crate) fn set(&mut self, rules: Vec<Rule>) {
        self.0 = rules;
    }

    pub(crate) fn list(&self) -> &[Rule] {
        &self.0
    }

    /// The fault of a request. `draw` gives numbers from 0 to 1 and is asked only by rules for a share.
    pub(crate) fn pick(&mut self, probe: bool, body: &[u8], mut draw: impl FnMut() -> f64) -> Fault {
        for rule in &mut self.0 {
            if rule.times == Some(0) || (probe && !rule.covers_probes()) || !rule.covers(body) {
                continue;
            }
            if rule.share.is_some_and(|share| draw() >= share) {
                continue;
            }
            if let Some(left) = &mut rule.times {
                *left -= 1;
            }
            return rule.fault.clone();
        }
        Fault::None
    }
}

const fn two() -> usize {
    2
}

const fn internal() -> u16 {
    500
}

const fn unavailable() -> u16 {
    503
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: Vec<Rule>) -> Rules {
        Rules(rules)
    }

    #[test]
    fn counted_rules_run_out_in_order() {
        let mut rules = rules(vec![
            Rule { times: Some(2), ..Fault::HangBefore.into() },
            Rule { times: Some(1), ..Fault::Empty200.into() },
        ]);
        let picked: Vec<Fault> = (0..4).map(|_| rules.pick(false, b"", || 0.0)).collect();
        assert_eq!(picked, [Fault::HangBefore, Fault::HangBefore, Fault::Empty200, Fault::None]);
    }

    #[test]
    fn a_share_follows_the_draw() {
        let mut rules = rules(vec![Rule { share: Some(0.5), ..Fault::Merged.into() }]);
        assert_eq!(rules.pick(false, b"", || 0.49), Fault::Merged);
        assert_eq!(rules.pick(false, b"", || 0.5), Fault::None);
    }

    #[test]
    fn a_text_in_the_body_decides() {
        let mut rules = rules(vec![Rule { containing: Some("odd".into()), times: Some(1), ..Fault::Merged.into() }]);
        let picked = [&b"even"[..], b"an odd one", b"another odd one"].map(|body| rules.pick(false, body, || 0.0));
        assert_eq!(picked, [Fault::None, Fault::Merged, Fault::None]);
    }

    #[test]
    fn probes_are_spared_unless_the_connection_is_down() {
        let mut counted = rules(vec![Rule { times: Some(1), ..Fault::Refuse.into() }]);
        assert_eq!(counted.pick(true, b"", || 0.0), Fault::None);
        assert_eq!(rules(vec![Fault::Refuse.into()]).pick(true, b"", || 0.0), Fault::Refuse);
        let status = Fault::Status { code: 503, retry_after: None };
        assert_eq!(rules(vec![status.clone().into()]).pick(true, b"", || 0.0), Fault::None);
        assert_eq!(rules(vec![Rule { probes: true, ..status.clone().into() }]).pick(true, b"", || 0.0), status);
    }

    #[test]
    fn names_are_the_documented_ones() {
        let read = |text: &str| serde_json::from_str::<Fault>(text).unwrap();
        assert_eq!(read(r#"{"kind":"empty_200"}"#), Fault::Empty200);
        assert_eq!(read(r#"{"kind":"split_utf8"}"#), Fault::SplitUtf8);
        assert_eq!(read(r#"{"kind":"invalid_utf8"}"#), Fault::InvalidUtf8 { after_events: 2 });
        assert_eq!(read(r#"{"kind":"reset_amid","after_events":5}"#), Fault::ResetAmid { after_events: 5 });
        assert_eq!(
            read(r#"{"kind":"ok_with_error_body","shape":"in_queue"}"#),
            Fault::OkWithErrorBody { shape: ErrorShape::InQueue }
        );
        assert_eq!(
            read(r#"{"kind":"odd_stream","which":"large_event","size_bytes":5}"#),
            Fault::OddStream(OddStream::LargeEvent { size_bytes: 5 })
        );
        assert_eq!(read(r#"{"kind":"odd_whole","which":"no_choices"}"#), Fault::OddWhole(OddWhole::NoChoices));
        assert_eq!(read(r#"{"kind":"refusal","which":"foreign_401"}"#), Fault::Refusal(Refusal::Foreign401));
        let script = r#"{"kind":"scripted","status":418,"headers":[["a","b"]],"pieces":["x","y"],"end":"cut"}"#;
        let headers = vec![("a".to_owned(), "b".to_owned())];
        let pieces = vec!["x".to_owned(), "y".to_owned()];
        assert_eq!(read(script), Fault::Scripted(Scripted { status: 418, headers, pieces, end: End::Cut }));
        assert!(serde_json::from_str::<Fault>(r#"{"kind":"scripted","statsu":418}"#).is_err());
    }
}
