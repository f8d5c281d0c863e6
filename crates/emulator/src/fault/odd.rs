//! Faults of the odd kind: answers that are legal, or nearly, and that a client should live with, and refusals that say
//! something about one request and nothing about the provider. Other servers than vLLM and Cerebras answer like this, so
//! the shapes are the same on every face.

use serde::{Deserialize, Serialize};

/// Header names and values.
pub type Headers = Vec<(String, String)>;

/// Any answer at all. It is chunked unless there is a `content-length` header.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// The status.
    #[serde(default = "ok")]
    pub status: u16,
    /// The headers, all of them but those of the connection.
    #[serde(default)]
    pub headers: Headers,
    /// The body, one write after the other.
    #[serde(default)]
    pub pieces: Vec<String>,
    /// What comes after the last piece.
    #[serde(default)]
    pub end: End,
}

/// What comes after the last piece of a body.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The end of the body, in order.
    #[default]
    Complete,
    /// The connection is closed without the end of the body.
    Cut,
    /// Nothing, until the client goes.
    Hang,
}

/// What is odd about a stream. A request for a whole answer is served as usual.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "which", rename_all = "snake_case", deny_unknown_fields)]
pub enum OddStream {
    /// The token counts, in every chunk, are null.
    NullCounts,
    /// The token counts are floats.
    FloatCounts,
    /// The token counts are texts.
    TextCounts,
    /// The token counts are negative.
    NegativeCounts,
    /// `usage` stands twice in the finish chunk.
    DoubledUsage,
    /// Events `{"type":"ping"}` after the first chunk and after the finish.
    PingEvents,
    /// The first event has no `choices`.
    NoChoicesFirst,
    /// An event `{}` before `[DONE]`.
    ClosingEmptyObject,
    /// An event with `"choices":null` first and after the finish.
    NullChoices,
    /// An `error` in every chunk that says nothing: `""`, `{}`, `false` or null.
    EmptyError,
    /// A blank behind `[DONE]`.
    BlankDone,
    /// An event whose data are blanks, after the first chunk.
    BlankData,
    /// `object`, and the content of each delta, stand twice.
    TwiceMembers,
    /// The delta of the finish is a list.
    ListDelta,
    /// Half a surrogate pair, escaped, as a piece of content.
    LoneSurrogate,
    /// The finish reason is `done`, which is none of OpenAI's.
    UnknownFinish,
    /// The finish reason of chunks before the finish is an empty text.
    EmptyFinish,
    /// The body ends in order without `[DONE]`.
    NoDone,
    /// Nothing comes after the finish, and the connection stays open.
    HangAfterFinish,
    /// The connection is closed after the finish, without the end of the body.
    CutAfterFinish,
    /// No usage, asked for or not.
    NoUsage,
    /// A piece of content after the finish.
    LateContent,
    /// One piece of content of this size.
    LargeEvent {
        /// Its bytes.
        #[serde(default = "large")]
        size_bytes: usize,
    },
    /// `event:`, `id:` and `retry:` lines before the data.
    NamedEvents,
    /// Comments before each event.
    Comments,
    /// Another content type.
    Labelled {
        /// It; empty for no header at all.
        content_type: String,
    },
    /// A whole answer in JSON.
    WholeForStream,
    /// Content as a list of parts.
    ContentParts,
}

/// What is odd about a whole answer. A request for a stream is served as usual.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "which", rename_all = "snake_case", deny_unknown_fields)]
pub enum OddWhole {
    /// An error beside the choices.
    ErrorBeside,
    /// The finish reason is `error`.
    FinishError,
    /// The list of choices is empty.
    NoChoices,
    /// The token counts are null.
    NullCounts,
    /// The token counts are floats.
    FloatCounts,
    /// Content as a list of parts: thinking and a text.
    ContentParts,
    /// `{"err":"api","traceback":"…"}`, as RunPod answers with 200 when its proxy fails.
    ErrTraceback,
}

/// The refusal of one request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "which", rename_all = "snake_case", deny_unknown_fields)]
pub enum Refusal {
    /// 400 with the code `content_filter`; flat on Cerebras' face.
    Moderation,
    /// 403 of a moderated prompt.
    #[serde(rename = "moderation_403")]
    Moderation403,
    /// 403 with a web firewall's page.
    FirewallPage,
    /// 400 with an edge server's page.
    #[serde(rename = "firewall_page_400")]
    FirewallPage400,
    /// 404: no endpoint supports the tools asked for.
    NoEndpointForTools,
    /// The request alone is larger than a minute's quota.
    TooLargeForMinute {
        /// The status: 429, or 413.
        #[serde(default = "too_many")]
        code: u16,
    },
    /// vLLM's 400 for a seed that is the text `no workers available`, which it quotes.
    EchoedNoWorkers,
    /// A redirect without a body.
    Redirect {
        /// The status.
        #[serde(default = "moved")]
        code: u16,
        /// Where to.
        location: String,
    },
    /// OpenAI's 400 for a member that it does not know; a request without it is served.
    UnknownArgument {
        /// The member.
        name: String,
    },
    /// OpenAI's 400 for a limit of the answer that is too large; a request with a smaller one, or none, is served.
    LimitTooLarge {
        /// The largest limit that is taken.
        most: u64,
    },
    /// The operation does not exist: 404, or 405, in FastAPI's words.
    OperationMissing {
        /// The status.
        #[serde(default = "missing")]
        code: u16,
    },
    /// 401 by something before the provider: a proxy's page.
    #[serde(rename = "foreign_401")]
    Foreign401,
    /// 403 by something before the provider: a gateway's JSON.
    #[serde(rename = "foreign_403")]
    Foreign403,
}

const fn ok() -> u16 {
    200
}

const fn large() -> usize {
    1_100_000
}

const fn too_many() -> u16 {
    429
}

const fn moved() -> u16 {
    301
}

const fn missing() -> u16 {
    404
}
