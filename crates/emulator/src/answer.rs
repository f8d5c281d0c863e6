//! The text of an answer: made from the prompt alone, so that the same request always gets the same words. It says how
//! many images it saw, echoes the last message or the answer of a tool, and goes on with filler up to the wanted number
//! of tokens. An answer in JSON is as long as its value, one token a word; a limit leaves it open, as a real one would.

use serde_json::json;

use crate::{
    inference::{Format, InferenceRequest, Route},
    schema::{Prompt, fitting},
};

const OPENING: &str = "You said:";
const TOOL_OPENING: &str = "The tool says:";
const FILLER: [&str; 12] =
    ["Here", "is", "an", "answer", "from", "the", "emulator,", "one", "word", "for", "each", "token."];
/// Used by the faults that need multi-byte characters.
const FOREIGN: [&str; 8] = ["Grüße", "aus", "Zürich:", "日本語", "🙂", "naïve", "café", "Привет"];
const REASONING: [&str; 2] = ["Thinking", " briefly."];
const ECHOED_WORDS: usize = 12;
const LONGEST_WORD: usize = 32;
/// Words of a tool's answer that are echoed, and letters of one, which may be a whole JSON document.
const ECHOED_RESULT: (usize, usize) = (64, 512);

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
    /// The text, or the arguments of the call.
    pub(crate) pieces: Vec<String>,
    /// The name of the function called.
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
    /// Whether the answer begins with reasoning.
    pub(crate) reasons: bool,
}

impl Answer {
    pub(crate) fn compose(request: &InferenceRequest, style: Style) -> Self {
        let limit = request.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if let Some(call) = &request.call {
            // The name is a token too.
            let (pieces, finish) = cut(pieces(&call.arguments), limit.saturating_sub(1), Finish::ToolCalls);
            return Self { reasoning: Vec::new(), pieces, tool: Some(call.name.clone()), finish, stopped_at: None };
        }
        let thoughts = if style.reasons { REASONING.len().min(limit) } else { 0 };
        let reasoning = REASONING[..thoughts].iter().map(|word| (*word).to_owned()).collect();
        let all = match &request.format {
            Format::Text => prose(request, style, thoughts),
            Format::Object => pieces(&json!({"answer": echo(request)}).to_string()),
            Format::Schema(schema) => {
                let prompt = Prompt::new(&request.last_text, request.prompt_tokens);
                pieces(&fitting(schema, &prompt).to_string())
            }
            Format::OneOf(texts) => {
                let prompt = Prompt::new(&request.last_text, request.prompt_tokens);
                pieces(fitting(&json!({"enum": texts}), &prompt).as_str().unwrap_or_default())
            }
        };
        let (pieces, finish) = cut(all, limit - thoughts, Finish::Stop);
        let mut answer = Self { reasoning, pieces, tool: None, finish, stopped_at: None };
        answer.cut_at_stop(&request.stop);
        answer
    }

