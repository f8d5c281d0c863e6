//! An ensemble: one chat is sent to several models at once, and one of their answers is picked.
//!
//! Members and judge are called through [`Router::call`], like any client, so that strategies, limits and accounting
//! apply. All share one deadline. Members answer as a whole even where the client streams, because only whole answers
//! can be compared; with `first` there is nothing to compare, and the stream of the first one that begins is relayed.
//! Dropping the future cancels every call that is still under way.

mod judge;
mod member;
mod pick;
mod reply;

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use offload::long_work;
use provider::{Error, ErrorKind, Limits, NanoUsd, NoMemory, Operation, Request, RequestId};
use router::{Ensemble, Judge, Pick, RouterError};
use tokio::{sync::OnceCell, time::Instant};

use crate::{Caller, Route, Router, Served};
use judge::Verdict;
use member::{Member, Outcome, attempts_of, cost, cost_of, highest_severity, unusable};
use pick::Picked;
use reply::{Reply, Report};

impl Router {
    /// Sends `request`, a chat, to every member of `ensemble` and returns the answer that it picks.
    ///
    /// A member that fails is left out; only if all fail, so does the ensemble, with the error of the highest severity.
    pub async fn ask(&self, ensemble: &Ensemble, request: &Request, caller: Caller) -> Result<Served, RouterError> {
        let started = Instant::now();
        let deadline = started + ensemble.deadline;
        let deadline = caller.sooner_deadline().map_or(deadline, |sooner| deadline.min(sooner));
        let caller = Caller { route: Route::Ensemble, falls_back: false, deadline: Some(deadline), ..caller };
        let session = Session { router: self, ensemble, request, caller, started, conversation: OnceCell::new() };
        match ensemble.pick {
            Pick::First if request.head.stream => session.relay_first().await,
            Pick::First => session.take_first().await,
            Pick::Longest | Pick::Majority(_) | Pick::Logprob | Pick::Judge(_) => session.compare().await,
        }
    }
}

/// One request to an ensemble.
struct Session<'a> {
    router: &'a Router,
    ensemble: &'a Ensemble,
    request: &'a Request,
    caller: Caller,
    started: Instant,
    /// The conversation as the judge is shown it; the same for every answer.
    conversation: OnceCell<String>,
}

