//! What holds for every answer that is translated for a client of Messages. Shared by the fuzz target and by the test that
//! replays its seeds.

use dialects::{
    Blocks,
    messages::{Asked, Problem, ProblemKind, Stream, whole},
};
use serde_json::Value;

#[path = "../../tests/support/message_events.rs"]
mod message_events;

/// The first byte says whether thinking is shown and whether the stream breaks, the rest is the stream, or a whole answer.
pub(crate) fn hold(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let asked = Asked { model: "m".to_owned(), shows_thinking: choice % 2 == 0 };
    let mut stream = Stream::new(asked.clone(), "r", 1);
    let mut taken = message_events::Events::new();
    let mut out = Blocks::default();
    let mut take = |out: &mut Blocks| {
        let events = String::from_utf8(std::mem::take(out).into_vec());
        assert!(events.is_ok(), "text");
        let ordered = taken.take(&events.unwrap_or_default());
        assert!(ordered.is_ok(), "{ordered:?}");
    };
    let (mut is_read, mut fed) = (true, 0);
    for event in rest.split(|byte| *byte == b'\n').collect::<Vec<_>>().chunk_by(|line, _| !line.is_empty()) {
        is_read = is_read && stream.frame(&event.join(&b'\n'), &mut out).is_ok();
        take(&mut out);
        fed += event.iter().map(|line| line.len() + 1).sum::<usize>();
        // The shortest piece that begins a call is `{"index":10},`: what is noted of it is some thirty times as long.
        assert!(stream.held_bytes() <= 32 * fed, "{} bytes are held of {fed}", stream.held_bytes());
    }
    if is_read && choice % 4 < 2 {
        assert!(stream.frame(b"data: [DONE]\n\n", &mut out).is_ok());
        assert_eq!(stream.held_bytes(), 0, "nothing is left to pass on");
    } else {
        stream.broken(&Problem { kind: ProblemKind::Api, message: "m", request_id: "r" }, &mut out);
    }
    take(&mut out);
    let is_broken = taken.error.is_some();
    let message = taken.finish();
    assert!(message.is_ok(), "{message:?}");
    assert!(is_broken || message.is_ok_and(|message| message["stop_reason"].is_string()));

    let Ok(text) = str::from_utf8(rest) else { return };
    let Ok(message) = whole(&asked, "r", 1, text) else { return };
    match serde_json::from_slice::<Value>(&message) {
        Ok(message) => {
            assert!(message["stop_reason"].is_string() && message["usage"]["output_tokens"].is_u64());
            let blocks = message["content"].as_array().into_iter().flatten();
            blocks.for_each(|block| assert!(block["type"] != "tool_use" || block["input"].is_object()));
        }
        Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
    }
}
