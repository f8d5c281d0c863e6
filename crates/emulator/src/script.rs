//! An answer as it goes over the wire: the events of a stream, rendered one by one as they are due, or a whole body.
//! Field order and the many nulls are those of recorded answers.

mod cerebras;
mod vllm;

use std::fmt::Write;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Finish},
    call_log::Usage,
    inference::{InferenceRequest, Report, Route},
    reply::quote,
};

const VLLM: &str = "vllm-0.27.1-f5f8b4ee";
const CEREBRAS: &str = "fp_8ccc6b3a43d0a6d2c1f5";

/// Whose wire format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    Vllm,
    Cerebras,
}

/// One event of a stream; the first number is a thought or the first of some pieces, the last one a choice.
#[derive(Clone, Copy, Debug)]
enum Step {
    Role(usize),
    Thought(usize, usize),
    Piece(usize, usize),
    /// The call of a function: at vLLM its name, and the arguments follow in pieces; at Cerebras all of it.
    Tool(usize),
    Finish(usize),
    Usage,
    Done,
}

/// An answer ready to be sent.
#[derive(Debug)]
pub(crate) struct Script {
    dialect: Dialect,
    route: Route,
    answer: Answer,
    choices: usize,
    logprobs: bool,
    /// Pieces that an event carries.
    pieces_at_once: usize,
    report: Report,
    usage: Usage,
    id: u64,
    created: u64,
    open: String,
    steps: Vec<Step>,
}

