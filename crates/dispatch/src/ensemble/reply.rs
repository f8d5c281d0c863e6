//! A member's answer: what is read of it, and what the client gets of the winner's.

use bytes::Bytes;
use futures_util::StreamExt;
use offload::long_work;
use provider::{
    Choice, Completion, Error, ErrorKind, Frame, FrameKind, MemoryBudget, NanoUsd, ReplyHead, Request, Reservation,
    UpstreamId, tree_bytes,
};
use router::{Reason, RouterError};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Ensemble, Member, Outcome, cost,
    member::unusable,
    no_memory,
    pick::{Picked, Score},
};
use crate::{Answer, RequestOutcome, Served, addition::with_member};

/// A member's answer.
pub(super) struct Reply {
    pub(super) upstream: UpstreamId,
    pub(super) provider: &'static str,
    pub(super) reason: Reason,
    pub(super) head: ReplyHead,
    /// Its text; of an answer that only calls tools, the calls.
    pub(super) text: String,
    /// Mean log-probability of its tokens, if the upstream gave any.
    pub(super) logprob: Option<f64>,
    /// A chat completion as it came.
    body: Bytes,
    /// For the text.
    _reservation: Option<Reservation>,
}

impl Reply {
    /// Reads a whole answer to its end.
    pub(super) async fn read(mut served: Served, memory: &MemoryBudget) -> Result<Self, Error> {
        let broken = || Error::new(ErrorKind::Protocol, "the upstream's answer is no chat completion");
        let body = served.answer.next().await.ok_or_else(broken)??.bytes;
        // What is read of it, and the text.
        let mut reservation = memory.reserve(tree_bytes(&body))?;
        let read = body.clone();
        let (reservation, text, logprob) = long_work(body.len(), move || {
            let completion = Completion::read(&String::from_utf8_lossy(&read)).ok()?;
            let choice = completion.choices().next()?;
            let text = text(choice);
            reservation.resize(text.len()).ok()?;
            Some((reservation, text, mean_logprob(choice)))
        })
        .await
        .ok_or_else(broken)?;
        Ok(Self { text, logprob, body, _reservation: Some(reservation), ..Self::begun(&served) })
    }

    /// An answer that is relayed, unread.
    pub(super) fn begun(served: &Served) -> Self {
        Self {
            upstream: served.upstream.clone(),
            provider: served.provider,
            reason: served.reason,
            head: served.head.clone(),
            text: String::new(),
            logprob: None,
            body: Bytes::new(),
            _reservation: None,
        }
    }

    /// The answer for the client, in the form that `request` asks for.
    pub(super) async fn compose(
        &self,
        report: &Report<'_>,
        request: &Request,
        memory: &MemoryBudget,
    ) -> Result<Answer, RouterError> {
        let (body, report, head) = (self.body.clone(), report.to_json(), request.head.clone());
        let frames = long_work(body.len(), move || {
            if head.stream {
                return events(&body, &report, head.include_usage);
            }
            let bytes = with_member(&body, Report::KEY, &report)?;
            Some(vec![Frame { bytes, kind: FrameKind::Whole, usage: None }])
        });
        let mut frames = frames.await.ok_or_else(|| unusable("the answer cannot be relayed"))?;
        for frame in &mut frames {
            let reservation = memory.reserve(frame.bytes.len()).map_err(no_memory)?;
            frame.bytes = reservation.attach(std::mem::take(&mut frame.bytes));
        }
        Ok(Answer::composed(frames))
    }
}

/// The text of a choice; of one that only calls tools, the calls without their ids, which differ where the calls do
/// not.
fn text(choice: Choice<'_>) -> String {
    let content = choice.text();
    let calls = choice.message().and_then(|message| message.get("tool_calls")).and_then(Value::as_array);
    match calls.filter(|calls| content.is_empty() && !calls.is_empty()) {
        Some(calls) => calls.iter().map(|call| call["function"].clone()).collect::<Value>().to_string(),
        None => content.into_owned(),
    }
}

/// The mean log-probability of a choice's tokens, of those that have one.
fn mean_logprob(choice: Choice<'_>) -> Option<f64> {
    let tokens = choice.get("logprobs")?.get("content")?.as_array()?;
    let known = || tokens.iter().filter_map(|token| token["logprob"].as_f64());
    #[expect(clippy::cast_precision_loss, reason = "no answer has 2^52 tokens")]
    let mean = known().sum::<f64>() / known().count() as f64;
    mean.is_finite().then_some(mean)
}

