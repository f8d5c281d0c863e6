//! Carries a request's actions out, one after the other, until an answer is committed or the engine gives up.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use futures_util::StreamExt;
use provider::{Call, Error, ErrorKind, Frame, Reply, ReplyHead, Request, Reservation, Time};
use router::{Action, Attempt, Facts, RouterError, Start, Wishes};
use tokio::time::timeout_at;

use crate::{
    Served,
    answer::Relay,
    context::{RequestContext, Which},
    hedge,
};

/// Most bytes that are held before the first frame with content.
const MAX_HELD: usize = 64 << 10;

/// The part of a request that routing uses, which is one turn of this conversation, and what its client wants for it.
pub(crate) fn facts(
    request: &Request,
    conversation: Option<u64>,
    in_batch: bool,
    team: Option<&str>,
    wishes: Wishes,
) -> Facts {
    Facts {
        operation: request.operation,
        stream: request.head.stream,
        features: request.head.features,
        body_bytes: request.prompt_bytes() as u64,
        prompt_tokens: request.estimated_prompt_tokens(),
        audio_ms: request.head.audio_ms,
        max_tokens: request.head.max_tokens,
        choices: request.head.computed_choices(),
        in_batch,
        team: team.map(hash),
        conversation,
        wishes,
    }
}

fn hash(team: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    team.hash(&mut hasher);
    hasher.finish()
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
            Action::Start(Start { attempt, limit, hedge_at, adjustment }) => {
                context.begins(attempt);
                call.adjustment = adjustment;
                let begun = match hedge_at {
                    None => alone(request, &call, (attempt, limit), &mut context).await,
                    // On the heap, because few requests need the room of two calls.
                    Some(at) => Box::pin(hedge::open(request, &call, (attempt, limit), at, &mut context)).await,
                };
                match begun {
                    Ok((begun, Attempt { target, reason, .. })) => {
                        let upstream = context.state.model().targets()[target].clone();
                        let (head, relay) = commit(request, begun, context);
                        return Ok(Served::new(head, relay, &upstream, reason));
                    }
                    Err(error) => error,
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
pub(crate) struct BegunReply {
    reply: Reply,
    held: VecDeque<Frame>,
    reservation: Reservation,
}

/// Makes the call of `attempt`, which is to have content by `limit`.
async fn alone(
    request: &Request,
    call: &Call,
    (attempt, limit): (Attempt, Time),
    context: &mut RequestContext,
) -> Result<(BegunReply, Attempt), Error> {
    let upstream = context.state.model().targets()[attempt.target].clone();
    let limit = context.clock.instant(limit);
    // Not within the limit: that the ledger is slow is nothing that the upstream did.
    if let Some(recording) = context.recording(Which::First) {
        recording.await?;
    }
    context.sends(Which::First);
    let opening = async {
        let reply = context.table.provider(&upstream).call(request, call).await?;
        context.replied(&reply.head);
        begin(reply, call).await
    };
    match timeout_at(limit, opening).await {
        Ok(begun) => Ok((begun?, attempt)),
        Err(_) => Err(context.overdue(&attempt)),
    }
}

/// Waits for the first frame with content.
pub(crate) async fn begin(mut reply: Reply, call: &Call) -> Result<BegunReply, Error> {
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
        context.counted(frame);
    }
    (reply.head, Relay::new((held, reservation), reply.frames, context, now))
}
