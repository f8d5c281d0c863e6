//! What is recorded of a request: the decision, the calls, the end.

use std::{sync::Arc, time::Duration};

use dispatch::{Outcome, Record, Recorder, RequestOutcome, Spare};
use parking_lot::Mutex;
use provider::{ErrorKind, Operation};
use router::{Blocked, Excluded, Reason, Role, StrategyName, Unfit};

use crate::{
    fake::{Fake, MS, Step, after, fail, good, streamed},
    rig::{Rig, model, plain, streaming, table, upstream},
};

/// Keeps every record.
#[derive(Default)]
struct Shelf(Mutex<Vec<Arc<Record>>>);

impl Recorder for Shelf {
    fn keep(&self, record: Arc<Record>, _spare: &Spare) {
        self.0.lock().push(record);
    }
}

/// Gives every record back, and notes which it was.
#[derive(Default)]
struct Returns(Mutex<Vec<usize>>);

impl Recorder for Returns {
    fn keep(&self, record: Arc<Record>, spare: &Spare) {
        self.0.lock().push(Arc::as_ptr(&record).addr());
        spare.put(record);
    }
}

fn pair(recorder: Arc<dyn Recorder>) -> (Rig, Arc<Fake>, Arc<Fake>) {
    let (a, b) = (Fake::new(), Fake::new());
    let upstreams = vec![upstream("a", &a), upstream("b", &b)];
    let table = table(upstreams, model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]));
    (Rig::recorded(table, &[&a, &b], Some(recorder)), a, b)
}

fn shelf() -> (Rig, Arc<Fake>, Arc<Fake>, Arc<Shelf>) {
    let shelf = Arc::<Shelf>::default();
    let (rig, a, b) = pair(shelf.clone());
    (rig, a, b, shelf)
}

impl Shelf {
    fn only(&self) -> Arc<Record> {
        let records = self.0.lock();
        assert_eq!(records.len(), 1);
        records[0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_falls_back_is_recorded_with_what_was_decided_first_and_both_calls() {
    let (rig, a, b, shelf) = shelf();
    a.always([vec![Step::Wait(30 * MS)], fail(ErrorKind::Unavailable)].concat());
    b.always(after(20 * MS, streamed()));
    rig.ask(&streaming()).await.expect("served");
    let record = shelf.only();
    let targets: Vec<_> = record.decision.candidates.iter().map(|candidate| candidate.target).collect();
    assert_eq!((targets, record.decision.reason), (vec![0, 1], Some(Reason::Share)), "as before anything failed");
    let calls: Vec<_> = record
        .attempts
        .iter()
        .map(|tried| (tried.ended.upstream.as_str(), tried.ended.role, tried.ended.outcome, tried.after))
        .collect();
    let failed = Outcome::Failed(ErrorKind::Unavailable);
    let expected = [("a", Role::Primary, failed, Duration::ZERO), ("b", Role::Fallback, Outcome::Served, 30 * MS)];
    assert_eq!(calls, expected);
    assert_eq!(record.attempts[1].ended.first_token, Some(20 * MS));
    let closed = record.ended.as_ref().expect("it has ended");
    assert_eq!((closed.model.spec.name.as_str(), closed.request.outcome), ("m", RequestOutcome::Served));
    assert_eq!((closed.request.first_token, closed.request.attempts), (Some(50 * MS), 2));
    assert!(closed.facts.stream && closed.facts.prompt_tokens > 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_upstream_could_serve_is_recorded_with_the_reason() {
    let (a, b) = (Fake::new(), Fake::new());
    let (mut full, mut other) = (upstream("a", &a), upstream("b", &b));
    full.0.max_in_flight = 0;
    other.0.operations = vec![Operation::Embeddings];
    let shelf = Arc::<Shelf>::default();
    let table = table(vec![full, other], model(StrategyName::Weighted, &[("a", 0.8), ("b", 0.2)]));
    let rig = Rig::recorded(table, &[&a, &b], Some(shelf.clone()));
    rig.ask(&plain()).await.expect_err("nobody can");
    let record = shelf.only();
    assert_eq!(record.decision.reason, None);
    let expected = [(0, Excluded::Blocked(Blocked::Full)), (1, Excluded::Unfit(Unfit::Operation))];
    assert_eq!(record.decision.excluded, expected);
    assert!(record.decision.candidates.is_empty() && record.attempts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_recorded() {
    let (rig, a, _, shelf) = shelf();
    a.always(vec![Step::Hang]);
    let request = streaming();
    assert!(tokio::time::timeout(70 * MS, rig.call(&request)).await.is_err(), "it hangs");
    let record = shelf.only();
    assert_eq!(record.attempts[0].ended.outcome, Outcome::ClientGone);
    assert_eq!(record.ended.as_ref().map(|closed| closed.request.outcome), Some(RequestOutcome::ClientGone));
}

/// What is kept is moved, and what is not kept is written in again: no record is made per request.
#[tokio::test(start_paused = true)]
async fn records_that_are_not_kept_are_used_again_and_hold_nothing_of_the_request_before() {
    let returns = Arc::<Returns>::default();
    let (rig, a, b) = pair(returns.clone());
    a.always(fail(ErrorKind::Unavailable));
    b.does(|request| good(request, Duration::ZERO));
    for _ in 0..4 {
        rig.ask(&plain()).await.expect("served");
    }
    let seen = returns.0.lock();
    assert!(seen.len() == 4 && seen.iter().all(|address| *address == seen[0]), "{seen:?}");
}
