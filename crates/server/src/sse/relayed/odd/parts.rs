//! The parts of odd streams.

use super::{Blanks, End, Reason, Sort};

pub(super) const BLANKS: [Blanks; 3] = [
    Blanks { open: "", comma: ",", colon: ":" },
    Blanks { open: " ", comma: ", ", colon: " : " },
    Blanks { open: "\n  ", comma: ",\n  ", colon: ": " },
];

pub(super) const LABELS: [Option<&str>; 9] = [
    None,
    Some("text/event-stream"),
    Some("text/event-stream; charset=utf-8"),
    Some("Text/Event-Stream;charset=UTF-8"),
    Some("text/plain"),
    Some("text/html"),
    Some("application/json"),
    Some("application/octet-stream"),
    Some("application/x-ndjson"),
];

pub(super) const STARTS: [&str; 7] = ["", "", "\u{feff}", "\n\n", "\r\n", "\u{feff}\r\r", ": hello\n\n"];

pub(super) const ENDS: [End; 10] = [
    End::Done("[DONE]"),
    End::Done("[DONE]"),
    End::Done(" [DONE]"),
    End::Done("[DONE] "),
    End::Done("\t[DONE]\t "),
    End::DoneAndMore,
    End::Clean,
    End::Unterminated,
    End::Cut,
    End::Silence,
];

pub(super) const LINE_ENDS: [&str; 3] = ["\n", "\r\n", "\r"];

pub(super) const FIELDS: [&[&str]; 9] = [
    &[],
    &[],
    &[],
    &["event: message"],
    &["id: 7"],
    &["id:8", "event:chunk", ": note"],
    &["retry: 10"],
    &["id: 9", "unknown: field", "datax: 1"],
    &[": data: {\"error\":\"quoted\"}"],
];

/// Contents that must reach the client unchanged: none of them has a meaning for the router.
pub(super) const PIECES: [&str; 24] = [
    r#""delta":{"content":"hello"}"#,
    r#""delta":{"content":"grüße 東京 😀"}"#,
    r#""delta":{"role":"assistant","content":"x"}"#,
    r#""delta":{"content":"[DONE]"}"#,
    r#""delta":{"content":"data: {\"error\":{\"message\":\"no\"}}\n\n"}"#,
    r#""delta":{"content":"\"finish_reason\":\"repetition\",\"usage\":{}"}"#,
    r#""delta":{"content":"\ud83d"},"delta":{"content":"\ude00"}"#,
    r#""delta":{"content":"a","content":"b"}"#,
    r#""delta":{"reasoning_content":"hm"}"#,
    r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}"#,
    r#""delta":{"finish_reason":"repetition","usage":{"prompt_tokens":1}}"#,
    r#""delta":{"content":null,"refusal":null}"#,
    r#""delta":{"content":""}"#,
    r#""d\u0065lta":{"content":"escaped"}"#,
    r#""delta":"text""#,
    r#""delta":7"#,
    r#""delta":{}"#,
    r#""delta":[]"#,
    r#""delta":"""#,
    r#""delta":null"#,
    r#""text":"a completion""#,
    r#""text":"""#,
    r#""message":{"role":"assistant","content":"whole"},"delta":{}"#,
    r#""error":null,"delta":{"content":"x"}"#,
];

pub(super) const NOT_ENDED: [Reason; 5] = [
    Reason { key: "finish_reason", value: Some("null"), sort: Sort::None },
    Reason { key: "finish_reason", value: Some("null"), sort: Sort::None },
    Reason { key: "finish_reason", value: None, sort: Sort::None },
    Reason { key: "finish_reason", value: Some("\"\""), sort: Sort::None },
    Reason { key: "finish_reason", value: Some("false"), sort: Sort::None },
];

pub(super) const STOP: Reason = Reason { key: "finish_reason", value: Some("\"stop\""), sort: Sort::Known };

