//! Plays an answer to the client at the model's pace, with the fault of the request in it. It is a stream without a task of
//! its own: when the client disconnects it is dropped, which returns the worker's permit and closes the entry in the call log
//! as cancelled.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    call_log::{Entry, Usage},
    face::Face,
    fault::Fault,
    script::Script,
    settings::Latency,
    socket::Socket,
    worker_permit::WorkerPermit,
};

/// Time for the bytes before a cut to reach the client.
const SETTLE: Duration = Duration::from_millis(20);
/// Time between the parts of a split event, so that they are not joined again.
const APART: Duration = Duration::from_millis(1);
/// Events to a write under [`Fault::Merged`].
const MERGED: usize = 4;

/// Ends a body without its end, which makes the server drop the connection.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("connection cut by a fault")
    }
}

impl std::error::Error for Cut {}

/// What is played.
#[derive(Debug)]
pub(crate) enum Source {
    /// The events of a stream.
    Events(Script),
    /// A whole answer in two halves.
    Halves([Bytes; 2], Script),
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Self::Events(script) => script.len(),
            Self::Halves(..) => 2,
        }
    }

    fn part(&self, at: usize) -> (Bytes, u64) {
        match self {
            Self::Events(script) => (script.event(at), script.tokens_in(at)),
            Self::Halves(halves, script) => (halves[at].clone(), if at == 1 { script.tokens() } else { 0 }),
        }
    }

    fn reported(&self) -> Option<Usage> {
        match self {
            Self::Events(script) => script.reported(true),
            Self::Halves(_, script) => script.reported(false),
        }
    }
}

/// An answer under way.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) face: Face,
    pub(crate) source: Source,
    pub(crate) fault: Fault,
    pub(crate) entry: Entry,
    pub(crate) permit: Option<WorkerPermit>,
    pub(crate) socket: Option<Arc<Socket>>,
    pub(crate) latency: Latency,
    /// How many times slower than usual.
    pub(crate) slowdown: f64,
    /// When the next event is due.
    pub(crate) due: Instant,
    pub(crate) next: usize,
    pub(crate) spare: VecDeque<Bytes>,
    pub(crate) over: bool,
}

/// A step of the player.
enum PlayerStep {
    Send(Bytes),
    Cut,
    End,
}

impl Player {
    /// The body to send.
    pub(crate) fn play(self) -> impl Stream<Item = Result<Bytes, Cut>> + 'static {
        stream::unfold(Box::new(self), |mut player| async move {
            match player.next_step().await {
                PlayerStep::Send(bytes) => Some((Ok(bytes), player)),
                PlayerStep::Cut => Some((Err(Cut), player)),
                PlayerStep::End => None,
            }
        })
    }

    async fn next_step(&mut self) -> PlayerStep {
        if let Some(bytes) = self.spare.pop_front() {
            sleep(APART).await;
            return PlayerStep::Send(bytes);
        }
        if self.over {
            return PlayerStep::End;
        }
        if let Some(step) = self.fault_step().await {
            return step;
        }
        let Some(first) = self.advance().await else {
            self.break_off();
            return PlayerStep::Cut;
        };
        match self.fault {
            Fault::Merged => PlayerStep::Send(self.merge(first).await),
            Fault::Split => self.split(&first, [first.len() / 3, first.len() * 2 / 3]),
            Fault::SplitUtf8 => {
                // The second byte of a multi-byte character starts with the bits 10.
                let inside = first.iter().position(|byte| byte & 0xc0 == 0x80);
                inside.map_or_else(|| PlayerStep::Send(first.clone()), |at| self.split(&first, [at, at]))
            }
            _ => PlayerStep::Send(first),
        }
    }

    /// The fault, if this is its moment.
    async fn fault_step(&mut self) -> Option<PlayerStep> {
        let after = match self.fault {
            Fault::HangAmid { after_events }
            | Fault::ResetAmid { after_events }
            | Fault::EndAmid { after_events }
            | Fault::Garbage { after_events }
            | Fault::InvalidUtf8 { after_events }
            | Fault::ErrorEvent { after_events } => after_events.min(self.source.len() - 1),
            _ => return None,
        };
        if after != self.next {
            return None;
        }
        let step = match std::mem::take(&mut self.fault) {
            Fault::HangAmid { .. } => std::future::pending().await,
            Fault::ResetAmid { .. } => {
                if let Some(socket) = &self.socket {
                    socket.reset_on_close();
                }
                sleep(SETTLE).await;
                self.break_off();
                PlayerStep::Cut
            }
            Fault::EndAmid { .. } => {
                self.break_off();
                PlayerStep::End
            }
            Fault::Garbage { .. } => PlayerStep::Send(Bytes::from_static(b"data: {\"id\":\"chatcmpl-<html>oops\n\n")),
            Fault::InvalidUtf8 { .. } => PlayerStep::Send(Bytes::from_static(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xff\xfe\xc3\"},\"finish_reason\":null}]}\n\n")),
            Fault::ErrorEvent { .. } => {
                self.spare.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
                self.break_off();
                PlayerStep::Send(error_event(self.face))
            }
            _ => return None,
        };
        Some(step)
    }

    /// The next event, once it is due; `None` if everything was broken off meanwhile.
    async fn advance(&mut self) -> Option<Bytes> {
        if self.due > Instant::now() {
            sleep_until(self.due).await;
        }
        if self.permit.as_ref().is_some_and(WorkerPermit::is_severed) {
            return None;
        }
        let (bytes, tokens) = self.source.part(self.next);
        self.next += 1;
        self.entry.emit(tokens);
        self.due += self.gap() * u32::try_from(tokens).unwrap_or(u32::MAX);
        if self.next == self.source.len() {
            self.over = true;
            self.entry.complete(self.source.reported());
            self.permit = None;
        }
        Some(bytes)
    }

    fn gap(&self) -> Duration {
        self.permit.as_ref().map_or(Duration::ZERO, |permit| token_time(permit, self.latency, self.slowdown))
    }

    async fn merge(&mut self, first: Bytes) -> Bytes {
        let mut joined = first.to_vec();
        for _ in 1..MERGED {
            if self.over {
                break;
            }
            let Some(next) = self.advance().await else { break };
            joined.extend_from_slice(&next);
        }
        joined.into()
    }

    fn split(&mut self, bytes: &Bytes, at: [usize; 2]) -> PlayerStep {
        let rest = [bytes.slice(at[0]..at[1]), bytes.slice(at[1]..)];
        self.spare.extend(rest.into_iter().filter(|part| !part.is_empty()));
        PlayerStep::Send(bytes.slice(..at[0]))
    }

    fn break_off(&mut self) {
        self.over = true;
        self.entry.break_off();
        self.permit = None;
    }
}

/// How long one token takes at this moment.
pub(crate) fn token_time(permit: &WorkerPermit, latency: Latency, slowdown: f64) -> Duration {
    let others = f64::from(permit.load().saturating_sub(1));
    permit.state().scaled(slowdown * (1.0 + latency.crowding * others) / latency.tokens_per_s)
}

fn error_event(face: Face) -> Bytes {
    Bytes::from_static(match face {
        Face::RunpodLb | Face::RunpodQueue => b"data: {\"error\":{\"message\":\"EngineCore encountered an issue.\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}\n\n",
        Face::Cerebras => {
            b"data: {\"error\":{\"message\":\"Encountered a server error, please try again.\",\"type\":\"server_error\",\"param\":\"\",\"code\":\"\",\"id\":\"\"},\"status_code\":503}\n\n"
        }
    })
}