    /// Completion tokens of one choice.
    pub(crate) fn tokens(&self) -> u64 {
        (self.reasoning.len() + self.pieces.len() + usize::from(self.tool.is_some())) as u64
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

/// What the limit leaves of an answer, and why it ends then.
fn cut(mut pieces: Vec<String>, limit: usize, finish: Finish) -> (Vec<String>, Finish) {
    if pieces.len() <= limit {
        return (pieces, finish);
    }
    pieces.truncate(limit);
    (pieces, Finish::Length)
}

/// Plain text of the usual length, thoughts included.
fn prose(request: &InferenceRequest, style: Style, thoughts: usize) -> Vec<String> {
    let filler: &[&str] = if style.foreign { &FOREIGN } else { &FILLER };
    let echo = if style.foreign { String::new() } else { echo(request) };
    let said: Vec<&str> = echo.split(' ').filter(|word| !word.is_empty()).collect();
    let usual = style.tokens.max(1).saturating_sub(thoughts);
    // A tool's answer is repeated even if it takes longer.
    let count = if request.is_tool_result { usual.max(said.len()) } else { usual };
    let all = said.into_iter().chain(filler.iter().copied().cycle());
    all.take(count).enumerate().map(|(at, word)| spaced(at, request.route, word)).collect()
}

/// What the answer says of the prompt, in words with one blank between.
fn echo(request: &InferenceRequest) -> String {
    let (most, longest) = if request.is_tool_result { ECHOED_RESULT } else { (ECHOED_WORDS, LONGEST_WORD) };
    let said = request.last_text.split_whitespace().take(most).map(|word| word.chars().take(longest).collect());
    let seen = match request.images {
        0 => None,
        1 => Some("I see 1 image.".to_owned()),
        images => Some(format!("I see {images} images.")),
    };
    let opening = if request.is_tool_result { TOOL_OPENING } else { OPENING };
    seen.into_iter().chain([opening.to_owned()]).chain(said).collect::<Vec<_>>().join(" ")
}

fn spaced(at: usize, route: Route, word: &str) -> String {
    if at == 0 && route == Route::Chat { word.to_owned() } else { format!(" {word}") }
}

/// A text in its words, as a model streams it: a piece begins with a blank, or behind a comma or a colon.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut was_mark = false;
    for letter in text.chars() {
        if (letter == ' ' || was_mark) && pieces.last().is_some_and(|piece| !piece.is_empty()) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
        was_mark = matches!(letter, ',' | ':');
    }
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const STYLE: Style = Style { tokens: 6, foreign: false, reasons: false };

    fn compose(body: &Value, style: Style) -> Answer {
        Answer::compose(&InferenceRequest::read(Route::Chat, body, "m"), style)
    }

    fn with_schema(schema: &Value, more: &Value) -> Value {
        let format = json!({"type": "json_schema", "json_schema": {"schema": schema}});
        let mut body = json!({"messages": [{"role": "user", "content": "hello there"}], "response_format": format});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
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
    fn any_object_is_enough_for_json_object() {
        let answer = compose(
            &json!({"messages": [{"content": "say \"hi\""}], "response_format": {"type": "json_object"}}),
            STYLE,
        );
        let value: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(value, json!({"answer": "You said: say \"hi\""}));
    }

    #[test]
    fn json_object_keeps_to_a_schema_that_a_message_shows() {
        let schema = json!({"type": "object", "properties": {"vegetarian": {"type": "boolean"}}});
        let messages = json!([
            {"role": "system", "content": format!("Answer in JSON that fits {schema:#}.")},
            {"role": "user", "content": "pasta"}
        ]);
        let answer = compose(&json!({"messages": messages, "response_format": {"type": "json_object"}}), STYLE);
        let value: Value = serde_json::from_str(&answer.text()).unwrap();
        assert!(value["vegetarian"].is_boolean(), "{value}");
    }

    #[test]
    fn a_schema_gets_a_value_word_by_word_wherever_it_stands() {
        let schema = json!({"type": "object", "properties": {"score": {"type": "integer"}, "why": {"type": "string"}}});
        let messages = json!([{"content": "hello there"}]);
        for body in [
            with_schema(&schema, &json!({})),
            json!({"messages": messages, "structured_outputs": {"json": schema}}),
            json!({"messages": messages, "structured_outputs": {"json": schema.to_string()}}),
            json!({"messages": messages, "guided_json": schema}),
        ] {
            let answer = compose(&body, STYLE);
            assert_eq!(answer.text(), "{\"score\":0,\"why\":\"hello there\"}", "11 tokens modulo 11");
            assert_eq!(answer.pieces, ["{\"score\":", "0,", "\"why\":", "\"hello", " there\"}"]);
        }
    }

    #[test]
    fn a_limit_leaves_json_open() {
        let schema = json!({"properties": {"a": {"type": "string"}}});
        let answer = compose(&with_schema(&schema, &json!({"max_tokens": 2})), STYLE);
        assert_eq!((answer.text().as_str(), answer.finish), ("{\"a\":\"hello", Finish::Length));
        let answer = compose(&with_schema(&schema, &json!({"max_tokens": 3})), STYLE);
        assert_eq!((answer.text().as_str(), answer.finish), ("{\"a\":\"hello there\"}", Finish::Stop));
    }

    #[test]
    fn one_of_the_choices_is_the_whole_answer() {
        let outputs = json!({"choice": ["Paris", "Rome"]});
        let said = |text: &str| {
            compose(&json!({"messages": [{"content": text}], "structured_outputs": outputs}), STYLE).text()
        };
        assert_eq!((said("hello").as_str(), said("Is it Rome?").as_str()), ("Paris", "Rome"));
    }

    #[test]
    fn a_tools_answer_is_repeated_whole() {
        let result = format!("{{\"weather\":\"sunny\",\"note\":\"{}\"}}", "warm ".repeat(20));
        let answer = compose(&json!({"messages": [{"role": "tool", "content": result}]}), STYLE);
        let said = result.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(answer.text(), format!("The tool says: {said}"));
    }

    #[test]
    fn images_are_counted() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:,"}});
        let content = json!([{"type": "text", "text": "look"}, image, image]);
        let request =
            InferenceRequest::read(Route::Chat, &json!({"messages": [{"role": "user", "content": content}]}), "m");
        assert_eq!(request.prompt_tokens, 1 + 8 + 2 * 85);
        assert_eq!(Answer::compose(&request, Style { tokens: 7, ..STYLE }).text(), "I see 2 images. You said: look");
    }

    #[test]
    fn arguments_count_against_the_limit_too() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}});
        let tools = json!([{"function": {"name": "f", "parameters": schema}}]);
        let body = json!({"tools": tools, "tool_choice": "required"});
        let answer = compose(&body, STYLE);
        assert_eq!((answer.text().as_str(), answer.tokens()), ("{\"a\":8,\"b\":8}", 5));
        assert_eq!(answer.finish, Finish::ToolCalls);
        let mut short = body;
        short["max_tokens"] = 3.into();
        let answer = compose(&short, STYLE);
        assert_eq!((answer.text().as_str(), answer.finish), ("{\"a\":8,", Finish::Length));
    }

    #[test]
    fn thinking_may_eat_the_whole_limit() {
        let answer = compose(&json!({"max_tokens": 1}), Style { reasons: true, ..STYLE });
        assert_eq!((answer.reasoning.len(), answer.pieces.len(), answer.tokens()), (1, 0, 1));
        assert_eq!(answer.finish, Finish::Length);
    }
}
