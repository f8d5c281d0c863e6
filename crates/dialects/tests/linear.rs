//! The work for what comes in grows at most in proportion to it, whatever is repeated: requests, answers, streams.

use dialects::{
    Blocks,
    messages::{Asked, Stream, to_chat, whole},
    translation_bytes,
};
use provider::{RequestBody, steps};

#[path = "../../provider/tests/support/growth.rs"]
mod growth;

use growth::Case;

/// Requests that repeat one thing.
const REQUESTS: &[Case] = &[
    ("messages", |n| request(&list(n, r#"{"role":"user","content":"x"},{"role":"assistant","content":"y"}"#), "")),
    ("messages of one role", |n| request(&list(n, r#"{"role":"user","content":"x"}"#), "")),
    ("messages of the system", |n| request(&list(n, r#"{"role":"system","content":"x"}"#), "")),
    ("texts", |n| user(&list(n, r#"{"type":"text","text":"x"}"#))),
    ("images", |n| user(&list(n, r#"{"type":"image","source":{"type":"url","url":"x"}}"#))),
    ("results", |n| user(&list(n, r#"{"type":"tool_result","tool_use_id":"t","content":"x"}"#))),
    ("members of a block", |n| {
        user(&format!(r#"{{"type":"text","text":"x"{}}}"#, many(n, |at| format!(",\"x{at}\":0"))))
    }),
    ("a long text", |n| user(&format!(r#"{{"type":"text","text":"{}"}}"#, "json \\n\\u00e9\\ud83d".repeat(n)))),
    ("calls", |n| {
        let calls = list(n, r#"{"type":"tool_use","id":"t","name":"f","input":{"a":"\"x\""}}"#);
        let first = format!(r#"{{"role":"assistant","content":[{calls}]}}"#);
        request(&format!("{first},{{\"role\":\"user\",\"content\":\"x\"}}"), "")
    }),
    ("tools", |n| {
        request(USER, &format!(",\"tools\":[{}]", list(n, r#"{"name":"f","input_schema":{},"strict":true}"#)))
    }),
    ("tools of a server", |n| {
        request(USER, &format!(",\"tools\":[{}]", list(n, r#"{"type":"web_search_20250305","name":"s"}"#)))
    }),
    ("fields", |n| request(USER, &many(n.min(200), |at| format!(",\"x{at}\":[{}]", list(n / 100, "0"))))),
];

const USER: &str = r#"{"role":"user","content":"x"}"#;

fn request(messages: &str, more: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,"messages":[{messages}]{more}}}"#)
}

fn user(blocks: &str) -> String {
    request(&format!(r#"{{"role":"user","content":[{blocks}]}}"#), "")
}

fn list(count: usize, element: &str) -> String {
    vec![element; count].join(",")
}

fn many(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect()
}

#[test]
fn a_request_on_its_way_in() {
    growth::are_linear(REQUESTS, steps::taken, |text| {
        let chat = to_chat(text);
        // Messages of the system alone have nobody to answer.
        assert!(chat.is_ok() || text.contains("system"), "{:?}", chat.err());
    });
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
    ("calls", |n| many(n, |at| call(at, "x"))),
    ("pieces of a call", |n| format!("{}{}", call(0, ""), call(0, "x").repeat(n))),
    ("mixed pieces", |n| format!("{}{}", many(n, |at| call(at, "x")), many(n, |at| call(at, "y")))),
    ("calls in a chunk", |n| {
        let each = |at| format!(r#"{{"index":{at},"id":"call_{at}","function":{{"name":"f","arguments":"{{}}"}}}},"#);
        delta(&format!("{{\"tool_calls\":[{}{{}}]}}", many(n, each)))
    }),
    ("held texts", |n| {
        let pair = [delta(r#"{"content":"x"}"#), delta(r#"{"reasoning":"x"}"#)].concat();
        format!("{}{}", call(0, "x"), pair.repeat(n))
    }),
    ("comments", |n| ": x\n\n".repeat(n)),
    ("lines", |n| format!("{}\n", "data: 1,\n".repeat(n))),
];

fn delta(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n")
}

fn call(index: usize, arguments: &str) -> String {
    delta(&format!(
        r#"{{"tool_calls":[{{"index":{index},"id":"t","function":{{"name":"f","arguments":"{arguments}"}}}}]}}"#
    ))
}

#[test]
fn a_stream_on_its_way_out() {
    growth::are_linear(STREAMS, steps::taken, |text| {
        let asked = Asked { model: "m".to_owned(), shows_thinking: true };
        let mut stream = Stream::new(asked, "r", 1);
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
    ("members", |n| answer(&format!("\"content\":\"x\"{}", many(n, |at| format!(",\"x{at}\":0"))))),
];

fn answer(message: &str) -> String {
    format!("{{\"choices\":[{{\"message\":{{{message}}}}}]}}")
}

#[test]
fn a_whole_answer_on_its_way_out() {
    growth::are_linear(ANSWERS, steps::taken, |text| {
        let asked = Asked { model: "m".to_owned(), shows_thinking: true };
        assert!(whole(&asked, "r", 1, text).is_ok());
    });
}
