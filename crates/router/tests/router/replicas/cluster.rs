//! Several engines that exchange their states over a network that delays, loses and repeats them.

use std::time::Duration;

use provider::{ErrorKind, Quota, Time};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use router::{Action, BreakerState, Facts, ModelSpec, PeerState, Peers, RequestState, Start, Status, UpstreamSpec};

use crate::hand::{CHAT, Hand, MS, started};

/// How often a replica publishes its state.
pub(super) const EVERY: Duration = Duration::from_millis(250);

/// What the network does to a state on its way from one replica to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    pub(super) delay_ms: (u64, u64),
    /// Parts, 0 to 1.
    pub(super) lost: f64,
    pub(super) repeated: f64,
}

pub(super) const FAST: Network = Network { delay_ms: (1, 20), lost: 0.0, repeated: 0.0 };
pub(super) const BAD: Network = Network { delay_ms: (10, 2_000), lost: 0.3, repeated: 0.3 };

pub(super) struct Replica {
    pub(super) hand: Hand,
    pub(super) peers: Peers,
    start: u64,
    sequence: u64,
    /// What came from each other one last, and when that was sent.
    received: Vec<Option<(Time, PeerState)>>,
    /// Those that it took to live last.
    told_of: Vec<usize>,
    pub(super) is_live: bool,
}

struct Message {
    at: Time,
    sent: Time,
    from: usize,
    to: usize,
    state: PeerState,
}

/// Replicas that share a clock. The first one goes first where one has to.
pub(super) struct Cluster {
    pub(super) replicas: Vec<Replica>,
    network: Network,
    on_the_way: Vec<Message>,
    pub(super) now: Time,
    rng: SmallRng,
    /// The longest time for which what a replica did was unknown to another one that lives.
    pub(super) stalest: Duration,
    is_silent: bool,
}

impl Replica {
    fn new(start: u64, count: usize, upstreams: Vec<UpstreamSpec>, models: Vec<ModelSpec>) -> Self {
        let mut hand = Hand::new(upstreams, models);
        hand.rng = SmallRng::seed_from_u64(start);
        Self {
            hand,
            peers: Peers::new(start),
            start,
            sequence: 0,
            received: vec![None; count],
            told_of: Vec::new(),
            is_live: true,
        }
    }

    pub(super) fn state(&mut self) -> PeerState {
        self.sequence += 1;
        let Hand { table, engine, now, .. } = &mut self.hand;
        PeerState {
            start: self.start,
            sequence: self.sequence,
            uptime_ms: u64::try_from((*now - Time::ZERO).as_millis()).expect("short"),
            upstreams: table.upstreams().map(|upstream| engine.report_upstream(upstream, *now)).collect(),
            models: table.models().map(|model| engine.report_model(model)).collect(),
        }
    }

    /// Takes in these states of replicas that live.
    pub(super) fn learn(&mut self, live: &[(&str, &PeerState)]) {
        let Hand { table, engine, now, .. } = &mut self.hand;
        let learned = self.peers.learn(live, *now);
        table.upstreams().for_each(|upstream| engine.learn_upstream(upstream, &learned, *now));
        table.models().for_each(|model| engine.learn_model(model, &learned, *now));
    }

    pub(super) fn status(&mut self, id: &str) -> Status {
        let Hand { table, engine, now, .. } = &mut self.hand;
        let upstream = table.upstreams().find(|upstream| upstream.spec.id.as_str() == id).expect("an upstream");
        engine.status(upstream, *now)
    }

    pub(super) fn breaker(&mut self, id: &str) -> BreakerState {
        self.status(id).breaker
    }

    pub(super) fn begin(&mut self) -> (RequestState, Start) {
        self.hand.begin()
    }

    /// A request asks for `facts` of the model `m`. `None` if no call of it may begin now; it is then left.
    pub(super) fn asks(&mut self, facts: Facts) -> Option<(RequestState, Start)> {
        let model = self.hand.model("m");
        let deadline = self.hand.now + model.spec.deadline;
        let mut request = RequestState::new(model, facts, None, deadline);
        match self.hand.arrived(&mut request) {
            Action::Start(start) => Some((request, start)),
            Action::Wait { .. } => {
                self.hand.engine.left(&mut request, self.hand.now);
                None
            }
            Action::GiveUp(_) => None,
        }
    }

