//! Events as Cerebras sends them.

use std::fmt::Write;

use super::{CEREBRAS, Script, Step};
use crate::{call_log::Usage, inference::Route, reply::quote};

impl Script {
    pub(super) fn cerebras_event(&self, out: &mut String, step: Step) {
        let (choice, inner) = match step {
            Step::Role(choice) => (choice, "\"delta\":{\"role\":\"assistant\"}".to_owned()),
            Step::Thought(at, choice) => {
                (choice, format!("\"delta\":{{\"reasoning\":{}}}", quote(&self.answer.reasoning[at])))
            }
            Step::Piece(at, choice) => {
                let text = quote(&self.pieces(at).concat());
                (
                    choice,
                    if self.route == Route::Chat {
                        format!("\"delta\":{{\"content\":{text}}}")
                    } else {
                        format!("\"text\":{text}")
                    },
                )
            }
            Step::Tool(choice) => {
                let call = self.tool_call(choice, Some(0), &self.answer.text());
                (choice, format!("\"delta\":{{\"tool_calls\":[{call}]}}"))
            }
            Step::Finish(choice) => {
                let text = if self.route == Route::Chat { "\"delta\":{}" } else { "\"text\":\"\"" };
                (choice, format!("{text},\"finish_reason\":\"{}\"", self.answer.finish.name()))
            }
            Step::Usage | Step::Done => return,
        };
        let _ = write!(out, "{{\"index\":{choice},{inner}}}],\"system_fingerprint\":\"{CEREBRAS}\"");
        if matches!(step, Step::Finish(choice) if choice + 1 == self.choices) {
            let _ = write!(out, ",{}", self.cerebras_tail());
        }
    }

    pub(super) fn cerebras_tail(&self) -> String {
        let Usage { prompt, completion } = self.usage;
        let reasoning = self.answer.reasoning.len() * self.choices;
        format!(
            "\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{},\"prompt_tokens_details\":{{\"cached_tokens\":0}},\
             \"completion_tokens_details\":{{\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0,\"reasoning_tokens\":{reasoning}}}}},\
             \"time_info\":{{\"queue_time\":0.000124,\"prompt_time\":0.00216,\"completion_time\":0.016,\"total_time\":0.0213,\"created\":{}}}",
            prompt + completion,
            self.created
        )
    }
}
