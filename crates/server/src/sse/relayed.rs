//! A property of every relayed stream: its client gets the data of all events byte for byte and in order, except for
//! the changes of a closed list. From the body of the upstream's answer to that of ours, without sockets.

mod expected;
mod odd;
#[path = "../../../provider/tests/support/property.rs"]
mod property;

use std::{pin::Pin, sync::Arc, time::Duration};

use actix_web::body::MessageBody as _;
use bytes::Bytes;
use dispatch::{Caller, Event, Observer, Route, Router, Table};
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;
use provider::{
    Call, Capacity, Error, Features, Limits, ModelId, Operation, Provider, Reply, ReplyHead, Request, UpstreamId,
};
use router::{ModelSpec, StrategyName, Timeouts, UpstreamSpec};
use tokio::{runtime::Runtime, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    expected::{Change, expected, read},
    odd::{End, Odd, Reads, odd},
};
use super::{Source, SseBody};
use crate::form::StreamForm;

/// How many streams are tried with every test run.
const CASES: u32 = 2_000;

/// Renames what the providers rename.
struct Words;

impl openai::Dialect for Words {
    fn finish(&self, reason: &str) -> openai::Finish {
        match reason {
            "repetition" | "done" => openai::Finish::Renamed("stop"),
            other => openai::finish(other),
        }
    }
}

/// An upstream that answers so.
struct Upstream(Odd);

#[async_trait::async_trait]
impl Provider for Upstream {
    async fn call(&self, request: &Request, call: &Call) -> Result<Reply, Error> {
        let Self(odd) = self;
        let reads = reads(odd).into_iter().map(Ok);
        let pauses = odd.pauses;
        let body = stream::iter(reads).then(move |read| async move {
            if pauses {
                tokio::task::yield_now().await;
            }
            read
        });
        let broken = || std::io::Error::other("the connection broke");
        let body = match odd.end {
            End::Cut => body.chain(stream::iter([Err(broken())])).boxed(),
            End::Silence => body.chain(stream::pending()).boxed(),
            End::Done(_) | End::DoneAndMore | End::Clean | End::Unterminated => body.boxed(),
        };
        let frames = openai::fuzzing::reply(odd.label, body, request, call, &Words);
        Ok(Reply { head: ReplyHead::default(), frames })
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        Ok(Capacity::default())
    }
}

fn reads(odd: &Odd) -> Vec<Bytes> {
    let bytes = Bytes::from(odd.bytes());
    let mut cuts = match &odd.reads {
        Reads::AtOnce => Vec::new(),
        Reads::ByteByByte => (1..bytes.len()).collect(),
        Reads::CutAt(cuts) => cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect(),
    };
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| bytes.slice(pair[0]..pair[1])).collect()
}

struct IgnoreEvents;

impl Observer for IgnoreEvents {
    fn on(&self, _event: &Event<'_>) {}
}

fn router(odd: Odd) -> Router {
    let second = Duration::from_secs(1);
    let adapter: Arc<dyn Provider> = Arc::new(Upstream(odd));
    let upstream = UpstreamSpec {
        id: "a".into(),
        account: 0,
        identity: 0,
        provider_name: "odd",
        served_model: "m".to_owned(),
        tariff: None,
        operations: vec![Operation::Chat],
        features: Features::default(),
        context_tokens: None,
        max_in_flight: 1,
        default_max_tokens: None,
        worker_slots: None,
        limits: router::Limits::default(),
        timeouts: Timeouts { first_token: 5 * second, gap: 5 * second },
        capacity_poll: second,
        warm_up_usd_per_hour: provider::NanoUsd(0),
        price_version: None,
    };
    let model = ModelSpec {
        name: ModelId::from("m"),
        strategy: StrategyName::Balanced,
        slo_first_token: None,
        baseline: None,
        deadline: 60 * second,
        early_headers: false,
        reasoning_field: provider::ReasoningField::default(),
        hedge: None,
        targets: vec![(UpstreamId::from("a"), 1.0)],
    };
    Router::new(
        Table::new("test", vec![(upstream, adapter)], vec![model], None).expect("a table"),
        Arc::new(IgnoreEvents),
        7,
    )
}

/// What the client of `odd` gets.
async fn relayed(odd: Odd) -> Result<Vec<u8>, TestCaseError> {
    let options = if odd.asks_for_usage { r#","stream_options":{"include_usage":true}"# } else { "" };
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"stream":true,"n":{}{options}}}"#,
        odd.choices
    );
    let request = Request::parse(Operation::Chat, body.into(), Limits { max_messages: 9 }).expect("a request");
    let router = router(odd);
    let caller = Caller {
        request_id: "r".into(),
        key: None,
        team: None,
        tags: None,
        requested: None,
        table: router.table(),
        arrived: Instant::now(),
        route: Route::Chat,
        model: None,
        falls_back: false,
        wishes: router::Wishes::NONE,
        session: None,
        deadline: None,
        memory: provider::MemoryBudget::default(),
    };
    let served = router.call(&request, caller).await.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let (cut, keep_alive) = (CancellationToken::new(), Duration::from_secs(15));
    let mut body = SseBody::new(
        Source::Relaying(served.answer),
        StreamForm::OpenAi,
        &cut,
        "r".into(),
        keep_alive,
        crate::limits::Permits::default(),
    );
    let mut bytes = Vec::new();
    while let Some(write) = std::future::poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
        bytes.extend_from_slice(&write.expect("a write"));
    }
    Ok(bytes)
}

/// Time passes by itself as soon as nothing else happens.
fn virtual_time() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

#[test]
fn a_stream_is_relayed_whatever_is_odd_about_it() {
    let runtime = virtual_time();
    property::hold(CASES, &odd(), |odd| {
        let sent = odd.bytes();
        let events = expected(&odd);
        let relayed = String::from_utf8(runtime.block_on(relayed(odd))?).expect("UTF-8");
        let sent = String::from_utf8_lossy(&sent);
        prop_assert_eq!(read(&relayed), events, "\nfrom {:?}\n  to {:?}", sent, relayed);
        Ok(())
    });
}

#[test]
fn the_document_lists_what_is_changed_and_nothing_else() {
    let document = include_str!("../../../../docs/api.md");
    let (_, section) = document.split_once("### What is changed in a stream\n").expect("a section");
    let (section, _) = section.split_once("\n#").expect("another section after it");
    let listed: Vec<String> = section
        .split("\n- ")
        .skip(1)
        .map(|line| line.split("\n\n").next().unwrap_or(line).replace("\n  ", " "))
        .collect();
    let listed: Vec<&str> = listed.iter().map(|line| line.trim().trim_end_matches([';', '.'])).collect();
    assert_eq!(listed, Change::ALL.map(Change::documented_as));
}