    /// A request whose calls to `a` fail at once and that `b` then serves. Returns its calls to `a`.
    pub(super) fn fails_at_a(&mut self) -> u32 {
        let mut request = self.hand.request("m");
        let (mut action, mut calls) = (self.hand.arrived(&mut request), 0);
        loop {
            match action {
                Action::Start(start) if start.attempt.target == 0 => {
                    calls += 1;
                    action = self.hand.failed(&mut request, ErrorKind::Unavailable);
                }
                Action::Start(_) => {
                    self.hand.serve(request);
                    return calls;
                }
                Action::Wait { .. } | Action::GiveUp(_) => {
                    self.hand.engine.left(&mut request, self.hand.now);
                    return calls;
                }
            }
        }
    }

    /// A request that is served at once. Returns the target.
    pub(super) fn serves(&mut self) -> usize {
        let mut request = self.hand.request("m");
        let start = started(self.hand.arrived(&mut request));
        self.hand.engine.first_token(&mut request, Quota::default(), self.hand.now, &mut self.hand.rng);
        self.hand.engine.served(&mut request, Some(40), self.hand.now);
        start.attempt.target
    }
}

impl Cluster {
    pub(super) fn new(count: usize, network: Network, table: impl Fn() -> (Vec<UpstreamSpec>, Vec<ModelSpec>)) -> Self {
        let replica = |start: usize| {
            let (upstreams, models) = table();
            Replica::new(start as u64 + 1, count, upstreams, models)
        };
        Self {
            replicas: (0..count).map(replica).collect(),
            network,
            on_the_way: Vec::new(),
            now: Time::ZERO,
            rng: SmallRng::seed_from_u64(1),
            stalest: Duration::ZERO,
            is_silent: false,
        }
    }

    /// The replicas tell each other nothing.
    pub(super) fn silent(self) -> Self {
        Self { is_silent: true, ..self }
    }

    pub(super) fn at(&mut self, replica: usize) -> &mut Replica {
        &mut self.replicas[replica]
    }

    /// Time passes, ten milliseconds at a time. Replicas publish at different moments.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += 10 * MS;
            for replica in &mut self.replicas {
                replica.hand.now = self.now;
            }
            if !self.is_silent {
                self.exchange();
            }
        }
    }

    fn exchange(&mut self) {
        let count = self.replicas.len();
        for from in 0..count {
            let offset = 70 * MS * u32::try_from(from).expect("a few");
            let is_due = (self.now - Time::ZERO + offset).as_millis().is_multiple_of(EVERY.as_millis());
            if !is_due || !self.replicas[from].is_live {
                continue;
            }
            let state = self.replicas[from].state();
            // As over a wire.
            let state: PeerState =
                serde_json::from_str(&serde_json::to_string(&state).expect("JSON")).expect("the same state");
            (0..count).filter(|to| *to != from).for_each(|to| self.send(from, to, &state));
        }
        let now = self.now;
        let due: Vec<Message> = self.on_the_way.extract_if(.., |message| message.at <= now).collect();
        let mut has_news = vec![false; count];
        for Message { sent, from, to, state, .. } in due {
            self.replicas[to].received[from] = Some((sent, state));
            has_news[to] = true;
        }
        for (to, has_news) in has_news.into_iter().enumerate() {
            let live: Vec<usize> = (0..count).filter(|from| *from != to && self.replicas[*from].is_live).collect();
            for from in &live {
                let sent = self.replicas[to].received[*from].as_ref().map_or(Time::ZERO, |(sent, _)| *sent);
                self.stalest = self.stalest.max(self.now - sent);
            }
            if !has_news && self.replicas[to].told_of == live {
                continue;
            }
            let received = self.replicas[to].received.clone();
            let names: Vec<String> = (0..count).map(|from| format!("replica-{from}")).collect();
            let known = live.iter().filter_map(|from| Some((&*names[*from], &received[*from].as_ref()?.1)));
            let known: Vec<(&str, &PeerState)> = known.collect();
            self.replicas[to].learn(&known);
            self.replicas[to].told_of = live;
        }
    }

    fn send(&mut self, from: usize, to: usize, state: &PeerState) {
        let Network { delay_ms: (least, most), lost, repeated } = self.network;
        let copies = if self.rng.random_bool(lost) { 0 } else { 1 + usize::from(self.rng.random_bool(repeated)) };
        for _ in 0..copies {
            let at = self.now + MS * self.rng.random_range(u32::try_from(least).unwrap()..u32::try_from(most).unwrap());
            self.on_the_way.push(Message { at, sent: self.now, from, to, state: state.clone() });
        }
    }
}

/// A chat with a prompt of a thousand tokens and an answer of at most five hundred.
pub(super) const LONG: Facts = Facts { prompt_tokens: 1_000, max_tokens: Some(500), ..CHAT };
