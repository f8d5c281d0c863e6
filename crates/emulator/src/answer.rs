//! The text of an answer: made from the prompt alone, so that the same request always gets the same words. It echoes
//! the last message and goes on with filler up to the wanted number of tokens.

use crate::{
    ask::{Ask, Route},
    reply::quote,
};

const OPENING: [&str; 2] = ["You", "said:"];
const FILLER: [&str; 12] =
    ["Here", "is", "an", "answer", "from", "the", "emulator,", "one", "word", "for", "each", "token."];
/// Used by the faults that need multi-byte characters.
const FOREIGN: [&str; 8] = ["Grüße", "aus", "Zürich:", "日本語", "🙂", "naïve", "café", "Привет"];
const REASONING: [&str; 2] = ["Thinking", " briefly."];
const ECHOED_WORDS: usize = 12;
const LONGEST_WORD: usize = 32;

/// Why an answer ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

impl Finish {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// An answer, one token an element.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) reasoning: Vec<String>,
    pub(crate) pieces: Vec<String>,
    /// The function called, always without arguments.
    pub(crate) tool: Option<String>,
    pub(crate) finish: Finish,
    /// The stop sequence that was hit.
    pub(crate) stopped_at: Option<String>,
}

/// How answers are made on a face.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Tokens of an answer that is not cut short.
    pub(crate) tokens: usize,
    /// Whether the words hold multi-byte characters.
    pub(crate) foreign: bool,
    /// Whether the model thinks first.
    pub(crate) reasons: bool,
}

impl Answer {
    pub(crate) fn compose(ask: &Ask, style: Style) -> Self {
        if let Some(tool) = &ask.forced_tool {
            let finish = Finish::ToolCalls;
            return Self {
                reasoning: Vec::new(),
                pieces: Vec::new(),
                tool: Some(tool.clone()),
                finish,
                stopped_at: None,
            };
        }
        let limit = ask.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let count = style.tokens.max(1).min(limit);
        let finish = if limit < style.tokens { Finish::Length } else { Finish::Stop };
        let thoughts = if style.reasons { REASONING.len().min(count) } else { 0 };
        let reasoning = REASONING[..thoughts].iter().map(|word| (*word).to_owned()).collect();
        let mut pieces: Vec<String> = words(ask, style)
            .take(count - thoughts)
            .enumerate()
            .map(|(at, word)| spaced(at, ask.route, &word))
            .collect();
        if ask.json {
            wrap_json(&mut pieces, ask, finish);
        }
        let mut answer = Self { reasoning, pieces, tool: None, finish, stopped_at: None };
        answer.cut_at_stop(&ask.stop);
        answer
    }

    /// Completion tokens of one choice.
    pub(crate) fn tokens(&self) -> u64 {
        let called = if self.tool.is_some() { 2 } else { 0 };
        (self.reasoning.len() + self.pieces.len()) as u64 + called
    }

    pub(crate) fn text(&self) -> String {
        self.pieces.concat()
    }

    fn cut_at_stop(&mut self, stops: &[String]) {
        let text = self.text();
        let hits = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop)));
        let Some((at, stop)) = hits.min_by_key(|(at, _)| *at) else { return };
        let mut left = at;
        for piece in &mut self.pieces {
            piece.truncate(left);
            left -= piece.len();
        }
        self.pieces.retain(|piece| !piece.is_empty());
        self.finish = Finish::Stop;
        self.stopped_at = Some(stop.clone());
    }
}

fn words(ask: &Ask, style: Style) -> impl Iterator<Item = String> {
    let json = ask.json;
    let echo = ask.last_text.split_whitespace().take(ECHOED_WORDS);
    let echo: Vec<String> = echo.map(|word| clip(word, json)).filter(|word| !word.is_empty()).collect();
    let filler: &[&str] = if style.foreign { &FOREIGN } else { &FILLER };
    let (opening, echo) = if style.foreign { (&[][..], Vec::new()) } else { (&OPENING[..], echo) };
    opening
        .iter()
        .map(|word| (*word).to_owned())
        .chain(echo)
        .chain(filler.iter().cycle().map(|word| (*word).to_owned()))
}

/// The first characters of a word; in JSON only those that need no escape.
fn clip(word: &str, json: bool) -> String {
    word.chars().filter(|letter| !json || letter.is_alphanumeric()).take(LONGEST_WORD).collect()
}

fn spaced(at: usize, route: Route, word: &str) -> String {
    if at == 0 && route == Route::Chat { word.to_owned() } else { format!(" {word}") }
}

/// Puts the text into an object, after the numbers that are asked for, from 0 to 10 by the size of the prompt; one cut short
/// by the limit stays open, as a real one would.
fn wrap_json(pieces: &mut [String], ask: &Ask, finish: Finish) {
    let number = ask.prompt_tokens % 11;
    let numbers: Vec<String> = ask.integers.iter().map(|name| format!("{}:{number},", quote(name))).collect();
    if let Some(first) = pieces.first_mut() {
        first.insert_str(0, &format!("{{{}\"answer\":\"", numbers.concat()));
    }
    if let (Finish::Stop, Some(last)) = (finish, pieces.last_mut()) {
        last.push_str("\"}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const STYLE: Style = Style { tokens: 6, foreign: false, reasons: false };

    fn compose(body: &Value, style: Style) -> Answer {
        Answer::compose(&Ask::read(Route::Chat, body, "m"), style)
    }

    #[test]
    fn the_last_message_is_echoed() {
        let answer = compose(&json!({"messages": [{"content": "hello there"}]}), STYLE);
        assert_eq!(answer.text(), "You said: hello there Here is");
        assert_eq!((answer.tokens(), answer.finish), (6, Finish::Stop));
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let answer = compose(&json!({"max_tokens": 2}), STYLE);
        assert_eq!((answer.text().as_str(), answer.finish), ("You said:", Finish::Length));
    }

    #[test]
    fn a_stop_sequence_ends_the_text_before_it() {
        let answer = compose(&json!({"stop": ["said"]}), STYLE);
        assert_eq!((answer.text().as_str(), answer.tokens()), ("You ", 2));
        assert_eq!(answer.stopped_at.as_deref(), Some("said"));
    }

    #[test]
    fn a_response_format_yields_json() {
        let answer = compose(
            &json!({"messages": [{"content": "say \"hi\""}], "response_format": {"type": "json_object"}}),
            STYLE,
        );
        assert!(serde_json::from_str::<Value>(&answer.text()).unwrap()["answer"].is_string());
        assert_eq!(answer.tokens(), 6);
    }

    #[test]
    fn a_schema_gets_the_numbers_that_it_names() {
        let schema = json!({"properties": {"score": {"type": "integer"}, "why": {"type": "string"}}});
        let format = json!({"type": "json_schema", "json_schema": {"schema": schema}});
        let answer = compose(&json!({"messages": [{"content": "12345"}], "response_format": format}), STYLE);
        let object: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!((&object["score"], object["answer"].is_string()), (&json!(10), true));
    }

    #[test]
    fn thinking_may_eat_the_whole_limit() {
        let answer = compose(&json!({"max_tokens": 1}), Style { reasons: true, ..STYLE });
        assert_eq!((answer.reasoning.len(), answer.pieces.len(), answer.tokens()), (1, 0, 1));
    }
}
