//! A whole answer as a message.

use provider::Malformed;

use super::{
    Asked,
    block::{self, SIGNATURE},
    ending::{self, Ending},
};
use crate::chat::{Answer, Texts, ToolCall, write};

/// The chat completion `completion` as a message, whose id is `id` behind Anthropic's `msg_`.
///
/// Blocks stand in the order in which models make them: thinking (if asked for), text, a refusal's text, calls of tools. An
/// answer that says nothing has none. Without a usage from upstream, `estimated_input_tokens` and a quarter of the answer's
/// bytes are reported.
///
/// # Errors
/// If `completion` is not JSON.
pub fn whole(asked: &Asked, id: &str, estimated_input_tokens: u64, completion: &str) -> Result<Vec<u8>, Malformed> {
    let answer = Answer::read(completion)?;
    let mut out = Vec::with_capacity(completion.len() + 256);
    out.extend_from_slice(b"{\"id\":");
    block::message_id(&mut out, id);
    out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    write::string(&mut out, &asked.model);
    out.extend_from_slice(b",\"content\":[");
    let start = out.len();
    let separate = |out: &mut Vec<u8>| {
        if out.len() > start {
            out.push(b',');
        }
    };
    if asked.shows_thinking && !answer.reasoning.is_empty() {
        out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":");
        text(&mut out, &answer.reasoning);
        out.extend_from_slice(b",\"signature\":");
        write::string(&mut out, SIGNATURE);
        out.push(b'}');
    }
    for said in [&answer.content, &answer.refusal] {
        if !said.is_empty() {
            separate(&mut out);
            out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
            text(&mut out, said);
            out.push(b'}');
        }
    }
    for (at, call) in answer.tool_calls.iter().enumerate() {
        separate(&mut out);
        tool_use(&mut out, call, id, at);
    }
    out.extend_from_slice(b"],");
    let mut ending = Ending {
        is_refusal: !answer.refusal.is_empty(),
        has_calls: !answer.tool_calls.is_empty(),
        ..Ending::default()
    };
    ending.take(answer.finish_reason, answer.stop_sequence);
    ending.write(&mut out);
    out.extend_from_slice(b",\"usage\":");
    let estimated = || ending::estimated(estimated_input_tokens, answer.bytes());
    ending::usage(&mut out, &answer.usage.unwrap_or_else(estimated));
    out.push(b'}');
    Ok(out)
}

fn text(out: &mut Vec<u8>, texts: &Texts<'_>) {
    out.push(b'"');
    texts.iter().for_each(|text| write::copied(out, text));
    out.push(b'"');
}

fn tool_use(out: &mut Vec<u8>, call: &ToolCall<'_>, id: &str, at: usize) {
    out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":\"");
    out.append(&mut block::call_id(call.id, id, at));
    out.extend_from_slice(b"\",\"name\":\"");
    if let Some(name) = call.name {
        write::copied(out, name);
    }
    out.extend_from_slice(b"\",\"input\":");
    block::input(out, call.arguments);
    out.push(b'}');
}
