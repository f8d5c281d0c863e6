//! What holds for every answer that is translated for a client of Responses. Shared by the fuzz target and by the test
//! that replays its seeds.

use dialects::{
    Blocks,
    responses::{Asked, Problem, Stream, to_chat, whole},
};
use serde_json::Value;

#[path = "../../tests/support/responses_events.rs"]
mod responses_events;

/// A request with tools of every kind.
const ASKS: &str = r#"{"model":"m","input":"Hi","include":["message.output_text.logprobs"],"tools":[
    {"type":"function","name":"f"},{"type":"custom","name":"c"},{"type":"tool_search","execution":"client"},
    {"type":"namespace","name":"n","tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}]}]}"#;

fn asked() -> Option<Asked> {
    to_chat(ASKS).ok().map(|chat| chat.asked)
}

/// The first byte says whether the stream breaks, and whether it is silent for long behind each event; the rest is the stream, or a whole answer.
pub(crate) fn hold(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let asked = asked();
    assert!(asked.is_some(), "the request is right");
    let Some(asked) = asked else { return };
    let mut stream = Stream::new(asked.clone(), "r", 1);
    let mut out = Blocks::default();
    let repeated = stream.held_bytes();
    let (mut is_read, mut fed) = (true, 0);
    for event in rest.split(|byte| *byte == b'\n').collect::<Vec<_>>().chunk_by(|line, _| !line.is_empty()) {
        is_read = is_read && stream.frame(&event.join(&b'\n'), &mut out).is_ok();
        if choice % 8 > 3 {
            stream.keep_alive(&mut out);
        }
        fed += event.iter().map(|line| line.len() + 1).sum::<usize>();
        // The shortest piece that begins a call is `{"index":10},`: what is noted of it is some twenty times as long.
        let held = stream.held_bytes() - repeated;
        assert!(held <= 32 * fed, "{held} bytes are held of {fed}");
    }
    if is_read && choice % 2 == 0 {
        assert!(stream.frame(b"data: [DONE]\n\n", &mut out).is_ok());
    } else {
        stream.broken(&Problem { code: "server_error", message: "m" }, &mut out);
    }
    let events = String::from_utf8(out.into_vec());
    assert!(events.is_ok(), "text");
    // A search may be called with arguments that are nested deeper than serde reads.
    let events = events.unwrap_or_default();
    let is_deep =
        |data: &str| serde_json::from_str::<Value>(data).is_err_and(|error| error.to_string().contains("recursion"));
    if !events.lines().filter_map(|line| line.strip_prefix("data: ")).any(is_deep) {
        responses_events::check(&events);
    }

    let Ok(text) = str::from_utf8(rest) else { return };
    let Ok(response) = whole(&asked, "r", 1, text) else { return };
    match serde_json::from_slice::<Value>(&response) {
        Ok(response) => assert!(response["output"].is_array() && response["status"].is_string()),
        Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
    }
}
