//! An upstream's own ids of a call are recorded, however the call ends.

use provider::{Error, ErrorKind, FrameKind, Phase, UpstreamIds};
use router::StrategyName;
use tokio::time::timeout;

use crate::{
    fake::{S, Script, Step, error, frame},
    rig::{Rig, streaming},
};

fn ids(worker: &str) -> UpstreamIds {
    UpstreamIds::new(Some("call".to_owned()), Some(worker.to_owned()), None)
}

/// A reply of worker `head` that comes as far as this.
fn begun(further: impl IntoIterator<Item = Step>) -> Script {
    [Step::HeadOf(ids("head"))].into_iter().chain(further).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_early_keeps_the_ids_of_its_head() {
    for (end, kind) in [
        (vec![Step::Hang], ErrorKind::Timeout(Phase::Gap)),
        (vec![], ErrorKind::Interrupted),
        (vec![Step::Fail(error(ErrorKind::Protocol))], ErrorKind::Protocol),
    ] {
        let (rig, a) = Rig::single();
        a.always(begun([vec![frame(FrameKind::Content)], end].concat()));
        let got = rig.ask(&streaming()).await.expect("it begins");
        assert_eq!(got.error.map(|error| error.kind), Some(kind));
        let ended = rig.log.last_request();
        assert_eq!((ended.ids, ended.failures[0].ids.clone()), (ids("head"), ids("head")), "{kind}");
        assert_eq!(rig.log.attempts.lock()[0].ids, ids("head"), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_after_the_head_and_before_content_keeps_its_ids() {
    for (end, kind) in [
        (Step::Hang, ErrorKind::Timeout(Phase::FirstToken)),
        (Step::Fail(error(ErrorKind::Unavailable)), ErrorKind::Unavailable),
        (frame(FrameKind::Done), ErrorKind::Protocol),
    ] {
        let (rig, a, _) = Rig::pair(StrategyName::Weighted);
        a.always(begun([end]));
        rig.ask(&streaming()).await.expect("the other serves");
        let ended = rig.log.last_request();
        assert_eq!((ended.failures[0].kind, ended.failures[0].ids.clone()), (kind, ids("head")));
        assert_eq!(ended.ids, UpstreamIds::default(), "those of the call that served");
        assert_eq!(rig.log.attempts.lock()[0].ids, ids("head"), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ids_in_an_error_replace_those_of_the_head() {
    let (rig, a, _) = Rig::pair(StrategyName::Weighted);
    a.always(begun([Step::Fail(Error { ids: ids("error"), ..error(ErrorKind::Unavailable) })]));
    rig.ask(&streaming()).await.expect("the other serves");
    assert_eq!(rig.log.last_request().failures[0].ids, ids("error"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_content_leaves_the_ids_behind() {
    let (rig, a) = Rig::single();
    a.always(begun([Step::Hang]));
    assert!(timeout(S, rig.ask(&streaming())).await.is_err(), "it waits");
    assert_eq!(rig.log.attempts.lock()[0].ids, ids("head"));
}
