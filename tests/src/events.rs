//! Streams whose events have names, as those of Anthropic's Messages and of OpenAI's Responses.

use serde_json::Value;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedEvent {
    /// What stands behind `event:`.
    pub name: String,
    /// What stands behind `data:`.
    pub data: Value,
}

/// The events of a whole stream, in order; comments are left out.
pub fn named_events(text: &str) -> Vec<NamedEvent> {
    assert!(text.is_empty() || text.ends_with("\n\n"), "the last event is whole: {text}");
    let lines = text.lines().filter(|line| !line.starts_with(':'));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split("\n\n").map(str::trim).filter(|event| !event.is_empty()).map(named_event).collect()
}

fn named_event(event: &str) -> NamedEvent {
    let (name, data) = event.split_once('\n').unwrap_or((event, ""));
    let name = name.strip_prefix("event: ").unwrap_or_else(|| panic!("an event without a name: {event}"));
    let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("an event without data: {event}"));
    let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
    assert_eq!(data["type"], name, "the name of an event is its type");
    NamedEvent { name: name.to_owned(), data }
}
