//! Generates streams that are legal but unusual, and whose content is known.

mod parts;

use std::fmt::Write as _;

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};

use self::parts::{
    BLANKS, ENDS, EXTRAS, FIELDS, LABELS, LINE_ENDS, NOT_ENDED, OTHERS, PIECES, REASONS, STARTS, STOP, USAGES,
};

/// How the bytes come.
#[derive(Debug, Clone)]
pub(crate) enum Reads {
    AtOnce,
    ByteByByte,
    CutAt(Vec<Index>),
}

/// What follows the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// `[DONE]`, written so.
    Done(&'static str),
    /// `[DONE]`, and an event that comes too late.
    DoneAndMore,
    /// The end of the body.
    Clean,
    /// The end of the body amid the last event's blank line.
    Unterminated,
    /// The connection breaks.
    Cut,
    /// Nothing.
    Silence,
}

/// What is between the parts of a JSON text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blanks {
    open: &'static str,
    comma: &'static str,
    colon: &'static str,
}

/// One choice of a chunk.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// Taken modulo the number of choices.
    pub(crate) index: u8,
    /// A member with what it says.
    piece: &'static str,
    /// The finish reason as it is written, with its key and with what is in OpenAI's words.
    pub(crate) reason: Reason,
    logprobs: bool,
}

/// A finish reason as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason {
    key: &'static str,
    /// Its JSON; none if there is no such member.
    value: Option<&'static str>,
    pub(crate) sort: Sort,
}

/// What a finish reason does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// It ends nothing.
    None,
    Known,
    /// It is written as `stop`.
    Renamed,
    Unknown,
}

/// An object with choices, or one that has none.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    choices_key: &'static str,
    pub(crate) choices: Vec<Choice>,
    /// The members called usage.
    pub(crate) usage: Vec<(&'static str, &'static str)>,
    usage_first: bool,
    extra: Option<&'static str>,
    blanks: Blanks,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// A chunk.
    Chunk(Chunk),
    /// JSON that is none.
    Other(&'static str),
    /// No data, or blanks.
    Nothing(Option<&'static str>),
}

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Lines before the data.
    pub(crate) fields: &'static [&'static str],
    pub(crate) data: Data,
    is_spaced: bool,
    line_end: &'static str,
    blank_line: &'static str,
}

/// A stream and what was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Odd {
    pub(crate) label: Option<&'static str>,
    pub(crate) asks_for_usage: bool,
    pub(crate) choices: u8,
    start: &'static str,
    pub(crate) events: Vec<Event>,
    pub(crate) end: End,
    pub(crate) reads: Reads,
    pub(crate) pauses: bool,
}

impl Odd {
    /// The bytes of the stream.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = self.start.to_owned();
        for event in &self.events {
            event.write(self.choices, &mut text);
        }
        match self.end {
            End::Done(done) => _ = write!(text, "data: {done}\n\n"),
            End::DoneAndMore => text.push_str("data: [DONE]\n\ndata: {\"choices\":[]}\n\n"),
            End::Unterminated => text.truncate(text.trim_end_matches(['\n', '\r']).len()),
            // Only the next byte would show whether a line feed belongs to the carriage return, and no byte follows
            // here.
            End::Cut | End::Silence => text.push_str(": end\n\n"),
            End::Clean => {}
        }
        text.into_bytes()
    }
}

impl Event {
    fn write(&self, choices: u8, text: &mut String) {
        let mut line = |line: &str| {
            text.push_str(line);
            text.push_str(self.line_end);
        };
        self.fields.iter().for_each(|field| line(field));
        if let Some(data) = self.data.text(choices) {
            for part in data.split('\n') {
                let space = if self.is_spaced || part.starts_with(' ') { " " } else { "" };
                line(&format!("data:{space}{part}"));
            }
        }
        // A line feed after a carriage return would belong to it.
        let merges = self.line_end == "\r" && self.blank_line == "\n";
        text.push_str(if merges { "\r" } else { self.blank_line });
    }
}

impl Data {
    /// The data as a client reads it.
    pub(crate) fn text(&self, choices: u8) -> Option<String> {
        match self {
            Self::Chunk(chunk) => Some(chunk.text(choices)),
            Self::Other(text) => Some((*text).to_owned()),
            Self::Nothing(blanks) => blanks.map(str::to_owned),
        }
    }
}

impl Chunk {
    fn text(&self, choices: u8) -> String {
        let Blanks { open, comma, .. } = self.blanks;
        let members: Vec<_> = self.members(choices, false).into_iter().flat_map(|(_, members)| members).collect();
        format!("{{{open}{}{open}}}", members.join(comma))
    }

    /// The members by what they are, as they are written, or with finish reasons in OpenAI's words.
    fn members(&self, choices: u8, in_openais_words: bool) -> Vec<(Part, Vec<String>)> {
        let Blanks { colon, comma, .. } = self.blanks;
        let usage = self.usage.iter().map(|(key, value)| format!("\"{key}\"{colon}{value}")).collect();
        let list: Vec<_> =
            self.choices.iter().map(|choice| choice.text(choices, self.blanks, in_openais_words)).collect();
        let list = vec![format!("\"{}\"{colon}[{}]", self.choices_key, list.join(comma))];
        let extra = self.extra.into_iter().map(str::to_owned).collect();
        let mut parts = vec![(Part::Other, extra), (Part::Choices, list), (Part::Usage, usage)];
        if self.usage_first {
            parts.reverse();
        }
        parts
    }

    /// What becomes of the data if it is changed.
    pub(crate) fn rewritten(&self, choices: u8, keeps_usage: bool) -> String {
        let members = self.members(choices, true).into_iter();
        let kept = members.filter(|(part, _)| keeps_usage || *part != Part::Usage);
        object(kept.flat_map(|(_, members)| members))
    }

