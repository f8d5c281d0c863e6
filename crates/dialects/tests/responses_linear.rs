//! The work for a request and an answer of Responses grows at most in proportion to it, whatever is repeated.

use dialects::{
    Blocks,
    responses::{Asked, Stream, to_chat, whole},
    translation_bytes,
};
use provider::{RequestBody, steps};

#[path = "../../provider/tests/support/growth.rs"]
mod growth;

use growth::Case;

const CALL: &str = r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#;

/// Requests that repeat one thing.
const REQUESTS: &[Case] = &[
    ("messages", |n| items(&list(n, r#"{"role":"user","content":"x"},{"role":"assistant","content":"y"}"#))),
    ("messages of the system", |n| items(&list(n, r#"{"role":"developer","content":"x"}"#))),
    ("texts", |n| user(&list(n, r#"{"type":"input_text","text":"x"}"#))),
    ("images", |n| user(&list(n, r#"{"type":"input_image","image_url":"x"}"#))),
    ("members of a part", |n| {
        user(&format!(r#"{{"type":"text","text":"x"{}}}"#, many(n, |at| format!(",\"x{at}\":0"))))
    }),
    ("a long text", |n| user(&format!(r#"{{"type":"input_text","text":"{}"}}"#, "json \\n\\u00e9\\ud83d".repeat(n)))),
    ("calls", |n| items(&list(n, CALL))),
    ("turns", |n| items(&list(n, &format!(r#"{CALL},{{"type":"function_call_output","call_id":"c","output":"x"}}"#)))),
    ("outputs with images", |n| {
        let image = r#"[{"type":"input_image","image_url":"x"}]"#;
        items(&list(n, &format!(r#"{{"type":"function_call_output","call_id":"c","output":{image}}}"#)))
    }),
    ("an escaped input", |n| {
        items(&format!(r#"{{"type":"custom_tool_call","call_id":"c","name":"f","input":"{}"}}"#, "\\\"\\\\".repeat(n)))
    }),
    ("thoughts", |n| {
        items(&list(n, r#"{"type":"reasoning","content":[{"text":"x"}]},{"role":"assistant","content":"y"}"#))
    }),
    ("hosted items", |n| {
        items(&format!(r#"{},{{"role":"user","content":"x"}}"#, list(n, r#"{"type":"web_search_call"}"#)))
    }),
    ("the same tool", |n| tools(&list(n, r#"{"type":"function","name":"f"}"#))),
    ("other tools", |n| {
        let tool = |at: usize| format!(r#"{{"type":"custom","name":"f{at}","description":"{}"}},"#, "x".repeat(80));
        tools(many(n / 4, tool).trim_end_matches(','))
    }),
    ("tools of one name", |n| {
        let tool = |at: usize| format!(r#"{{"type":"function","name":"{}"}},"#, "é".repeat(at % 300 + 70));
        tools(many(n / 4, tool).trim_end_matches(','))
    }),
    ("hosted tools", |n| tools(&list(n, r#"{"type":"web_search"}"#))),
    ("fields", |n| request(&many(n.min(200), |at| format!(",\"x{at}\":[{}]", list(n / 100, "0"))), r#""x""#)),
    ("instructions", |n| request(&format!(r#","instructions":"{}""#, "x".repeat(20 * n)), r#""x""#)),
    ("tools that are repeated", |n| tools(&list(n / 40, r#"{"type":"function","name":"f","parameters":{"a":"b"}}"#))),
    ("included", |n| request(&format!(",\"include\":[{}]", list(n, "\"x\"")), r#""x""#)),
];

fn request(more: &str, input: &str) -> String {
    format!(r#"{{"model":"m","input":{input}{more}}}"#)
}

fn items(items: &str) -> String {
    request("", &format!("[{items}]"))
}

fn user(parts: &str) -> String {
    items(&format!(r#"{{"role":"user","content":[{parts}]}}"#))
}

fn tools(tools: &str) -> String {
    request(&format!(",\"tools\":[{tools}]"), r#""x""#)
}

fn list(n: usize, element: &str) -> String {
    vec![element; n].join(",")
}

fn many(n: usize, element: impl Fn(usize) -> String) -> String {
    (0..n).map(element).collect()
}

#[test]
fn a_request_on_its_way_in() {
    growth::are_linear(REQUESTS, steps::taken, |text| {
        let chat = to_chat(text);
        assert!(chat.is_ok(), "{:?}", chat.err());
    });
}

/// What an answer has to know of a request with a custom tool, which wants log probabilities.
fn asked() -> Option<Asked> {
    let request = r#"{"model":"m","input":"x","include":["message.output_text.logprobs"],"tools":[{"type":"custom","name":"c"}]}"#;
    to_chat(request).ok().map(|chat| chat.asked)
}

#[test]
fn a_request_takes_no_more_memory_than_is_reserved_for_it() {
    for (what, request) in REQUESTS {
        let text = request(2_000);
        // To read a request of any API takes memory for the keys of its objects.
        let read = allocation_counter::measure(|| {
            let mut body = RequestBody::new(&text).expect("an object");
            while body.next_field().expect("JSON").is_some() {
                body.raw().expect("JSON");
            }
        });
        let taken = allocation_counter::measure(|| drop(to_chat(&text)));
        let most = translation_bytes(text.as_bytes()) as u64 + read.bytes_max;
        assert!(taken.bytes_max <= most, "{what}: {} of {most} bytes for {}", taken.bytes_max, text.len());
    }
}

/// Streams that repeat one thing.
const STREAMS: &[Case] = &[
    ("texts", |n| delta(r#"{"content":"x"}"#).repeat(n)),
    ("texts and thoughts", |n| [delta(r#"{"content":"x"}"#), delta(r#"{"reasoning":"x"}"#)].concat().repeat(n)),
    ("texts and refusals", |n| [delta(r#"{"content":"x"}"#), delta(r#"{"refusal":"x"}"#)].concat().repeat(n)),
    ("calls", |n| many(n, |at| call(at, "f", "x"))),
    ("pieces of a call", |n| call(0, "f", "x").repeat(n)),
    ("pieces of an input", |n| call(0, "c", "x").repeat(n)),
    ("mixed pieces", |n| format!("{}{}", many(n, |at| call(at, "f", "x")), many(n, |at| call(at, "f", "y")))),
    ("log probabilities", |n| {
        let chunk = r#"{"choices":[{"delta":{"content":"x"},"logprobs":{"content":[{"token":"x","logprob":NaN}]}}]}"#;
        format!("data: {chunk}\n\n").repeat(n)
    }),
    ("comments", |n| ": x\n\n".repeat(n)),
    ("lines", |n| format!("{}\n", "data: 1,\n".repeat(n))),
];

fn delta(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n")
}

fn call(index: usize, name: &str, arguments: &str) -> String {
    delta(&format!(
        r#"{{"tool_calls":[{{"index":{index},"id":"t","function":{{"name":"{name}","arguments":"{arguments}"}}}}]}}"#
    ))
}

#[test]
fn a_stream_on_its_way_out() {
    growth::are_linear(STREAMS, steps::taken, |text| {
        let mut stream = Stream::new(asked().expect("a request"), "r", 1);
        for event in text.split_inclusive("\n\n") {
            assert!(stream.frame(event.as_bytes(), &mut Blocks::default()).is_ok());
        }
        let mut out = Blocks::default();
        assert!(stream.frame(b"data: [DONE]\n\n", &mut out).is_ok());
        assert!(!out.is_empty());
    });
}

/// Whole answers that repeat one thing.
const ANSWERS: &[Case] = &[
    ("a text", |n| answer(&format!("\"content\":\"{}\"", "\\n\\ud83d".repeat(n)))),
    ("parts", |n| answer(&format!("\"content\":[{}]", list(n, r#"{"type":"text","text":"x"}"#)))),
    ("calls", |n| {
        answer(&format!("\"tool_calls\":[{}]", list(n, r#"{"function":{"name":"f","arguments":"{\"a\":1}"}}"#)))
    }),
    ("an input", |n| {
        answer(&format!(
            "\"tool_calls\":[{{\"function\":{{\"name\":\"c\",\"arguments\":\"{{\\\"input\\\":\\\"{}\\\"}}\"}}}}]",
            "\\\\n".repeat(n)
        ))
    }),
];

fn answer(message: &str) -> String {
    format!("{{\"choices\":[{{\"message\":{{{message}}}}}]}}")
}

#[test]
fn a_whole_answer_on_its_way_out() {
    let asked = asked().expect("a request");
    growth::are_linear(ANSWERS, steps::taken, |text| {
        assert!(whole(&asked, "r", 1, text).is_ok());
    });
}
