//! One request on its way: moves its state in the engine, records its attempts, and sends one event for the end of each
//! attempt and one for the end of the request, even if it is dropped. A drop is an event of the engine as well: the
//! client left.

mod hedged;

use std::{sync::Arc, time::Duration};

use provider::{Error, Frame, NanoUsd, Quota, ReplyHead, Request, Time};
use rand::rngs::SmallRng;
use router::{Action, Attempt, Engine, RequestState, Role, RouterError, Upstream};
use tokio::{sync::Notify, time::timeout_at};

use crate::{
    attempt::UpstreamCall,
    clock::Clock,
    event::{AttemptEnded, Event, EventSink, Failure, Outcome, Recording, RequestEnded, RequestInfo, RequestOutcome},
    record::{Closed, Draft, RecordSink},
    table::Table,
};

/// What the request spends its time on at the moment.
#[derive(Clone, Copy)]
enum Activity {
    Deciding,
    /// It has waited for an upstream since then.
    Calling(Time),
    /// It has waited for its next attempt since then.
    Waiting(Time),
}

/// One of the calls of a request that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The only one, or the one that began first.
    First,
    /// The one that began beside it.
    Second,
}

/// A call that is over.
struct ClosedCall {
    /// From the request's arrival to the call.
    begun: Duration,
    ended: AttemptEnded,
}

/// A request on its way.
pub(crate) struct RequestContext {
    pub(crate) info: Arc<RequestInfo>,
    pub(crate) sink: Arc<EventSink>,
    pub(crate) clock: Clock,
    pub(crate) state: RequestState,
    /// The table that it is served by.
    pub(crate) table: Arc<Table>,
    rng: SmallRng,
    /// When the whole request was there.
    arrived: Time,
    /// The latest call; where two are under way, the first of them.
    latest: Option<UpstreamCall>,
    /// The second call, while two are under way.
    rival: Option<Box<UpstreamCall>>,
    /// How many calls have begun.
    calls: u32,
    failures: Vec<Failure>,
    activity: Activity,
    /// Wakes it while it waits; `None` before it waits for the first time.
    wakes: Option<Arc<Notify>>,
    /// Time in calls that are over.
    upstream_time: Duration,
    wait_time: Duration,
    first_token: Option<Duration>,
    /// Its record, if requests are recorded.
    record: Option<Draft>,
    is_over: bool,
}

impl RequestContext {
    pub(crate) fn new(
        info: Arc<RequestInfo>,
        sink: Arc<EventSink>,
        clock: Clock,
        (table, state): (Arc<Table>, RequestState),
        rng: SmallRng,
        arrived: Time,
    ) -> Self {
        let record = sink.records.as_ref().map(RecordSink::begin);
        Self {
            info,
            sink,
            clock,
            state,
            table,
            rng,
            arrived,
            latest: None,
            rival: None,
            calls: 0,
            failures: Vec::new(),
            activity: Activity::Deciding,
            wakes: None,
            upstream_time: Duration::ZERO,
            wait_time: Duration::ZERO,
            first_token: None,
            record,
            is_over: false,
        }
    }

    /// Does `work` with the engine, under the lock of the model's group.
    fn engine<R>(&mut self, work: impl FnOnce(&mut Engine, &mut RequestState, &mut SmallRng) -> R) -> R {
        let Self { table, state, rng, .. } = self;
        table.with(state.model().group, |engine| work(engine, state, rng))
    }

    /// The same for work that decides. The decision is recorded unless a call has begun already. If the request is to wait,
    /// it can be woken from then on.
    fn decide(&mut self, work: impl FnOnce(&mut Engine, &mut RequestState, &mut SmallRng) -> Action) -> Action {
        let Self { table, state, rng, record, latest, wakes, .. } = self;
        table.with_waiting(state.model().group, |engine, waiting| {
            let action = work(engine, state, rng);
            if let Some(record) = record.as_mut().filter(|_| latest.is_none()) {
                record.take_decision(engine);
            }
            match action {
                Action::Wait { .. } => waiting.insert(state.number(), wakes.get_or_insert_default().clone()),
                Action::Start(_) | Action::GiveUp(_) if wakes.is_some() => waiting.remove(state.number()),
                Action::Start(_) | Action::GiveUp(_) => {}
            }
            action
        })
    }