    /// The usage in an event of its own.
    pub(crate) fn usage_apart(&self, choices: u8) -> String {
        let colon = self.blanks.colon;
        let empty = format!("\"{}\"{colon}[]", self.choices_key);
        let members = self.members(choices, false).into_iter();
        object(members.flat_map(|(part, members)| if part == Part::Choices { vec![empty.clone()] } else { members }))
    }

    pub(crate) fn has_usage(&self) -> bool {
        self.usage.iter().any(|(_, value)| *value != "null")
    }

    pub(crate) fn ends(&self, sort: Sort) -> bool {
        self.choices.iter().any(|choice| choice.reason.sort == sort)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Choices,
    Usage,
    Other,
}

fn object(members: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

impl Choice {
    fn text(&self, choices: u8, blanks: Blanks, in_openais_words: bool) -> String {
        let Blanks { open, comma, colon } = blanks;
        let mut members = vec![format!("\"index\"{colon}{}", self.index % choices), self.piece.to_owned()];
        if self.logprobs {
            members.push(format!("\"logprobs\"{colon}{{\"content\":[{{\"token\":\"x\",\"logprob\":-0.1}}]}}"));
        }
        if let Some(value) = self.reason.value {
            let is_renamed = in_openais_words && self.reason.sort == Sort::Renamed;
            members.push(format!("\"{}\"{colon}{}", self.reason.key, if is_renamed { "\"stop\"" } else { value }));
        }
        format!("{{{open}{}{open}}}", members.join(comma))
    }
}

fn choice(reasons: &'static [Reason]) -> impl Strategy<Value = Choice> {
    (any::<u8>(), select(&PIECES[..]), select(reasons), any::<bool>())
        .prop_map(|(index, piece, reason, logprobs)| Choice { index, piece, reason, logprobs })
}

fn chunk(choices: impl Strategy<Value = Vec<Choice>>) -> impl Strategy<Value = Chunk> {
    let usage = prop_oneof![3 => Just(&[][..]), 2 => select(&USAGES[..])];
    let key = select(&["choices", "choices", "choices", "ch\\u006fices"][..]);
    let blanks = select(&BLANKS[..]);
    (choices, usage, key, any::<bool>(), option::of(select(&EXTRAS[..])), blanks).prop_map(
        |(choices, usage, choices_key, usage_first, extra, blanks)| {
            // An error without choices is one.
            let is_bare = choices.is_empty();
            let extra = extra.filter(|extra| !is_bare || !extra.contains("500") && !extra.contains("FAILED"));
            Chunk { choices_key, choices, usage: usage.to_vec(), usage_first, extra, blanks }
        },
    )
}

fn event(data: impl Strategy<Value = Data>) -> impl Strategy<Value = Event> {
    (select(&FIELDS[..]), data, any::<bool>(), select(&LINE_ENDS[..]), select(&LINE_ENDS[..])).prop_map(
        |(fields, data, is_spaced, line_end, blank_line)| Event { fields, data, is_spaced, line_end, blank_line },
    )
}

fn body_event() -> impl Strategy<Value = Event> {
    let nothing = select(&[None, None, Some(""), Some("   ")][..]);
    event(prop_oneof![
        6 => chunk(vec(choice(&NOT_ENDED), 0..3)).prop_map(Data::Chunk),
        2 => select(&OTHERS[..]).prop_map(Data::Other),
        1 => nothing.prop_map(Data::Nothing),
    ])
}

/// The event that ends one choice, and where it stands.
fn finish() -> impl Strategy<Value = (Event, Index)> {
    let choices = (choice(&REASONS), option::of(choice(&NOT_ENDED)));
    let chunk = chunk(choices.prop_map(|(ended, other)| other.into_iter().chain([ended]).collect()));
    (event(chunk.prop_map(Data::Chunk)), any::<Index>())
}

fn reads() -> impl Strategy<Value = Reads> {
    prop_oneof![
        3 => Just(Reads::AtOnce),
        1 => Just(Reads::ByteByByte),
        8 => vec(any::<Index>(), 1..9).prop_map(Reads::CutAt),
    ]
}

/// Legal streams.
pub(crate) fn odd() -> impl Strategy<Value = Odd> {
    let asked = (any::<bool>(), 1..=3_u8);
    let start = (select(&LABELS[..]), select(&STARTS[..]));
    let finishes = [finish(), finish(), finish()];
    let rest = (select(&ENDS[..]), reads(), any::<bool>());
    (asked, start, vec(body_event(), 0..5), finishes, rest).prop_map(
        |((asks_for_usage, choices), (label, start), mut events, finishes, (end, reads, pauses))| {
            for (index, (mut finish, at)) in (0..choices).zip(finishes) {
                ends_choice(&mut finish, index, end);
                events.insert(at.index(events.len() + 1), finish);
            }
            Odd { label, asks_for_usage, choices, start, events, end, reads, pauses }
        },
    )
}

/// Has `event` end the choice, as surely as the end of the stream asks for. An answer without any content has an end at least.
fn ends_choice(event: &mut Event, index: u8, end: End) {
    let Data::Chunk(chunk) = &mut event.data else { return };
    let Some(last) = chunk.choices.last_mut() else { return };
    last.index = index;
    let is_sure = match end {
        End::Done(_) | End::DoneAndMore => index > 0 || last.reason.sort != Sort::None,
        End::Clean | End::Unterminated => last.reason.sort != Sort::None,
        End::Cut | End::Silence => matches!(last.reason.sort, Sort::Known | Sort::Renamed),
    };
    if !is_sure {
        last.reason = STOP;
    }
}
