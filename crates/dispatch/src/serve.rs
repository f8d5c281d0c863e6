//! Carries a request's actions out, one after the other, until an answer is committed or the engine gives up.

use std::collections::VecDeque;

use futures_util::StreamExt;
use provider::{Call, Error, ErrorKind, Frame, Reply, ReplyHead, Request, Reservation, Time};
use router::{Action, Facts, RouterError, Start, Upstream};
use tokio::time::timeout_at;

use crate::{Served, answer::Relay, context::RequestContext};

/// Most bytes that are held before the first frame with content.
const MAX_HELD: usize = 64 << 10;

/// The part of a request that routing uses, which is one turn of this conversation.
pub(crate) fn facts(request: &Request, conversation: Option<u64>, in_batch: bool) -> Facts {
    Facts {
        operation: request.operation,
        stream: request.head.stream,
        features: request.head.features,
        body_bytes: request.body_bytes() as u64,
        prompt_tokens: request.estimated_prompt_tokens(),
        max_tokens: request.head.max_tokens,
        choices: request.head.choices(),
        in_batch,
        conversation,
    }
}

/// Serves `request`, which begins now.
pub(crate) async fn serve(
    request: &Request,
    mut call: Call,
    mut context: Box<RequestContext>,
    now: Time,
) -> Result<Served, RouterError> {
    let mut action = context.arrived(now);
    loop {
        let error = match action {
            Action::Start(Start { attempt, limit, adjustment }) => {
                context.begins(attempt);
                call.adjustment = adjustment;
                let upstream = context.state.model().targets()[attempt.target].clone();
                let limit = context.clock.instant(limit);
                match timeout_at(limit, open(&upstream, request, &call, &mut context)).await {
                    Ok(Ok(begun)) => {
                        let (head, relay) = commit(request, begun, context);
                        return Ok(Served::new(head, relay, &upstream, attempt.reason));
                    }
                    Ok(Err(error)) => Some(error),
                    Err(_) => None,
                }
            }
            Action::Wait { until } => {
                context.wait(until).await;
                action = context.timer();
                continue;
            }
            Action::GiveUp(error) => {
                context.gave_up(&error);
                return Err(error);
            }
        };
        action = context.failed(request, error);
    }
}

/// An answer that has begun, and the frames of it that are held.
struct BegunReply {
    reply: Reply,
    held: VecDeque<Frame>,
    reservation: Reservation,
}

/// Sends the request and waits for the first frame with content.
async fn open(
    upstream: &Upstream,
    request: &Request,
    call: &Call,
    context: &mut RequestContext,
) -> Result<BegunReply, Error> {
    let mut reply = context.table.provider(upstream).call(request, call).await?;
    context.replied(&reply.head);
    let mut held = VecDeque::new();
    let mut reservation = call.memory.nothing();
    while let Some(frame) = reply.frames.next().await {
        let frame = frame?;
        let (commits, is_last) = (frame.kind.commits(), frame.kind.is_last());
        // Comments may come without end.
        if frame.bytes.is_empty() && frame.usage.is_none() && !is_last {
            continue;
        }
        if !commits {
            reservation.resize(reservation.bytes() + frame.bytes.len())?;
        }
        held.push_back(frame);
        if commits || reservation.bytes() > MAX_HELD {
            return Ok(BegunReply { reply, held, reservation });
        }
        if is_last {
            break;
        }
    }
    Err(Error::new(ErrorKind::Protocol, "the upstream's answer is empty"))
}

/// Commits the request to this answer.
fn commit(request: &Request, begun: BegunReply, mut context: Box<RequestContext>) -> (ReplyHead, Relay) {
    let BegunReply { reply, held, reservation } = begun;
    let now = context.committed(request, reply.head.quota);
    for frame in &held {
        context.counted(frame.usage);
    }
    (reply.head, Relay::new((held, reservation), reply.frames, context, now))
}