pub(super) const REASONS: [Reason; 13] = [
    STOP,
    Reason { key: "finish_reason", value: Some("\"length\""), sort: Sort::Known },
    Reason { key: "finish_reason", value: Some("\"tool_calls\""), sort: Sort::Known },
    Reason { key: "finish_reason", value: Some("\"content_filter\""), sort: Sort::Known },
    Reason { key: "finish_reason", value: Some("\"function_call\""), sort: Sort::Known },
    Reason { key: "finish\\u005freason", value: Some("\"st\\u006fp\""), sort: Sort::Known },
    Reason { key: "finish_reason", value: Some("\"repetition\""), sort: Sort::Renamed },
    Reason { key: "finish\\u005freason", value: Some("\"\\u0064one\""), sort: Sort::Renamed },
    Reason { key: "finish_reason", value: Some("\"eos\""), sort: Sort::Unknown },
    Reason { key: "finish_reason", value: Some("\"MAX_TOKENS\""), sort: Sort::Unknown },
    Reason { key: "finish_reason", value: Some("7"), sort: Sort::Unknown },
    Reason { key: "finish_reason", value: Some("\"\""), sort: Sort::None },
    Reason { key: "finish_reason", value: None, sort: Sort::None },
];

/// What counts may look like. Two members are one that appears twice.
pub(super) const USAGES: [&[(&str, &str)]; 13] = [
    &[("usage", "null")],
    &[("usage", r#"{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}"#)],
    &[("usage", r#"{"prompt_tokens": 11.0, "completion_tokens": 2}"#)],
    &[("usage", r#"{"prompt_tokens":null,"completion_tokens":"2"}"#)],
    &[("usage", r#"{"prompt_tokens":-1,"completion_tokens":1e3}"#)],
    &[("usage", r#"{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":3}"#)],
    &[(
        "usage",
        r#"{"prompt_tokens":1,"prompt_tokens_details":[],"completion_tokens_details":{"reasoning_tokens":"a"}}"#,
    )],
    &[("usage", "{}")],
    &[("usage", "[1,2]")],
    &[("usage", "\"many\"")],
    &[("usage", "7")],
    &[("us\\u0061ge", r#"{"prompt_tokens":11,"completion_tokens":2}"#)],
    &[("usage", "null"), ("usage", r#"{"prompt_tokens":11,"completion_tokens":2}"#)],
];

/// Further members of a chunk.
pub(super) const EXTRAS: [&str; 15] = [
    r#""id":"c","object":"chat.completion.chunk","created":1,"model":"m""#,
    r#""id":null,"created":"now""#,
    r#""id":"a","id":"b""#,
    r#""error":"""#,
    r#""error":{}"#,
    r#""error":false"#,
    r#""error":null"#,
    r#""error":{"message":"","code":null}"#,
    r#""message":"all is well","code":500"#,
    r#""status":"FAILED","object":"error""#,
    r#""system_fingerprint":null,"service_tier":"default""#,
    r#""prompt_filter_results":[{"prompt_index":0}]"#,
    r#""x\ud800":"half a surrogate""#,
    r#""scores":[-Infinity,NaN,Infinity]"#,
    r#""big":123456789012345678901234567890,"small":1.0e-400"#,
];

/// Data that is no chunk and no error either.
pub(super) const OTHERS: [&str; 24] = [
    "{}",
    "[]",
    "[1, {\"error\": \"x\"}]",
    "null",
    "true",
    "7",
    "\"[DONE]\"",
    r#"{"type":"ping"}"#,
    r#"{"type":"ping","cost":"0"}"#,
    r#"{"type":"metadata","data":[1]}"#,
    r#"{"message":"hello"}"#,
    r#"{"code":200}"#,
    r#"{"detail":""}"#,
    r#"{"status":"loading"}"#,
    r#"{"id":"j1","status":"IN_PROGRESS"}"#,
    r#"{"type":"progress","detail":"loading weights"}"#,
    r#"{"type":"warning","message":"the prompt was cut","code":"truncated"}"#,
    "NaN",
    r#"{"error":null}"#,
    r#"{"error":{}}"#,
    r#"{"choices":null}"#,
    r#"{"choices":{}}"#,
    r#"{"choices":[]}"#,
    r#"{"choices":[null,7,"x"]}"#,
];
