//! Odd streams and odd whole answers: a usual answer, changed as the fault says.

mod counts;

use actix_web::{HttpResponse, body::BodyStream, http::header::CONTENT_TYPE};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    call_log::{Entry, Usage},
    fault::{End, OddStream, OddWhole},
    script::Script,
    worker_permit::WorkerPermit,
    written::Written,
};

const DONE: &str = "data: [DONE]\n\n";
const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// A stream written out: its events with the tokens in each, its end and its label.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) events: Vec<(String, u64)>,
    pub(crate) end: End,
    pub(crate) content_type: String,
}

impl Stream {
    /// The stream of a script, changed.
    pub(crate) fn new(script: &Script, odd: &OddStream) -> Self {
        let event = |at: usize| (String::from_utf8_lossy(&script.event(at)).into_owned(), script.tokens_in(at));
        let events = (0..script.len()).map(event).collect();
        let mut stream = Self { events, end: End::Complete, content_type: EVENT_STREAM.to_owned() };
        stream.change(odd);
        stream
    }

    /// The stream as an answer.
    pub(crate) fn respond(
        self,
        headers: Vec<(&'static str, String)>,
        usage: Option<Usage>,
        entry: Entry,
        permit: WorkerPermit,
    ) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        if !self.content_type.is_empty() {
            response.insert_header((CONTENT_TYPE, self.content_type));
        }
        for header in headers {
            response.insert_header(header);
        }
        let pieces = self.events.into_iter().map(|(event, tokens)| (Bytes::from(event), tokens)).collect();
        let written = Written { pieces, end: self.end, entry, usage, permit: Some(permit), due: Instant::now() };
        response.body(BodyStream::new(written.play()))
    }

    fn change(&mut self, odd: &OddStream) {
        match odd {
            OddStream::NullCounts => self.count(&counts::nulls()),
            OddStream::FloatCounts => self.count(&counts::floats()),
            OddStream::TextCounts => self.count(&counts::texts()),
            OddStream::NegativeCounts => self.count(&counts::negatives()),
            OddStream::DoubledUsage => {
                self.drop_usage();
                let usage = "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}";
                self.rewrite_finish(|event| event.replacen("data: {", &format!("data: {{{usage},{usage},"), 1));
            }
            OddStream::PingEvents => self.around(&json!({"type": "ping", "cost": "0"}).to_string(), 1),
            OddStream::NoChoicesFirst => {
                let first = json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "x"});
                self.insert(0, &first.to_string());
            }
            OddStream::ClosingEmptyObject => self.insert(self.done(), "{}"),
            OddStream::NullChoices => {
                let event =
                    json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": null});
                self.around(&event.to_string(), 0);
            }
            OddStream::EmptyError => {
                let mut errors = [json!(""), json!({}), json!(false), Value::Null].into_iter().cycle();
                self.each_chunk(|chunk| chunk["error"] = errors.next().unwrap_or_default());
            }
            OddStream::BlankDone => self.rewrite_done("data: [DONE] \n\n"),
            OddStream::BlankData => self.insert(1, "  "),
            OddStream::TwiceMembers => self.each(twice),
            OddStream::ListDelta => self.finish_chunk(|choice| choice["delta"] = json!([])),
            OddStream::LoneSurrogate => self.first_content("\"\\ud83d\""),
            OddStream::UnknownFinish => self.finish_chunk(|choice| choice["finish_reason"] = json!("done")),
            OddStream::EmptyFinish => self.each_choice(|choice| {
                if choice["finish_reason"].is_null() {
                    choice["finish_reason"] = json!("");
                }
            }),
            OddStream::NoDone => self.events.retain(|(event, _)| event != DONE),
            OddStream::HangAfterFinish | OddStream::CutAfterFinish => {
                self.events.truncate(self.finish() + 1);
                self.end = if *odd == OddStream::HangAfterFinish { End::Hang } else { End::Cut };
            }
            OddStream::NoUsage => self.drop_usage(),
            OddStream::LateContent => {
                let late =
                    self.events.get(self.finish()).and_then(|(event, _)| late_content(event)).unwrap_or_default();
                self.insert(self.finish() + 1, &late.to_string());
            }
            OddStream::LargeEvent { size_bytes } => self.first_content(&format!("\"{}\"", "x".repeat(*size_bytes))),
            OddStream::NamedEvents => {
                let mut numbers = 1..;
                self.each(|event| {
                    format!("event: completion\nid: {}\nretry: 1000\n{event}", numbers.next().unwrap_or(0))
                });
            }
            OddStream::Comments => self.each(|event| format!(": keep-alive\n\n:\n{event}")),
            OddStream::Labelled { content_type } => self.content_type.clone_from(content_type),
            OddStream::ContentParts => self.each_choice(|choice| {
                if let Some(content) = choice.pointer_mut("/delta/content") {
                    *content = json!([{"type": "text", "text": content}]);
                }
            }),
            // Not a stream at all; [`crate::call`] sends the whole answer.
            OddStream::WholeForStream => {}
        }
    }

    /// The place of the last finish.
    fn finish(&self) -> usize {
        let is_finish = |(event, _): &(String, u64)| {
            parse(event).is_some_and(|chunk| chunk["choices"][0]["finish_reason"].is_string())
        };
        self.events.iter().rposition(is_finish).unwrap_or_default()
    }

    fn done(&self) -> usize {
        self.events.iter().rposition(|(event, _)| event == DONE).unwrap_or(self.events.len())
    }

    fn insert(&mut self, at: usize, data: &str) {
        self.events.insert(at, (format!("data: {data}\n\n"), 0));
    }

    /// Inserts an event at a place and after the finish.
    fn around(&mut self, data: &str, at: usize) {
        self.insert(self.finish() + 1, data);
        self.insert(at, data);
    }

    fn each(&mut self, mut change: impl FnMut(&str) -> String) {
        for (event, _) in &mut self.events {
            *event = change(event);
        }
    }

    fn each_chunk(&mut self, mut change: impl FnMut(&mut Value)) {
        self.each(|event| match parse(event) {
            Some(mut chunk) => {
                change(&mut chunk);
                format!("data: {chunk}\n\n")
            }
            None => event.to_owned(),
        });
    }

    fn each_choice(&mut self, mut change: impl FnMut(&mut Value)) {
        self.each_chunk(|chunk| chunk.pointer_mut("/choices/0").into_iter().for_each(&mut change));
    }

    fn finish_chunk(&mut self, change: impl FnMut(&mut Value)) {
        self.rewrite_finish(|event| {
            let mut chunk = parse(event).unwrap_or_default();
            chunk.pointer_mut("/choices/0").into_iter().for_each(change);
            format!("data: {chunk}\n\n")
        });
    }

    fn rewrite_finish(&mut self, change: impl FnOnce(&str) -> String) {
        let finish = self.finish();
        if let Some((event, _)) = self.events.get_mut(finish) {
            *event = change(event);
        }
    }

    fn rewrite_done(&mut self, with: &str) {
        let done = self.done();
        if let Some((event, _)) = self.events.get_mut(done) {
            with.clone_into(event);
        }
    }

    /// Replaces the first piece of content by a JSON literal.
    fn first_content(&mut self, literal: &str) {
        const MARK: &str = "the first content";
        for (event, _) in &mut self.events {
            let Some(mut chunk) = parse(event) else { continue };
            let place =
                if chunk["choices"][0]["text"].is_string() { "/choices/0/text" } else { "/choices/0/delta/content" };
            let Some(place) = chunk.pointer_mut(place) else { continue };
            if place.as_str().is_some_and(|text| !text.is_empty()) {
                *place = json!(MARK);
                *event = format!("data: {}\n\n", chunk.to_string().replacen(&format!("\"{MARK}\""), literal, 1));
                return;
            }
        }
    }

    fn count(&mut self, usage: &Value) {
        self.drop_usage();
        self.each_chunk(|chunk| chunk["usage"] = usage.clone());
    }

    fn drop_usage(&mut self) {
        self.events.retain(|(event, _)| !parse(event).is_some_and(|chunk| chunk["choices"] == json!([])));
        self.each_chunk(|chunk| {
            if let Some(chunk) = chunk.as_object_mut() {
                chunk.shift_remove("usage");
            }
        });
    }
}