/// A whole answer as the events of a stream: for each choice its role, all its content, and its finish. The report on
/// the ensemble is in the first finish.
fn events(body: &[u8], report: &str, include_usage: bool) -> Option<Vec<Frame>> {
    let completion = Completion::read(std::str::from_utf8(body).ok()?).ok()?;
    let mut frames = Vec::new();
    for choice in completion.choices() {
        let index = choice.get("index").cloned().unwrap_or_else(|| json!(0));
        let mut delta = choice.message().cloned().unwrap_or_default();
        delta.retain(|_, value| !value.is_null());
        let role = delta.remove("role").unwrap_or_else(|| json!("assistant"));
        for (at, call) in delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            if let Some(call) = call.as_object_mut() {
                call.insert("index".to_owned(), at.into());
            }
        }
        let logprobs = choice.get("logprobs").cloned().unwrap_or_default();
        let finish = choice.get("finish_reason").cloned().unwrap_or_default();
        let opening =
            json!({"index": index, "delta": {"role": role, "content": ""}, "logprobs": null, "finish_reason": null});
        let content = json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null});
        let last = json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": finish});
        frames.push(event(FrameKind::Opening, &completion, Some(opening)));
        frames.push(event(FrameKind::Content, &completion, Some(content)));
        frames.push(event(FrameKind::Finish, &completion, Some(last)));
    }
    let finish = frames.iter_mut().find(|frame| frame.kind == FrameKind::Finish)?;
    finish.bytes = with_member(&finish.bytes, Report::KEY, report)?;
    if include_usage {
        frames.push(event(FrameKind::Usage, &completion, None));
    }
    frames.push(Frame::done());
    Some(frames)
}

/// One event: a piece of a choice or, without one, the usage.
fn event(kind: FrameKind, completion: &Completion, choice: Option<Value>) -> Frame {
    #[derive(Serialize)]
    struct Chunk<'a> {
        id: Option<&'a Value>,
        object: &'static str,
        created: Option<&'a Value>,
        model: Option<&'a Value>,
        choices: Vec<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<&'a Value>,
    }
    let chunk = Chunk {
        id: completion.get("id"),
        object: "chat.completion.chunk",
        created: completion.get("created"),
        model: completion.get("model"),
        usage: completion.get("usage").filter(|_| choice.is_none()),
        choices: choice.into_iter().collect(),
    };
    // Values always serialise.
    let json = serde_json::to_string(&chunk).unwrap_or_default();
    Frame { bytes: Bytes::from(format!("data: {json}\n\n")), kind, usage: None }
}

/// The report on the ensemble that the client gets.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    name: &'a str,
    pick: &'static str,
    /// The winner's index among the members.
    winner: usize,
    why: String,
    /// List price of all calls, the judge's included; null if any part is unknown.
    cost_usd: Option<f64>,
    members: Vec<Line<'a>>,
}

/// A member.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    upstream: Option<&'a str>,
    provider: Option<&'static str>,
    score: Option<Score>,
    cost_usd: Option<f64>,
    duration_ms: u64,
    error: Option<&'static str>,
}

impl<'a> Report<'a> {
    /// The name of the object in the reply.
    pub(super) const KEY: &'static str = "ensemble";

    pub(super) fn new(ensemble: &'a Ensemble, members: &'a [Member], picked: &Picked) -> Self {
        let cost = cost(members);
        let unknown = if cost.is_none() { "; not every part of the cost is known" } else { "" };
        Self {
            name: &ensemble.name,
            pick: ensemble.pick.as_str(),
            winner: picked.winner,
            why: format!("{}{unknown}", picked.why),
            cost_usd: cost.map(NanoUsd::usd),
            members: members.iter().zip(&picked.scores).map(|(member, score)| Line::new(member, *score)).collect(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        // Texts and numbers always serialise.
        serde_json::to_string(self).unwrap_or_else(|_| "null".to_owned())
    }
}

impl<'a> Line<'a> {
    fn new(member: &'a Member, score: Option<Score>) -> Self {
        let reply = member.reply();
        Self {
            model: &member.model,
            upstream: reply.map(|reply| reply.upstream.as_str()),
            provider: reply.map(|reply| reply.provider),
            score,
            cost_usd: member.cost.map(NanoUsd::usd),
            duration_ms: u64::try_from(member.duration.as_millis()).unwrap_or(u64::MAX),
            // The kind alone: an upstream's own message may hold what the client must not see.
            error: match &member.outcome {
                Outcome::Answered(_) => None,
                Outcome::Failed(error) => Some(RequestOutcome::from(error).detail()),
                Outcome::Cancelled => Some("cancelled"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
