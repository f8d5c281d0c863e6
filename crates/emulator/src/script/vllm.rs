//! Events as vLLM sends them.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Script, Step, VLLM};
use crate::{
    inference::{Report, Route},
    reply::quote,
};

impl Script {
    pub(super) fn vllm_event(&self, out: &mut String, step: Step) {
        let (text_open, text_close) =
            if self.route == Route::Chat { ("\"delta\":{\"content\":", "}") } else { ("\"text\":", "") };
        let matched = self.answer.stopped_at.as_deref().map_or_else(|| "null".to_owned(), quote);
        let sent = match step {
            Step::Role(choice) => {
                let _ = write!(
                    out,
                    "{{\"index\":{choice},\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"logprobs\":null,\"finish_reason\":null}}]"
                );
                0
            }
            Step::Thought(at, choice) => {
                let text = quote(&self.answer.reasoning[at]);
                let _ = write!(
                    out,
                    "{{\"index\":{choice},\"delta\":{{\"reasoning\":{text}}},\"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}}]"
                );
                at + 1
            }
            Step::Piece(at, choice) if self.answer.tool.is_some() => {
                let pieces = self.pieces(at);
                let call = json!({"index": 0, "function": {"arguments": pieces.concat()}});
                push_call(out, choice, &call);
                at + pieces.len() + 1
            }
            Step::Piece(at, choice) => {
                let pieces = self.pieces(at);
                let text = quote(&pieces.concat());
                let more =
                    if self.route == Route::Chat { "" } else { "\"stop_reason\":null,\"prompt_token_ids\":null," };
                let _ = write!(
                    out,
                    "{{\"index\":{choice},{text_open}{text}{text_close},\"logprobs\":null,\"finish_reason\":null,{more}\"token_ids\":null}}]"
                );
                at + pieces.len()
            }
            Step::Tool(choice) => {
                push_call(out, choice, &self.tool_call(choice, Some(0), ""));
                1
            }
            Step::Finish(choice) => {
                let text = quote(self.last_piece().map_or("", String::as_str));
                let finish = self.answer.finish.name();
                let more = if self.route == Route::Chat { "" } else { "\"prompt_token_ids\":null," };
                let _ = write!(
                    out,
                    "{{\"index\":{choice},{text_open}{text}{text_close},\"logprobs\":null,\"finish_reason\":\"{finish}\",\"stop_reason\":{matched},{more}\"token_ids\":null}}]"
                );
                usize::MAX
            }
            Step::Usage | Step::Done => {
                out.push(']');
                usize::MAX
            }
        };
        if matches!(step, Step::Usage) || self.report == Report::Always {
            let completion = self.usage.completion.min(sent as u64);
            let total = self.usage.prompt + completion;
            let _ = write!(
                out,
                ",\"usage\":{{\"prompt_tokens\":{},\"total_tokens\":{total},\"completion_tokens\":{completion}}}",
                self.usage.prompt
            );
        }
        match step {
            Step::Role(_) => out.push_str(",\"prompt_token_ids\":null,\"prompt_text\":null"),
            Step::Finish(_) if self.report != Report::Never => {}
            Step::Finish(_) | Step::Usage => {
                let _ = write!(out, ",\"system_fingerprint\":\"{VLLM}\"");
            }
            Step::Thought(..) | Step::Piece(..) | Step::Tool(_) | Step::Done => {}
        }
    }
}

fn push_call(out: &mut String, choice: usize, call: &Value) {
    let _ = write!(
        out,
        "{{\"index\":{choice},\"delta\":{{\"tool_calls\":[{call}]}},\"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}}]"
    );
}
