//! Answers as a client of Messages gets them.

use dialects::{
    Blocks,
    messages::{Asked, Stream, whole},
};
use serde_json::Value;

use crate::message_events::Events;

/// The estimate of the prompt.
pub(crate) const ESTIMATE: u64 = 33;

pub(crate) fn asked(shows_thinking: bool) -> Asked {
    Asked { model: "claude \"x\"".to_owned(), shows_thinking }
}

/// The whole answer as a message.
pub(crate) fn message(completion: &str, shows_thinking: bool) -> Value {
    let message = whole(&asked(shows_thinking), "r-1", ESTIMATE, completion).expect("JSON");
    serde_json::from_slice(&message).expect("JSON")
}

/// The events of a stream.
pub(crate) fn events(stream: &[impl AsRef<str>], shows_thinking: bool) -> String {
    let mut events = String::new();
    let mut translated = Stream::new(asked(shows_thinking), "r-1", ESTIMATE);
    for event in stream {
        events += &shown(&mut translated, event.as_ref());
    }
    events
}

/// What `event` of a chat's stream becomes.
pub(crate) fn shown(stream: &mut Stream, event: &str) -> String {
    let mut out = Blocks::default();
    stream.frame(event.as_bytes(), &mut out).expect("JSON that is not too deep");
    let events = String::from_utf8(out.into_vec()).expect("text");
    assert!(events.is_empty() || events.ends_with("\n\n"), "whole events");
    events
}

/// The same put together again.
pub(crate) fn folded(stream: &[impl AsRef<str>], shows_thinking: bool) -> Result<Value, String> {
    let mut taken = Events::new();
    taken.take(&events(stream, shows_thinking))?;
    taken.finish()
}
