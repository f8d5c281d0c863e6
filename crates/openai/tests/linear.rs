//! The work for what comes in grows at most in proportion to it, whatever is repeated: requests, answers, streams.

use bytes::Bytes;
use openai::{ErrorBody, Outgoing, Served, Splitter, fuzzing};
use provider::{Call, Limits, Operation, Request, steps};

#[path = "../../provider/tests/support/chats.rs"]
mod chats;
#[path = "../../provider/tests/support/growth.rs"]
mod growth;

#[test]
fn a_request_on_its_way_out() {
    growth::are_linear(chats::CHATS, steps::taken, |text| {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let Ok(request) = Request::parse(Operation::Chat, body, Limits { max_messages: usize::MAX }) else { return };
        let served = Served::new("served", Some(64), "max_tokens");
        let call = Call {
            request_id: "r".into(),
            adjustment: None,
            reasoning: provider::ReasoningField::default(),
            memory: provider::MemoryBudget::default(),
        };
        assert!(Outgoing::new(&request, &served, &call).rewrite.finish().len() > text.len());
    });
}

/// Events, whose data repeats one thing.
const EVENTS: [growth::Case; 8] = [
    ("events", |n| "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n".repeat(n)),
    ("comments", |n| ": x\n\n".repeat(n)),
    ("lines of data", |n| format!("{}\n", "data: 1,\n".repeat(n))),
    ("blank lines", |n| "\r\n".repeat(n)),
    ("choices", |n| event(&format!("\"choices\":[{}{{}}]", "{\"index\":0,\"finish_reason\":\"stop\"},".repeat(n)))),
    ("renamed ends", |n| {
        event(&format!("\"choices\":[{{\"finish_reason\":0{}}}]", ",\"finish_reason\":\"done\"".repeat(n)))
    }),
    ("usages", |n| {
        event(&format!(
            "\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}]{}",
            ",\"usage\":{\"prompt_tokens\":1}".repeat(n)
        ))
    }),
    ("members", |n| {
        event(&format!("\"choices\":[]{}", (0..n).map(|at| format!(",\"x{at}\":0")).collect::<Vec<_>>().concat()))
    }),
];

fn event(members: &str) -> String {
    format!("data: {{{members}}}\n\n")
}

#[test]
fn events_of_a_stream_that_comes_in_large_and_in_small_reads() {
    for read_bytes in [64 << 10, 16] {
        growth::are_linear(&EVENTS, steps::taken, |text| {
            let mut splitter = Splitter::new(64 << 20);
            for read in text.as_bytes().chunks(read_bytes) {
                splitter.push(Bytes::copy_from_slice(read)).expect("within the limit");
                while let Some(event) = splitter.next_event() {
                    drop(fuzzing::frame(event, false));
                }
            }
            drop(splitter.finish().map(|event| fuzzing::frame(event, true)));
        });
    }
}

#[test]
fn an_error_s_body() {
    let cases: [growth::Case; 4] = [
        ("messages", |n| format!("{{\"message\":\"x\"{}}}", ",\"message\":\"x\"".repeat(n))),
        ("errors", |n| format!("{{\"error\":{{}}{}}}", ",\"error\":{\"message\":\"x\"}".repeat(n))),
        ("details", |n| format!("{{\"detail\":[{}0]}}", "{\"loc\":[\"body\"]},".repeat(n))),
        ("a message that is cut", |n| format!("{{\"message\":\"{}", "x\\n\\u00e9".repeat(n))),
    ];
    growth::are_linear(&cases, steps::taken, |text| drop(ErrorBody::parse(text.as_bytes())));
}