    /// The upstream of the latest call.
    pub(crate) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.latest.as_ref().map(|call| call.upstream(self.state.model()))
    }

    /// The head of the answer came.
    pub(crate) fn replied(&mut self, head: &ReplyHead) {
        if let Some(call) = &mut self.latest {
            call.progress.replied(head);
        }
    }

    /// A frame is relayed.
    pub(crate) fn relays(&mut self, frame: &Frame) {
        if let Some(call) = &mut self.latest {
            call.progress.record(frame, self.state.facts().operation.generates());
        }
    }

    /// Records what a frame counts that is still held: the headers of a whole answer carry its price, and go out before
    /// its only frame is relayed.
    pub(crate) fn counted(&mut self, frame: &Frame) {
        if let Some(call) = &mut self.latest {
            call.progress.count(frame);
        }
    }

    /// The list price of the answer, if it is counted already.
    pub(crate) fn cost(&self) -> Option<NanoUsd> {
        self.latest.as_ref()?.cost(self.state.model())
    }

    /// Sets the request's fingerprint: a hash of its content and its client's key.
    fn identify(&mut self, request: &Request) {
        if self.state.fingerprint().is_none() {
            self.state.identify(request.fingerprint(self.info.key.as_deref().unwrap_or_default()));
        }
    }

    /// The request begins.
    pub(crate) fn arrived(&mut self, now: Time) -> Action {
        self.decide(|engine, state, rng| engine.arrived(state, now, rng))
    }

    /// Waits until then, or until it is woken.
    pub(crate) async fn wait(&mut self, until: Time) {
        let now = self.clock.now();
        self.spend_until(now);
        self.activity = Activity::Waiting(now);
        let woken = self.wakes.get_or_insert_default().notified();
        // Whether it was woken is the engine's to know.
        let _is_late = timeout_at(self.clock.instant(until), woken).await;
    }

    /// The wait for the next attempt is over.
    pub(crate) fn timer(&mut self) -> Action {
        let now = self.clock.now();
        self.decide(|engine, state, rng| engine.timer(state, now, rng))
    }

    /// The call of `attempt` begins.
    pub(crate) fn begins(&mut self, attempt: Attempt) {
        self.spend_until(attempt.started);
        self.activity = Activity::Calling(attempt.started);
        self.latest = Some(self.new_call(attempt));
    }

    fn new_call(&mut self, attempt: Attempt) -> UpstreamCall {
        self.calls += 1;
        UpstreamCall::new(attempt, self.calls)
    }

    /// A call under way is on record, and is made now.
    pub(crate) fn sends(&mut self, which: Which) {
        if let Some(call) = self.call_mut(which) {
            call.is_sent = true;
        }
    }

    /// What must be done before a call under way is made.
    pub(crate) fn recording(&self, which: Which) -> Option<Recording> {
        let begins = self.call(which)?.begins(&self.info, &self.state);
        self.sink.observer.begin(&begins)
    }

    /// The call of `attempt` was cancelled at its limit: returns the error for that.
    pub(crate) fn overdue(&mut self, attempt: &Attempt) -> Error {
        let now = self.clock.now();
        self.engine(|engine, state, _| engine.overdue(state, attempt, now))
    }

    /// The only call under way failed before content came.
    pub(crate) fn failed(&mut self, request: &Request, error: Error) -> Action {
        let now = self.clock.now();
        self.end_failed(Which::First, request, &error, now);
        self.decide(|engine, state, rng| engine.failed(state, error, now, rng))
    }

    /// Logs that an upstream refuses requests in a way that may be a mistake of the configuration, if it is time to. Its
    /// message is left out: it may quote a prompt.
    fn warn_of_refusal(&mut self, which: Which, error: &Error, now: Time) {
        let Some(upstream) = self.call(which).map(|call| call.upstream(self.state.model()).clone()) else { return };
        if self.engine(|engine, _, _| engine.should_log_refusal(&upstream, error, now)) {
            tracing::warn!(
                upstream = %upstream.spec.id,
                status = error.status,
                "the upstream refused a request that others may take: if it refuses all, look at its base_url, key and model"
            );
        }
    }

    /// One of the calls under way.
    fn call(&self, which: Which) -> Option<&UpstreamCall> {
        match which {
            Which::First => self.latest.as_ref(),
            Which::Second => self.rival.as_deref(),
        }
    }

    fn call_mut(&mut self, which: Which) -> Option<&mut UpstreamCall> {
        match which {
            Which::First => self.latest.as_mut(),
            Which::Second => self.rival.as_deref_mut(),
        }
    }

    /// Content came: the answer is committed to the attempt. Returns when.
    pub(crate) fn committed(&mut self, request: &Request, quota: Quota) -> Time {
        let now = self.clock.now();
        // A fingerprint costs another read of the whole body. A stream may still fail, which needs it; a whole answer
        // needs it only where its success may clear an unattributed failure.
        if self.info.stream || self.engine(|engine, state, _| engine.has_unattributed_failure(state)) {
            self.identify(request);
        }
        self.engine(|engine, state, rng| engine.first_token(state, quota, now, rng));
        self.first_token = Some(now - self.arrived);
        if let Some(call) = &mut self.latest {
            call.progress.first_token = Some(now - call.attempt.started);
        }
        now
    }

    /// The answer is complete. Returns what must be done before its end is released.
    pub(crate) fn served(&mut self) -> Option<Recording> {
        let now = self.clock.now();
        let usage = self.latest.as_ref().and_then(|call| call.progress.usage);
        let tokens = usage.map(|usage| usage.completion_tokens);
        self.engine(|engine, state, _| engine.served(state, tokens, now));
        let served = self.close_call(Which::First, Outcome::Served, now);
        self.end(RequestOutcome::Served, served, now)
    }

    /// The answer broke off after content had come.
    pub(crate) fn broke(&mut self, error: &Error) {
        let now = self.clock.now();
        self.engine(|engine, state, rng| engine.broke(state, error, now, rng));
        self.record_failure(Which::First, error, now);
        drop(self.end(RequestOutcome::Broken(error.kind), None, now));
    }

    /// No upstream serves the request.
    pub(crate) fn gave_up(&mut self, error: &RouterError) {
        drop(self.end(error.into(), None, self.clock.now()));
    }

    /// Adds the time since the activity began to its total.
    fn spend_until(&mut self, now: Time) {
        match std::mem::replace(&mut self.activity, Activity::Deciding) {
            Activity::Deciding => {}
            Activity::Calling(since) => self.upstream_time += now - since,
            Activity::Waiting(since) => self.wait_time += now - since,
        }
    }

    /// A call failed before content came.
    fn end_failed(&mut self, which: Which, request: &Request, error: &Error, now: Time) {
        self.identify(request);
        self.record_failure(which, error, now);
        self.warn_of_refusal(which, error, now);
    }

    /// A call has failed.
    fn record_failure(&mut self, which: Which, error: &Error, now: Time) {
        if let Some(call) = self.call_mut(which) {
            call.progress.record_ids(&error.ids);
        }
        self.end_call(which, Outcome::Failed(error.kind), now);
        if self.rival.is_none() {
            self.spend_until(now);
        }
        let Some(call) = self.call(which) else { return };
        let failure = Failure {
            upstream: call.upstream(self.state.model()).spec.id.clone(),
            kind: error.kind,
            status: error.status,
            ids: call.progress.ids(),
            duration: now - call.attempt.started,
        };
        self.failures.push(failure);
    }

    /// Sends the event for the end of a call, unless it was sent, and records it.
    fn end_call(&mut self, which: Which, outcome: Outcome, now: Time) {
        let closed = self.close_call(which, outcome, now);
        self.record_call(closed);
    }

    fn record_call(&mut self, closed: Option<ClosedCall>) {
        if let (Some(record), Some(ClosedCall { begun, ended })) = (&mut self.record, closed) {
            record.tried(begun, ended);
        }
    }

    /// Sends the event for the end of a call, unless it was sent.
    fn close_call(&mut self, which: Which, outcome: Outcome, now: Time) -> Option<ClosedCall> {
        let model = self.state.model();
        let call = self.call(which).filter(|call| !call.is_over)?;
        let UpstreamCall { attempt, progress, .. } = call;
        let after = match attempt.role {
            Role::Retry | Role::Fallback => self.failures.last(),
            Role::Primary | Role::WarmUp | Role::Hedge => None,
        };
        let begun = attempt.started - self.arrived;
        let ended = AttemptEnded {
            info: self.info.clone(),
            number: call.number,
            upstream: call.upstream(model).spec.id.clone(),
            role: attempt.role,
            after: after.map(|failure| (failure.upstream.clone(), failure.kind)),
            strategy: self.state.strategy(),
            reason: attempt.reason,
            outcome,
            usage: progress.usage,
            cost: call.cost(model),
            price_version: call.upstream(model).spec.price_version.clone(),
            estimate: call.estimate(outcome, &self.state),
            ids: progress.ids(),
            first_token: progress.first_token,
            duration: now - attempt.started,
        };
        if let Some(call) = self.call_mut(which) {
            call.is_over = true;
        }
        self.sink.observer.on(&Event::AttemptEnded(&ended));
        Some(ClosedCall { begun, ended })
    }

    /// Sends the event for the end of the request, which the call `served` if it is complete. Returns what must be done
    /// before its end is released.
    fn end(&mut self, outcome: RequestOutcome, served: Option<ClosedCall>, now: Time) -> Option<Recording> {
        self.is_over = true;
        self.spend_until(now);
        // What an attempt used that did not serve is in its own event.
        let serving = self.latest.as_ref().filter(|_| self.state.is_committed());
        let model = self.state.model();
        let ended = RequestEnded {
            info: self.info.clone(),
            outcome,
            attempts: self.state.attempts(),
            failures: std::mem::take(&mut self.failures),
            upstream: self.upstream().map(|upstream| upstream.spec.id.clone()),
            ids: serving.map(|call| call.progress.ids()).unwrap_or_default(),
            strategy: self.latest.as_ref().map(|_| self.state.strategy()),
            reason: self.latest.as_ref().map(|call| call.attempt.reason),
            is_by_share: self.state.is_by_share(),
            usage: serving.and_then(|call| call.progress.usage),
            cost: serving.and_then(|call| call.cost(model)),
            estimate: serving.and_then(|call| call.estimate(outcome.of_attempt(), &self.state)),
            policies: model.policies().clone(),
            first_token: self.first_token,
            upstream_time: self.upstream_time,
            wait_time: self.wait_time,
            duration: now - self.arrived,
            config_version: self.table.version.clone(),
        };
        self.sink.observer.on(&Event::RequestEnded(&ended));
        let settlement = served.as_ref().and_then(|served| self.sink.observer.settle(&served.ended, &ended));
        self.record_call(served);
        if let (Some(records), Some(record)) = (&self.sink.records, self.record.take()) {
            let (model, facts) = (self.state.model().clone(), *self.state.facts());
            records.keep(record, Closed { model, facts, request: ended });
        }
        settlement
    }
}

/// The client left, or the router stopped.
impl Drop for RequestContext {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let now = self.clock.now();
        let Self { table, state, .. } = self;
        table.with_waiting(state.model().group, |engine, waiting| {
            waiting.remove(state.number());
            engine.left(state, now);
        });
        for which in [Which::First, Which::Second] {
            self.end_call(which, self.sink.dropped_attempt(), now);
        }
        drop(self.end(self.sink.dropped_request(), None, now));
    }
}
