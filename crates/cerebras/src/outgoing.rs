//! The body for Cerebras, made of the client's by the rules of [`crate::fields`].

use openai::{Outgoing, Served};
use provider::{Adjustment, Call, Error, Operation, ReplyHead, Request, Rewrite};

use crate::{
    exclude::{given, is_gpt_oss, text},
    fields::{Rule, rule},
    format, messages, tools,
    typed::{self, Writer},
};

/// The request as it is sent.
pub(crate) fn outgoing<'a>(
    request: &'a Request,
    served: &'a Served,
    call: &Call,
    model: &str,
) -> Result<Outgoing<'a>, Error> {
    let mut outgoing = Outgoing::new(request, served, call);
    let without = match &call.adjustment {
        Some(Adjustment::Without(name)) => Some(name.as_str()),
        Some(Adjustment::FreshConnection | Adjustment::Limit(_) | Adjustment::Fit(_)) | None => None,
    };
    let (rewrite, head) = (&mut outgoing.rewrite, &mut outgoing.head);
    let dropped = &mut head.dropped_params;
    rewrite.retain(|name, value| {
        let rule = rule(request.operation, &name);
        let (is_null, is_without) = (value == b"null", without == Some(&*name));
        match rule {
            Rule::Rewritten => return true,
            Rule::Pass if !is_without && !is_null => return true,
            Rule::Omit => {}
            Rule::Pass | Rule::Drop if is_null => {}
            Rule::Pass | Rule::Drop => typed::note_dropped(dropped, typed::start_of(&name).to_owned()),
        }
        false
    });
    if request.operation == Operation::Completions {
        // Its value, if there is one, is sent under the older name already.
        rewrite.remove("max_completion_tokens");
    }
    if request.operation == Operation::Chat {
        limit(request, rewrite);
        if !request.head.features.tools {
            // They mean nothing without tools, and are refused there.
            rewrite.remove("tool_choice").remove("parallel_tool_calls");
        }
        effort(request, model, rewrite, head);
        format::constraint(request, rewrite, head)?;
        nested(request, without, &mut outgoing)?;
    }
    Ok(outgoing)
}

/// Sends the client's limit under the one name that is taken in a chat, where the pair is refused.
fn limit(request: &Request, rewrite: &mut Rewrite<'_>) {
    if given(request, "max_completion_tokens") || !given(request, "max_tokens") {
        rewrite.remove("max_tokens");
        return;
    }
    rewrite.remove("max_completion_tokens").rename("max_tokens", "max_completion_tokens");
}

/// Moves an effort that is not known there to the nearest that is.
fn effort(request: &Request, model: &str, rewrite: &mut Rewrite<'_>, head: &mut ReplyHead) {
    if !given(request, "reasoning_effort") {
        rewrite.remove("reasoning_effort");
        return;
    }
    let nearest = match text(request, "reasoning_effort").as_deref() {
        Some("none") if is_gpt_oss(model) => "low",
        Some("minimal") => "low",
        Some("xhigh" | "max") => "high",
        _ => return,
    };
    rewrite.set("reasoning_effort", format!("\"{nearest}\""));
    head.injected_params.push(format!("reasoning_effort={nearest}"));
}

/// Leaves out what Cerebras does not type within the values of fields.
fn nested<'a>(request: &'a Request, without: Option<&str>, outgoing: &mut Outgoing<'a>) -> Result<(), Error> {
    let messages = || request.field("messages").unwrap_or_default();
    let without_member = without.and_then(|name| name.strip_prefix("messages."));
    let mut copy = |field: &'static str, copy: &dyn Fn(&mut Writer<'_>, &str) -> Result<(), Error>| {
        let Some(raw) = request.field(field).filter(|raw| *raw != "null" && without != Some(field)) else {
            return Ok(());
        };
        let mut writer = Writer::new(field, raw.len(), without_member);
        copy(&mut writer, raw)?;
        let (written, dropped) = writer.finish();
        outgoing.rewrite.set(field, written);
        outgoing.head.dropped_params.extend(dropped);
        Ok(())
    };
    // Plain text from the system, the user and the assistant is copied as it came.
    if request.head.has_special_messages || without_member.is_some() {
        copy("messages", &messages::messages)?;
    }
    if request.head.features.tools {
        copy("tools", &tools::tools)?;
        copy("tool_choice", &tools::choice)?;
    }
    copy("response_format", &|writer, raw| format::response_format(writer, raw, messages()))?;
    copy("prediction", &messages::prediction)
}
