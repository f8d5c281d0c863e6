//! The order of the events of a streamed response, as a state machine.
//!
//! Written from <https://platform.openai.com/docs/api-reference/responses-streaming> and from the types of the events
//! in openai-python 3.57. It accepts more than one order, and every stream that it accepts is one that a client can
//! follow.

use serde_json::Value;

/// Reads the events of `stream` and checks that each may stand where it does.
///
/// Returns the response of the last event.
///
/// # Panics
/// If one may not, or if the stream does not end with a last event.
pub(crate) fn check(stream: &str) -> Value {
    let mut order = Order::default();
    for event in events(stream) {
        order.next(&event);
    }
    assert!(order.ended.is_some(), "the stream ends with the whole response");
    order.ended.unwrap_or_default()
}

/// The data of all events; comments are passed over.
pub(crate) fn events(stream: &str) -> Vec<Value> {
    assert!(stream.is_empty() || stream.ends_with("\n\n"), "events are whole");
    let all = stream.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    all.map(|event| {
        let mut lines = event.lines();
        let name = lines.next().and_then(|line| line.strip_prefix("event: ")).unwrap_or_default();
        let data = lines.next().and_then(|line| line.strip_prefix("data: ")).unwrap_or_default();
        assert_eq!(lines.next(), None, "an event is two lines: {event}");
        let data: Result<Value, _> = serde_json::from_str(data);
        assert!(data.is_ok(), "{data:?}: {event}");
        let data = data.unwrap_or_default();
        assert_eq!(data["type"], name, "the event's name is its type");
        data
    })
    .collect()
}

/// The string that `value` must be.
fn text(value: &Value) -> &str {
    assert!(value.is_string(), "not a string: {value}");
    value.as_str().unwrap_or_default()
}

/// The array that `value` must be.
fn array(value: &Value) -> &[Value] {
    assert!(value.is_array(), "not an array: {value}");
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[derive(Default)]
struct Order {
    count: u64,
    id: Option<String>,
    is_in_progress: bool,
    items: Vec<Item>,
    ended: Option<Value>,
}

/// An item of the output, as far as its events say.
#[derive(Default)]
struct Item {
    id: String,
    kind: String,
    parts: Vec<Part>,
    /// The arguments or the input of a call.
    arguments: String,
    has_arguments: bool,
    /// As its last event has it.
    done: Option<Value>,
}

/// A part of a content.
#[derive(Default)]
struct Part {
    kind: String,
    text: String,
    is_text_done: bool,
    is_done: bool,
}

/// The member of a part, and of the event at the end of its text, that holds the text.
fn text_member(kind: &str) -> &'static str {
    if kind == "refusal" { "refusal" } else { "text" }
}

impl Order {
    fn next(&mut self, event: &Value) {
        assert!(self.ended.is_none(), "nothing follows the last event: {event}");
        assert_eq!(event["sequence_number"], self.count, "events are numbered without gaps: {event}");
        self.count += 1;
        let kind = text(&event["type"]);
        match kind {
            "response.created" => {
                assert_eq!(self.count, 1, "it is created once, first");
                self.response(event, "in_progress");
            }
            "response.in_progress" => {
                assert!(self.count > 1, "{event}");
                self.is_in_progress = true;
                let response = self.response(event, "in_progress").clone();
                self.is_so_far(array(&response["output"]));
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.ends(event, kind.trim_start_matches("response."));
            }
            _ => {
                assert!(self.is_in_progress, "items come once the response is in progress: {event}");
                self.item_event(kind, event);
            }
        }
    }