impl Session<'_> {
    /// Waits for all and picks.
    async fn compare(self) -> Result<Served, RouterError> {
        let request = self.for_members().await?;
        let request = request.as_ref().unwrap_or(self.request);
        let members = (0..self.ensemble.members.len()).map(|at| Box::pin(self.judged(at, request)));
        let members = join_all(members).await;
        let ballots: Vec<_> = members.iter().map(Member::ballot).collect();
        match pick::pick(&self.ensemble.pick, &ballots) {
            Some(picked) => self.answer(&members, &picked).await,
            None => Err(highest_severity(members)),
        }
    }

    /// Takes the first answer that has any text, and cancels the other calls.
    async fn take_first(self) -> Result<Served, RouterError> {
        let request = self.for_members().await?;
        let request = request.as_ref().unwrap_or(self.request);
        let calls = (0..self.ensemble.members.len()).map(|at| {
            let member = Box::pin(self.member(at, request));
            async move { (at, member.await) }
        });
        let mut calls: FuturesUnordered<_> = calls.collect();
        let mut members = self.pending();
        let mut winner = None;
        while let Some((at, member)) = calls.next().await {
            let has_text = member.reply().map(|reply| !reply.text.trim().is_empty());
            members[at] = Some(member);
            if has_text == Some(true) {
                winner = Some(at);
                break;
            }
            // An empty answer is better than none.
            if has_text == Some(false) && winner.is_none() {
                winner = Some(at);
            }
        }
        drop(calls);
        let members = self.settled(members);
        match winner {
            Some(winner) => self.answer(&members, &Picked::first(winner, members.len())).await,
            None => Err(highest_severity(members)),
        }
    }

    /// Relays the stream of the first member that begins to answer.
    async fn relay_first(self) -> Result<Served, RouterError> {
        let calls = (0..self.ensemble.members.len()).map(|at| {
            let call = Box::pin(self.router.call(self.request, self.caller(at, None)));
            async move { (at, call.await) }
        });
        let mut calls: FuturesUnordered<_> = calls.collect();
        let mut members = self.pending();
        while let Some((at, outcome)) = calls.next().await {
            let model = &self.ensemble.members[at];
            let mut served = match outcome {
                Ok(served) => served,
                Err(error) => {
                    members[at] = Some(Member::failed(model, error, self.started));
                    continue;
                }
            };
            drop(calls);
            let reply = Reply::begun(&served);
            let member = Member::new(model, Outcome::Answered(reply), served.attempts, None, self.started);
            members[at] = Some(member);
            let members = self.settled(members);
            let report = Report::new(self.ensemble, &members, &Picked::first(at, members.len()));
            served.attempts = members.iter().map(|member| member.attempts).sum();
            served.cost = None;
            served.answer.add(Report::KEY, report.to_json());
            return Ok(served);
        }
        Err(highest_severity(self.settled(members)))
    }

    fn pending(&self) -> Vec<Option<Member>> {
        self.ensemble.members.iter().map(|_| None).collect()
    }

    /// The members, those that are still under way as cancelled.
    fn settled(&self, members: Vec<Option<Member>>) -> Vec<Member> {
        let cancelled = |model: &String| Member::new(model, Outcome::Cancelled, 0, None, self.started);
        let known = members.into_iter().zip(&self.ensemble.members);
        known.map(|(member, model)| member.unwrap_or_else(|| cancelled(model))).collect()
    }

    /// The request as members get it: whole, and with what the pick needs. `None` if it is that already.
    async fn for_members(&self) -> Result<Option<Request>, RouterError> {
        let needs_logprobs = self.ensemble.pick == Pick::Logprob;
        if !self.request.head.stream && !needs_logprobs {
            return Ok(None);
        }
        let length = self.request.body_bytes();
        let reservation = self.caller.memory.reserve(length).map_err(no_memory)?;
        let request = self.request.clone();
        let made = long_work(length, move || {
            let mut rewrite = request.rewrite();
            rewrite.remove("stream").remove("stream_options");
            if needs_logprobs {
                rewrite.set("logprobs", "true");
            }
            Ok(parsed(rewrite.finish())?.holding(reservation))
        });
        made.await.map(Some)
    }

    fn caller(&self, at: usize, judge: Option<&Judge>) -> Caller {
        let id = self.caller.request_id.as_str();
        let (id, model) = match judge {
            None => (format!("{id}.{at}"), &self.ensemble.members[at]),
            Some(judge) => (format!("{id}.{at}.judge"), &judge.model),
        };
        Caller {
            request_id: RequestId::from(id.as_str()),
            model: Some(model.clone()),
            arrived: Instant::now(),
            ..self.caller.clone()
        }
    }

    /// Asks a member and, if the pick wants it, the judge about its answer as soon as that is there.
    async fn judged(&self, at: usize, request: &Request) -> Member {
        let mut member = self.member(at, request).await;
        // An empty answer gets no score, so the judge's call would be paid for nothing.
        let answer = member.reply().filter(|reply| !reply.text.trim().is_empty());
        if let (Pick::Judge(judge), Some(reply)) = (&self.ensemble.pick, answer) {
            let judged = Box::pin(self.ask_judge(judge, at, &reply.text)).await;
            member.verdict = judged.verdict;
            member.judge_cost = judged.cost;
            member.attempts += judged.attempts;
        }
        member
    }

    async fn member(&self, at: usize, request: &Request) -> Member {
        let model = &self.ensemble.members[at];
        let served = match self.router.call(request, self.caller(at, None)).await {
            Ok(served) => served,
            Err(error) => return Member::failed(model, error, self.started),
        };
        let (attempts, cost) = (served.attempts, served.cost);
        match Reply::read(served, &self.caller.memory).await {
            Ok(reply) => Member::new(model, Outcome::Answered(reply), attempts, cost, self.started),
            Err(error) => {
                let failed = RouterError::Failed { error, attempts, retry_after: None };
                Member::new(model, Outcome::Failed(failed), attempts, cost, self.started)
            }
        }
    }

    async fn ask_judge(&self, judge: &Judge, at: usize, answer: &str) -> JudgeReply {
        let has_schema = self.caller.table.follows_schemas(&judge.model);
        let request = self.request.clone();
        let shown = move || judge::conversation(request.field("messages").unwrap_or_default());
        let conversation = self.conversation.get_or_init(|| long_work(self.request.body_bytes(), shown)).await;
        let body = judge::request(judge, conversation, answer, has_schema);
        let called = match parsed(body.into()) {
            Ok(request) => self.router.call(&request, self.caller(at, Some(judge))).await,
            Err(error) => Err(error),
        };
        match called {
            Ok(served) => {
                let (attempts, cost) = (served.attempts, served.cost);
                let verdict =
                    Reply::read(served, &self.caller.memory).await.ok().and_then(|reply| judge::verdict(&reply.text));
                JudgeReply { verdict, attempts, cost }
            }
            Err(error) => JudgeReply { verdict: None, attempts: attempts_of(&error), cost: cost_of(&error) },
        }
    }

    /// The winner's answer, with a report on all members.
    async fn answer(&self, members: &[Member], picked: &Picked) -> Result<Served, RouterError> {
        let Some(reply) = members.get(picked.winner).and_then(Member::reply) else {
            return Err(unusable("the picked answer is gone"));
        };
        let report = Report::new(self.ensemble, members, picked);
        let answer = reply.compose(&report, self.request, &self.caller.memory).await?;
        let mut head = reply.head.clone();
        if self.ensemble.pick == Pick::Logprob && self.request.field("logprobs") != Some("true") {
            head.injected_params.push("logprobs=true".to_owned());
        }
        Ok(Served {
            upstream: reply.upstream.clone(),
            provider: reply.provider,
            attempts: members.iter().map(|member| member.attempts).sum(),
            reason: reply.reason,
            cost: cost(members),
            head,
            answer,
        })
    }
}

/// The result of a call to the judge.
struct JudgeReply {
    verdict: Option<Verdict>,
    attempts: u32,
    cost: Option<NanoUsd>,
}

fn no_memory(none: NoMemory) -> RouterError {
    RouterError::Failed { error: none.into(), attempts: 0, retry_after: None }
}

/// A request of our own making. What goes into it was checked when the client sent it.
fn parsed(body: bytes::Bytes) -> Result<Request, RouterError> {
    let limits = Limits { max_messages: usize::MAX };
    Request::parse(Operation::Chat, body, limits).map_err(|invalid| {
        let error = Error::new(ErrorKind::InvalidRequest, invalid.message);
        RouterError::Failed { error, attempts: 0, retry_after: None }
    })
}