impl Script {
    pub(crate) fn new(
        dialect: Dialect,
        request: &InferenceRequest,
        answer: Answer,
        pieces_at_once: usize,
        id: u64,
        created: u64,
    ) -> Self {
        let (prefix, object) = match (request.route, request.stream) {
            (Route::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
            (Route::Chat, false) => ("chatcmpl", "chat.completion"),
            (Route::Completions | Route::Embeddings | Route::Passed(_), _) => ("cmpl", "text_completion"),
        };
        let open = format!(
            "{{\"id\":\"{prefix}-{id:016x}\",\"object\":\"{object}\",\"created\":{created},\"model\":{},\"choices\":[",
            quote(&request.model)
        );
        let usage = Usage { prompt: request.prompt_tokens, completion: answer.tokens() * request.choices as u64 };
        let choices = request.choices;
        let mut script = Self {
            dialect,
            route: request.route,
            answer,
            choices,
            logprobs: request.logprobs,
            pieces_at_once,
            report: request.report,
            usage,
            id,
            created,
            open,
            steps: Vec::new(),
        };
        script.plan();
        script
    }

    /// Number of events.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// What the answer reports; `None` when it reports nothing.
    pub(crate) fn reported(&self, stream: bool) -> Option<Usage> {
        (!stream || self.report != Report::Never || self.dialect == Dialect::Cerebras).then_some(self.usage)
    }

    /// Completion tokens of the answer, reported or not.
    pub(crate) const fn tokens(&self) -> u64 {
        self.usage.completion
    }

    /// Tokens an event carries.
    pub(crate) fn tokens_in(&self, at: usize) -> u64 {
        match self.steps[at] {
            Step::Thought(..) => 1,
            Step::Piece(from, _) => self.pieces(from).len() as u64,
            Step::Tool(_) if self.dialect == Dialect::Vllm => 1,
            Step::Tool(_) => self.answer.tokens(),
            Step::Finish(_) if self.last_piece().is_some() => 1,
            Step::Role(_) | Step::Finish(_) | Step::Usage | Step::Done => 0,
        }
    }

    /// One event of the stream.
    pub(crate) fn event(&self, at: usize) -> Bytes {
        let step = self.steps[at];
        if matches!(step, Step::Done) {
            return Bytes::from_static(b"data: [DONE]\n\n");
        }
        let mut out = String::with_capacity(self.open.len() + 160);
        out.push_str("data: ");
        out.push_str(&self.open);
        match self.dialect {
            Dialect::Vllm => self.vllm_event(&mut out, step),
            Dialect::Cerebras => self.cerebras_event(&mut out, step),
        }
        out.push_str("}\n\n");
        out.into()
    }

    /// The whole answer.
    pub(crate) fn whole(&self) -> String {
        let mut out = self.open.clone();
        for choice in 0..self.choices {
            if choice > 0 {
                out.push(',');
            }
            self.whole_choice(&mut out, choice);
        }
        let Usage { prompt, completion } = self.usage;
        let total = prompt + completion;
        match (self.dialect, self.route) {
            (Dialect::Cerebras, _) => {
                let _ = write!(out, "],\"system_fingerprint\":\"{CEREBRAS}\",{}}}", self.cerebras_tail());
            }
            (Dialect::Vllm, route) => {
                let chat = if route == Route::Chat {
                    "\"prompt_logprobs\":null,\"prompt_token_ids\":null,\"prompt_text\":null,"
                } else {
                    ""
                };
                let _ = write!(
                    out,
                    "],\"service_tier\":null,\"system_fingerprint\":\"{VLLM}\",\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{total},\"completion_tokens\":{completion},\
                     \"prompt_tokens_details\":null}},{chat}\"kv_transfer_params\":null,\"ec_transfer_params\":null,\"metrics\":null}}"
                );
            }
        }
        out
    }

    fn plan(&mut self) {
        let each = 0..self.choices;
        let mut steps = Vec::with_capacity(self.choices * (self.answer.pieces.len() + 2) + 2);
        if self.route == Route::Chat {
            steps.extend(each.clone().map(Step::Role));
        }
        for at in 0..self.answer.reasoning.len() {
            steps.extend(each.clone().map(|choice| Step::Thought(at, choice)));
        }
        if self.answer.tool.is_some() {
            steps.extend(each.clone().map(Step::Tool));
        }
        let is_apart = self.answer.tool.is_none() || self.dialect == Dialect::Vllm;
        let alone = if is_apart { self.lone_pieces().len() } else { 0 };
        for at in (0..alone).step_by(self.pieces_at_once) {
            steps.extend(each.clone().map(|choice| Step::Piece(at, choice)));
        }
        steps.extend(each.map(Step::Finish));
        if self.dialect == Dialect::Vllm && self.report != Report::Never {
            steps.push(Step::Usage);
        }
        steps.push(Step::Done);
        self.steps = steps;
    }

    /// The pieces of an answer that come in events of their own.
    fn lone_pieces(&self) -> &[String] {
        &self.answer.pieces[..self.answer.pieces.len() - usize::from(self.last_piece().is_some())]
    }

    /// Those of the event that begins with this one.
    fn pieces(&self, from: usize) -> &[String] {
        let pieces = self.lone_pieces();
        &pieces[from..pieces.len().min(from + self.pieces_at_once)]
    }

    /// vLLM sends the last piece of an answer that hit the limit together with the finish reason.
    fn last_piece(&self) -> Option<&String> {
        let joined =
            self.dialect == Dialect::Vllm && self.answer.finish == Finish::Length && self.answer.tool.is_none();
        self.answer.pieces.last().filter(|_| joined)
    }

    fn whole_choice(&self, out: &mut String, choice: usize) {
        let finish = self.answer.finish.name();
        let text = if self.answer.tool.is_some() { "null".to_owned() } else { quote(&self.answer.text()) };
        let reasoning = self.answer.reasoning.concat();
        let tools = if self.answer.tool.is_some() {
            format!(",\"tool_calls\":[{}]", self.tool_call(choice, None, &self.answer.text()))
        } else {
            String::new()
        };
        let stop = self.answer.stopped_at.as_deref().map_or_else(|| "null".to_owned(), quote);
        let _ = match (self.dialect, self.route) {
            (Dialect::Vllm, Route::Chat) => write!(
                out,
                "{{\"index\":{choice},\"message\":{{\"role\":\"assistant\",\"content\":{text},\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null{tools},\"reasoning\":null}},\
                 \"logprobs\":{},\"finish_reason\":\"{finish}\",\"stop_reason\":{stop},\"token_ids\":null,\"routed_experts\":null}}",
                self.logprobs()
            ),
            (Dialect::Vllm, _) => write!(
                out,
                "{{\"index\":{choice},\"text\":{text},\"logprobs\":null,\"finish_reason\":\"{finish}\",\"stop_reason\":{stop},\"token_ids\":null,\"prompt_logprobs\":null,\"prompt_token_ids\":null,\
                 \"routed_experts\":null}}"
            ),
            (Dialect::Cerebras, Route::Chat) => {
                let thoughts =
                    if reasoning.is_empty() { String::new() } else { format!(",\"reasoning\":{}", quote(&reasoning)) };
                write!(
                    out,
                    "{{\"index\":{choice},\"finish_reason\":\"{finish}\",\"message\":{{\"role\":\"assistant\",\"content\":{text}{thoughts}{tools}}}}}"
                )
            }
            (Dialect::Cerebras, _) => {
                write!(out, "{{\"index\":{choice},\"finish_reason\":\"{finish}\",\"text\":{text}}}")
            }
        };
    }

    /// How likely each token was: the longer, the less. Only vLLM's whole chats have it.
    fn logprobs(&self) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let tokens = self.answer.pieces.iter().map(|token| {
            #[expect(clippy::cast_precision_loss, reason = "words are short")]
            let logprob = -(token.len() as f64) / 100.0;
            json!({"token": token, "logprob": logprob, "bytes": token.as_bytes(), "top_logprobs": []})
        });
        json!({"content": tokens.collect::<Vec<_>>()})
    }

    fn tool_call(&self, choice: usize, index: Option<usize>, arguments: &str) -> Value {
        let name = self.answer.tool.as_deref().unwrap_or_default();
        let id = format!("call_{:016x}{choice:02}", self.id);
        let mut call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        if let Some(index) = index {
            call["index"] = index.into();
        }
        call
    }
}