    fn response<'a>(&mut self, event: &'a Value, status: &str) -> &'a Value {
        let response = &event["response"];
        let id = text(&response["id"]);
        assert!(id.starts_with("resp_"), "{id}");
        assert_eq!(self.id.get_or_insert_with(|| id.to_owned()), id, "the response is the same one");
        assert_eq!((response["object"].as_str(), response["status"].as_str()), (Some("response"), Some(status)));
        for required in ["created_at", "model", "output", "parallel_tool_calls", "tool_choice", "tools", "error"] {
            assert!(response.get(required).is_some(), "a response has '{required}'");
        }
        assert_eq!(response["store"], false, "nothing is stored");
        response
    }

    /// A client may take the response of an event that says that it is in progress for the one so far.
    fn is_so_far(&self, output: &[Value]) {
        assert_eq!(output.len(), self.items.len(), "all items are in the response");
        for (item, so_far) in self.items.iter().zip(output) {
            if let Some(done) = &item.done {
                assert_eq!(done, so_far, "an item stays as it was done");
                continue;
            }
            assert_eq!((&so_far["id"], &so_far["status"]), (&item.id.clone().into(), &"in_progress".into()));
            let parts = so_far["content"].as_array().map(Vec::as_slice).unwrap_or_default();
            assert_eq!(parts.len(), item.parts.len(), "{so_far}");
            for (part, said) in parts.iter().zip(&item.parts) {
                assert_eq!(part[text_member(&said.kind)], said.text, "{so_far}");
            }
            if item.kind == "function_call" {
                assert_eq!(so_far["arguments"], item.arguments, "{so_far}");
            }
        }
    }

    fn ends(&mut self, event: &Value, status: &str) {
        assert!(self.is_in_progress, "it was in progress: {event}");
        let response = self.response(event, status).clone();
        let output = array(&response["output"]);
        assert_eq!(output.len(), self.items.len(), "all items are in the response");
        for (item, last) in self.items.iter().zip(output) {
            match &item.done {
                Some(done) => assert_eq!(done, last, "an item stays as it was done"),
                None => {
                    assert_eq!((status, &last["status"]), ("failed", &Value::from("incomplete")), "items are done");
                }
            }
        }
        assert_eq!(response["incomplete_details"].is_null(), status != "incomplete", "{response}");
        assert_eq!(response["error"].is_null(), status != "failed", "{response}");
        self.ended = Some(response);
    }

    fn item_event(&mut self, kind: &str, event: &Value) {
        assert!(event["output_index"].is_u64(), "{event}");
        let at = event["output_index"].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
        if kind == "response.output_item.added" {
            assert_eq!(at, self.items.len(), "items are added in order: {event}");
            self.added(&event["item"]);
            return;
        }
        let item = self.items.get_mut(at);
        assert!(item.as_ref().is_some_and(|item| item.done.is_none()), "the item was added, and is not done: {event}");
        let Some(item) = item else { return };
        if kind == "response.output_item.done" {
            item.ends(&event["item"]);
            return;
        }
        assert_eq!(event["item_id"], item.id, "{event}");
        match kind {
            "response.content_part.added" => item.part_added(event),
            "response.content_part.done" => item.part_done(event),
            "response.output_text.delta" => item.delta(event, "output_text"),
            "response.refusal.delta" => item.delta(event, "refusal"),
            "response.reasoning_text.delta" => item.delta(event, "reasoning_text"),
            "response.output_text.done" => item.text_done(event, "output_text"),
            "response.refusal.done" => item.text_done(event, "refusal"),
            "response.reasoning_text.done" => item.text_done(event, "reasoning_text"),
            "response.function_call_arguments.delta" => item.more_arguments(event, "function_call"),
            "response.custom_tool_call_input.delta" => item.more_arguments(event, "custom_tool_call"),
            "response.function_call_arguments.done" => item.arguments_done(event, "function_call", "arguments"),
            "response.custom_tool_call_input.done" => item.arguments_done(event, "custom_tool_call", "input"),
            _ => unreachable!("an unknown event: {event}"),
        }
    }

    fn added(&mut self, item: &Value) {
        let (id, kind) = (text(&item["id"]), text(&item["type"]));
        assert!(!id.is_empty() && self.items.iter().all(|other| other.id != id), "ids are unique: {id}");
        assert_eq!(item["status"], "in_progress", "{item}");
        match kind {
            "message" => assert_eq!((&item["role"], &item["content"]), (&"assistant".into(), &Value::Array(vec![]))),
            "reasoning" => assert_eq!(item["summary"], Value::Array(vec![])),
            "function_call" => assert!(item["name"].is_string() && item["arguments"] == ""),
            "custom_tool_call" => assert!(item["name"].is_string() && item["input"] == ""),
            "tool_search_call" => assert_eq!(item["execution"], "client"),
            _ => unreachable!("an unknown item: {item}"),
        }
        if kind.ends_with("_call") {
            assert!(item["call_id"].as_str().is_some_and(|id| !id.is_empty()), "{item}");
        }
        self.items.push(Item { id: id.to_owned(), kind: kind.to_owned(), ..Item::default() });
    }
}