/// A whole answer, changed.
pub(crate) fn whole(whole: &str, odd: &OddWhole) -> String {
    let mut body: Value = serde_json::from_str(whole).unwrap_or_default();
    match odd {
        OddWhole::ErrorBeside => {
            body["error"] = json!({"message": "injected fault", "type": "server_error", "param": null, "code": 500});
        }
        OddWhole::FinishError => set(&mut body, "/choices/0/finish_reason", |_| json!("error")),
        OddWhole::NoChoices => body["choices"] = json!([]),
        OddWhole::NullCounts => body["usage"] = counts::nulls(),
        OddWhole::FloatCounts => body["usage"] = counts::floats(),
        OddWhole::ContentParts => set(&mut body, "/choices/0/message/content", |text| {
            let thinking = json!({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]});
            json!([thinking, {"type": "text", "text": text}])
        }),
        OddWhole::ErrTraceback => {
            let traceback = "Traceback (most recent call last):\n  File \"/src/handler.py\", line 1, in handler\nRuntimeError: injected fault\n";
            body = json!({"err": "api", "traceback": traceback});
        }
    }
    body.to_string()
}

/// The finish chunk as one with a piece of content.
fn late_content(finish: &str) -> Option<Value> {
    let mut chunk = parse(finish)?;
    chunk.as_object_mut()?.shift_remove("usage");
    let choice = chunk.pointer_mut("/choices/0")?;
    let (place, content) =
        if choice["text"].is_string() { ("text", json!(" late")) } else { ("delta", json!({"content": " late"})) };
    choice[place] = content;
    choice["finish_reason"] = Value::Null;
    Some(chunk)
}

/// Changes what stands at a path, if something does.
fn set(body: &mut Value, path: &str, with: impl FnOnce(&Value) -> Value) {
    if let Some(value) = body.pointer_mut(path) {
        *value = with(value);
    }
}

fn parse(event: &str) -> Option<Value> {
    serde_json::from_str(event.strip_prefix("data: ")?.trim_end()).ok()
}

/// The event with its `object` and the content of its delta twice.
fn twice(event: &str) -> String {
    let Some(chunk) = parse(event) else { return event.to_owned() };
    let object = format!("\"object\":{},", chunk["object"]);
    let content = format!("\"content\":{}", chunk["choices"][0]["delta"]["content"]);
    event.replacen(&object, &format!("{object}{object}"), 1).replacen(&content, &format!("{content},{content}"), 1)
}
