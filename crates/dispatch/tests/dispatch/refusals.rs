//! A property of an upstream's health: requests that are refused for their own content never change it, in any number
//! and with any wording.
//!
//! The adapters hold that such a refusal is one of the four kinds made here, however it is worded. Failures of the other kinds are
//! an upstream's own conduct, which is to move its health.

#[path = "../../../provider/tests/support/property.rs"]
mod property;

use std::time::Duration;

use futures_util::future::join_all;
use proptest::{collection::vec, option, prelude::*, sample::select};
use provider::{Adjustment, Error, ErrorKind, FrameKind, Quota, Request};
use router::{BreakerState, StrategyName};
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    fake::{MS, S, Script, Step, frame, good},
    rig::{Rig, chat},
};

/// What one upstream does with one request.
#[derive(Debug, Clone)]
enum Conduct {
    Good,
    Refuses { stage: Stage, error: Error },
}

/// When it refuses.
#[derive(Debug, Clone, Copy)]
enum Stage {
    AtOnce,
    AfterTheHead,
    AmidTheAnswer,
}

/// A request and what becomes of it at `a` and at `b`.
#[derive(Debug, Clone)]
struct Asked {
    streams: bool,
    /// Since the request before; none for one beside it.
    pause: Duration,
    conducts: [Conduct; 2],
}

fn refusal() -> impl Strategy<Value = Error> {
    let kinds = [ErrorKind::InvalidRequest, ErrorKind::ContextOverflow, ErrorKind::Unsupported, ErrorKind::Refused];
    let adjustments =
        [Adjustment::FreshConnection, Adjustment::Without("stream_options".to_owned()), Adjustment::Limit(Some(64))];
    let status = option::of(prop_oneof![400..500_u16, Just(501_u16), Just(200_u16)]);
    let retry_after = option::of((0..90_000_u64).prop_map(Duration::from_millis));
    let again = option::weighted(0.2, select(adjustments.to_vec()));
    (select(kinds.to_vec()), status, retry_after, again).prop_map(|(kind, status, retry_after, again)| Error {
        status,
        retry_after,
        again,
        ..Error::new(kind, "no")
    })
}

fn conduct() -> impl Strategy<Value = Conduct> {
    let stage = prop_oneof![4 => Just(Stage::AtOnce), 1 => Just(Stage::AfterTheHead), 1 => Just(Stage::AmidTheAnswer)];
    let refuses = (stage, refusal()).prop_map(|(stage, error)| Conduct::Refuses { stage, error });
    prop_oneof![1 => Just(Conduct::Good), 2 => refuses]
}

fn requests() -> impl Strategy<Value = Vec<Asked>> {
    let pause = prop_oneof![Just(Duration::ZERO), (1..3_000_u64).prop_map(Duration::from_millis)];
    let asked = (any::<bool>(), pause, [conduct(), conduct()]).prop_map(|(streams, pause, conducts)| Asked {
        streams,
        pause,
        conducts,
    });
    // Five failures in a row open a breaker, or half of twenty.
    let asked = asked.boxed();
    prop_oneof![19 => vec(asked.clone(), 1..7), 1 => vec(asked, 20..40)]
}

impl Conduct {
    fn script(&self, request: &Request) -> Script {
        let Self::Refuses { stage, error } = self else { return good(request, 10 * MS) };
        let before = match stage {
            Stage::AtOnce => vec![Step::Wait(10 * MS)],
            Stage::AfterTheHead => vec![Step::Head(Quota::default()), frame(FrameKind::Opening)],
            Stage::AmidTheAnswer => vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Wait(10 * MS)],
        };
        // What is repeated at once is refused again, and no further repeat is asked for.
        [before, vec![Step::Fail(error.clone())]].concat()
    }
}

/// The number of a request, which it carries.
fn number(request: &Request) -> usize {
    request.field("seed").and_then(|seed| seed.parse().ok()).expect("a number")
}

async fn run(asked: Vec<Asked>, strategy: StrategyName) -> Result<(), TestCaseError> {
    let (rig, a, b) = Rig::pair(strategy);
    for (at, fake) in [&a, &b].into_iter().enumerate() {
        let asked = asked.clone();
        fake.does(move |request| asked[number(request)].conducts[at].script(request));
        fake.has_running(1);
    }
    rig.router.poll_capacity().await;
    let mut since = Duration::ZERO;
    let calls = asked.iter().enumerate().map(|(number, asked)| {
        since += asked.pause;
        let (wait, rig) = (since, &rig);
        let streams = if asked.streams { r#","stream":true"# } else { "" };
        let request = chat(&format!(r#","seed":{number}{streams}"#));
        async move {
            sleep(wait).await;
            // Served or refused: here it is not about the client.
            drop(rig.ask(&request).await);
        }
    });
    join_all(calls).await;
    rig.router.poll_capacity().await;
    for id in ["a", "b"] {
        let snapshot = rig.snapshot(id, true);
        prop_assert_eq!(rig.breaker(id), BreakerState::Closed, "{}", id);
        prop_assert_eq!(snapshot.blocked, None, "{} is parked", id);
        prop_assert_eq!(snapshot.is_ready, Some(true), "{}", id);
        prop_assert!(snapshot.first_token.is_none_or(|predicted| predicted <= S), "{} is thought slow", id);
    }
    Ok(())
}

/// Time passes by itself as soon as nothing else happens.
fn virtual_time() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

#[test]
fn no_run_of_refused_requests_moves_an_upstreams_health() {
    let runtime = virtual_time();
    let cases = (requests(), select(StrategyName::ALL.to_vec()));
    property::hold(1_000, &cases, |(asked, strategy)| runtime.block_on(run(asked, strategy)));
}
