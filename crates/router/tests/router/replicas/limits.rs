//! A provider's limit by the minute holds for all replicas together, but for what they have not learned of each other yet.

use std::time::Duration;

use provider::Quota;
use router::{Facts, Limits, StrategyName, UpstreamSpec};

use super::cluster::{BAD, Cluster, FAST, LONG, Network};
use crate::hand::{CHAT, MS, S, model, upstream};

/// Each replica is asked so many times a second.
const PER_SECOND: u32 = 20;
const TEN_A_SECOND: f64 = 600.0;

/// A provider's bucket of the minute: what is left of it, refilled all the time.
struct Bucket {
    limit: f64,
    left: f64,
    least: f64,
    taken: f64,
}

impl Bucket {
    fn new(limit: f64) -> Self {
        Self { limit, left: limit, least: limit, taken: 0.0 }
    }

    fn take(&mut self, amount: f64) {
        self.taken += amount;
        self.left -= amount;
        self.least = self.least.min(self.left);
    }

    fn refill(&mut self, time: Duration) {
        self.left = (self.left + self.limit * time.as_secs_f64() / 60.0).min(self.limit);
    }
}

/// All replicas are asked for more than the limit for two minutes. A call takes `amount` of it. Returns the bucket.
fn served(cluster: &mut Cluster, limit: f64, facts: Facts, amount: f64) -> Bucket {
    let mut bucket = Bucket::new(limit);
    let mut under_way = Vec::new();
    let pause = S / PER_SECOND;
    for _ in 0..120 * PER_SECOND {
        for at in 0..cluster.replicas.len() {
            if let Some((request, _)) = cluster.at(at).asks(facts) {
                bucket.take(amount);
                under_way.push((cluster.now + 300 * MS, at, request));
            }
        }
        cluster.pass(pause);
        bucket.refill(pause);
        for (_, at, mut request) in under_way.extract_if(.., |(until, ..)| *until <= cluster.now) {
            let hand = &mut cluster.replicas[at].hand;
            hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
            hand.engine.served(&mut request, Some(40), hand.now);
        }
    }
    bucket
}

fn limited(replicas: usize, network: Network, limits: Limits) -> Cluster {
    Cluster::new(replicas, network, || {
        let spec = model("m", StrategyName::Balanced, &[("a", 1.0)]);
        (vec![UpstreamSpec { limits, ..upstream("a") }], vec![spec])
    })
}

/// What the others may have taken that a replica does not know of: their calls since the stalest state that it goes by, and the
/// one that each of them may just make.
fn unknown(cluster: &Cluster) -> f64 {
    let others = f64::from(u32::try_from(cluster.replicas.len() - 1).expect("a few"));
    others * (f64::from(PER_SECOND) * cluster.stalest.as_secs_f64() + 1.0)
}

#[test]
fn a_limit_is_passed_by_no_more_than_what_others_have_not_told_yet() {
    let calls = Limits { requests_per_minute: Some(600), ..Limits::default() };
    let tokens = Limits { tokens_per_minute: Some(900_000), ..Limits::default() };
    for (replicas, network) in [(2, FAST), (3, FAST), (2, BAD), (3, BAD)] {
        for (limits, facts, amount) in [(calls, CHAT, 1.0), (tokens, LONG, 1_500.0)] {
            let mut cluster = limited(replicas, network, limits);
            let bucket = served(&mut cluster, TEN_A_SECOND * amount, facts, amount);
            let (over, most) = (-bucket.least / amount, unknown(&cluster));
            assert!(over <= most, "{replicas} replicas, {network:?}: {over} calls over, of {most}");
            let part = bucket.taken / amount / (600.0 + 2.0 * 600.0);
            assert!(part >= 0.9, "{replicas} replicas, {network:?}: {part} of the limit is used");
        }
    }
}

/// The test above would not notice if nothing was exchanged and the bound was wide.
#[test]
fn replicas_that_tell_each_other_nothing_pass_the_limit_twice() {
    let limits = Limits { requests_per_minute: Some(600), ..Limits::default() };
    let mut cluster = limited(2, FAST, limits).silent();
    let bucket = served(&mut cluster, TEN_A_SECOND, CHAT, 1.0);
    assert!(bucket.least < -600.0, "{}", bucket.least);
    let mut told = limited(2, FAST, limits);
    served(&mut told, TEN_A_SECOND, CHAT, 1.0);
    assert!(unknown(&told) < 12.0, "a quarter of a second and what a message takes: {}", unknown(&told));
}

/// A replica that starts late takes over what is left by the account of the others.
#[test]
fn a_replica_that_starts_does_not_begin_with_a_full_limit() {
    let limits = Limits { requests_per_minute: Some(600), ..Limits::default() };
    let mut cluster = limited(2, FAST, limits);
    let old = cluster.at(0);
    (0..600).for_each(|_| drop(old.asks(CHAT)));
    old.hand.pass(S);
    let state = old.state();
    let new = &mut limited(1, FAST, limits).replicas.remove(0);
    new.hand.pass(S / 2);
    new.peers = router::Peers::new(9);
    new.learn(&[("old", &state)]);
    let taken = (0..600).filter(|_| new.asks(CHAT).is_some()).count();
    assert!(taken <= 11, "a second refills ten: {taken}");
}

/// What a provider says is left may not contain what is under way at other replicas.
#[test]
fn what_others_have_under_way_is_not_left() {
    let limits = Limits { requests_per_minute: Some(600), ..Limits::default() };
    let mut cluster = limited(2, FAST, limits);
    let under_way: Vec<_> = (0..560).filter_map(|_| cluster.at(0).asks(CHAT)).collect();
    cluster.pass(S);
    let one = cluster.at(1);
    let (mut request, _) = one.begin();
    let window = provider::Window { left: 300, limit: Some(600) };
    let said = Quota { minute_requests: Some(window), ..Quota::default() };
    one.hand.engine.first_token(&mut request, said, one.hand.now, &mut one.hand.rng);
    let taken = (0..400).filter(|_| one.asks(CHAT).is_some()).count();
    assert!((40..=60).contains(&taken), "600, less {} under way elsewhere: {taken}", under_way.len());
}