impl Item {
    fn part_added(&mut self, event: &Value) {
        assert!(self.parts.iter().all(|part| part.is_done), "one part after another: {event}");
        assert_eq!(event["content_index"], self.parts.len(), "{event}");
        let kind = text(&event["part"]["type"]).to_owned();
        assert_eq!(kind == "reasoning_text", self.kind == "reasoning", "{event}");
        assert_eq!(event["part"][text_member(&kind)], "", "a part is added empty");
        self.parts.push(Part { kind, ..Part::default() });
    }

    /// The part that an event is about: the last one, as long as it is not done.
    fn part(&mut self, event: &Value, kind: &str) -> &mut Part {
        assert_eq!(event["content_index"], self.parts.len().saturating_sub(1), "{event}");
        let part = self.parts.last().filter(|part| !part.is_done && part.kind == kind);
        assert!(part.is_some(), "the part was added, and is not done: {event}");
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    fn delta(&mut self, event: &Value, kind: &str) {
        let part = self.part(event, kind);
        assert!(!part.is_text_done, "{event}");
        assert_eq!(event["logprobs"].is_array(), kind == "output_text", "{event}");
        part.text.push_str(text(&event["delta"]));
    }

    fn text_done(&mut self, event: &Value, kind: &str) {
        let part = self.part(event, kind);
        assert_eq!(event[text_member(kind)], part.text, "the text is what its deltas said");
        assert!(!std::mem::replace(&mut part.is_text_done, true), "{event}");
    }

    fn part_done(&mut self, event: &Value) {
        let kind = text(&event["part"]["type"]).to_owned();
        let part = self.part(event, &kind);
        assert!(part.is_text_done, "its text is done first: {event}");
        assert_eq!(event["part"][text_member(&kind)], part.text);
        part.is_done = true;
    }

    fn more_arguments(&mut self, event: &Value, kind: &str) {
        assert!(self.kind == kind && !self.has_arguments, "{event}");
        self.arguments.push_str(text(&event["delta"]));
    }

    fn arguments_done(&mut self, event: &Value, kind: &str, member: &str) {
        assert!(self.kind == kind && !self.has_arguments, "{event}");
        assert_eq!(event[member], self.arguments, "the arguments are what their deltas said");
        self.has_arguments = true;
    }

    fn ends(&mut self, item: &Value) {
        assert_eq!((&item["id"], &item["type"]), (&self.id.clone().into(), &self.kind.clone().into()));
        assert!(matches!(item["status"].as_str(), Some("completed" | "incomplete")), "{item}");
        match self.kind.as_str() {
            "message" | "reasoning" => {
                let parts = array(&item["content"]);
                assert_eq!(parts.len(), self.parts.len(), "{item}");
                for (part, said) in parts.iter().zip(&self.parts) {
                    assert!(said.is_done, "its parts are done first");
                    assert_eq!(
                        (&part["type"], &part[text_member(&said.kind)]),
                        (&said.kind.clone().into(), &said.text.clone().into())
                    );
                }
            }
            "function_call" => assert!(self.has_arguments && item["arguments"] == self.arguments, "{item}"),
            "custom_tool_call" => assert!(self.has_arguments && item["input"] == self.arguments, "{item}"),
            _ => assert!(item["arguments"].is_object(), "{item}"),
        }
        self.done = Some(item.clone());
    }
}
