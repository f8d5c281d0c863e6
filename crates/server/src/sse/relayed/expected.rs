//! The events that a client must read of a stream, and the complete list of changes that are allowed.

use super::odd::{Data, Event, Odd, Sort};

/// All that is changed in a relayed stream, as `docs/api.md` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    UsageHidden,
    UsageMoved,
    FinishRenamed,
    Done,
    NothingSaid,
    Rewritten,
    Closed,
}

impl Change {
    pub(super) const ALL: [Self; 7] = [
        Self::UsageHidden,
        Self::UsageMoved,
        Self::FinishRenamed,
        Self::Done,
        Self::NothingSaid,
        Self::Rewritten,
        Self::Closed,
    ];

    /// The line in `docs/api.md`.
    pub(super) fn documented_as(self) -> &'static str {
        match self {
            Self::UsageHidden => "usage that was not asked for is taken out, and an event that has it but no choices",
            Self::UsageMoved => "usage with a finish reason, and with no piece before, follows in an event of its own",
            Self::FinishRenamed => "a provider's own word for a finish reason becomes OpenAI's",
            Self::Done => "`[DONE]` is last, without blanks around it, and added to a complete answer that lacks it",
            Self::NothingSaid => "comments, a byte order mark and events without data, or with blanks, are left out",
            Self::Rewritten => "an event changed so has LF line ends and no blanks between the members of its JSON",
            Self::Closed => "an event that the end of the body leaves open is closed",
        }
    }
}

/// An event as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientEvent {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

impl ClientEvent {
    fn bare(data: impl Into<String>) -> Self {
        Self { name: None, id: None, data: data.into() }
    }
}

/// What a client reads of `text`, by the standard for server-sent events, in which an event without data is none.
pub(super) fn read(text: &str) -> Vec<ClientEvent> {
    let mut events = Vec::new();
    let mut event = ClientEvent::bare("");
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for line in text.split('\n') {
        if line.is_empty() {
            let mut ended = std::mem::replace(&mut event, ClientEvent::bare(""));
            if ended.data.pop().is_some() {
                events.push(ended);
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                event.data.push_str(value);
                event.data.push('\n');
            }
            "event" => event.name = Some(value.to_owned()),
            "id" => event.id = Some(value.to_owned()),
            _ => {}
        }
    }
    events
}

/// What a client is to read of the stream: every event that came, in order, but for what [`Change`] allows.
pub(super) fn expected(odd: &Odd) -> Vec<ClientEvent> {
    let mut events = Vec::new();
    let mut comes_with_pieces = false;
    for event in &odd.events {
        let Some(data) = event.data.text(odd.choices) else { continue };
        // `Change::NothingSaid`
        if data.trim().is_empty() {
            continue;
        }
        let Data::Chunk(chunk) = &event.data else {
            events.push(with_fields(event, data));
            continue;
        };
        let has_usage = chunk.has_usage();
        let has_ended = [Sort::Known, Sort::Renamed, Sort::Unknown].into_iter().any(|sort| chunk.ends(sort));
        if has_usage && !odd.asks_for_usage {
            // `Change::UsageHidden`
            if !chunk.choices.is_empty() {
                events.push(with_fields(event, chunk.rewritten(odd.choices, false)));
            }
        } else if has_usage && has_ended && !comes_with_pieces {
            // `Change::UsageMoved`
            events.push(with_fields(event, chunk.rewritten(odd.choices, false)));
            events.push(ClientEvent::bare(chunk.usage_apart(odd.choices)));
        } else if chunk.ends(Sort::Renamed) {
            // `Change::FinishRenamed`
            events.push(with_fields(event, chunk.rewritten(odd.choices, true)));
        } else {
            events.push(with_fields(event, data));
        }
        comes_with_pieces |= has_usage && !has_ended && !chunk.choices.is_empty();
    }
    // `Change::Done`
    events.push(ClientEvent::bare("[DONE]"));
    events
}

fn with_fields(event: &Event, data: String) -> ClientEvent {
    let value = |name: &str| {
        let line = event.fields.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim_start().to_owned())
    };
    ClientEvent { name: value("event"), id: value("id"), data }
}
