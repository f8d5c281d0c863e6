//! The latest states of the other replicas, and what is new in them.

use std::{sync::Arc, time::Duration};

use provider::Time;

use super::{PeerBreaker, PeerLoad, PeerModel, PeerState, PeerUpstream, Totals};
use crate::{table::Model, upstream::Upstream};

/// A replica that has been silent for longer is forgotten: when it is back, what it did meanwhile is no longer of account to a
/// limit by the minute.
const MEMORY: Duration = Duration::from_mins(1);

/// The other replicas, as far as they have reported.
#[derive(Debug)]
pub struct Peers {
    start: u64,
    known: Vec<Known>,
}

/// A start of another replica.
#[derive(Debug)]
struct Known {
    /// What the caller knows it by.
    id: Box<str>,
    /// The state up to which everything was learned before.
    before: PeerState,
    latest: PeerState,
    /// When the latest state came.
    at: Time,
    is_live: bool,
    /// Whether this is its first state, and it had done things before this replica could know of them.
    is_met: bool,
}

/// What is new about the other replicas. To be passed to the engine once for each upstream and each model.
#[derive(Debug)]
pub struct Learned<'a> {
    start: u64,
    known: &'a [Known],
}

/// What the other replicas do and did at an upstream.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// What was added to their sums.
    pub(crate) added: Totals,
    /// Their load, all together.
    pub(crate) load: PeerLoad,
    /// The least that one of those that are new here takes to be left of the requests of a minute.
    pub(crate) requests_left: Option<f64>,
    /// The same of the tokens of a minute.
    pub(crate) tokens_left: Option<f64>,
    /// Until when one of them has parked it.
    pub(crate) parked_until: Option<Time>,
    /// The breakers that are not closed.
    pub(crate) breakers: Vec<ElsewhereBreaker>,
}

/// The breaker of another replica that is open, or half-open with a probe under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ElsewhereBreaker {
    /// Until when no call passes; `None` while a probe is under way.
    pub(crate) until: Option<Time>,
    /// For how long that replica has had no answer.
    pub(crate) unanswered: Duration,
    /// Whether it comes before this replica in the order in which they probe.
    pub(crate) goes_first: bool,
}

impl Peers {
    /// None is known. `start` is the one of this replica, whose own states are passed over.
    pub fn new(start: u64) -> Self {
        Self { start, known: Vec::new() }
    }

    /// Takes in the latest states of all replicas that live, each with what the caller knows it by. One that is missing is gone:
    /// its load counts no more.
    pub fn learn(&mut self, live: &[(&str, &PeerState)], now: Time) -> Learned<'_> {
        for known in &mut self.known {
            (known.is_live, known.is_met) = (false, false);
            known.before.clone_from(&known.latest);
        }
        for (id, state) in live.iter().filter(|(_, state)| state.start != self.start) {
            let is = |known: &&mut Known| *known.id == **id && known.latest.start == state.start;
            match self.known.iter_mut().find(is) {
                Some(known) => known.learn(state, now),
                None => self.known.push(Known::met(id, state, now)),
            }
        }
        self.known.retain(|known| known.is_live || now - known.at < MEMORY);
        Learned { start: self.start, known: &self.known }
    }
}

impl Known {
    /// A replica that was not known. What one that started just now has done since is all new; what an older one did is in what
    /// it takes to be left of limits.
    fn met(id: &str, state: &PeerState, now: Time) -> Self {
        let uptime = Duration::from_millis(state.uptime_ms);
        let is_older = uptime >= MEMORY || Time::ZERO + uptime >= now;
        let before = if is_older { state.clone() } else { PeerState::default() };
        Self { id: id.into(), before, latest: state.clone(), at: now, is_live: true, is_met: is_older }
    }

    fn learn(&mut self, state: &PeerState, now: Time) {
        self.is_live = true;
        if state.sequence <= self.latest.sequence {
            return;
        }
        if now - self.at >= MEMORY {
            (self.before, self.is_met) = (state.clone(), true);
        }
        self.latest.clone_from(state);
        self.at = now;
    }
}

impl Learned<'_> {
    /// What the others do and did at an upstream.
    pub(crate) fn elsewhere(&self, upstream: &Upstream) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        for known in self.known {
            let Some(latest) = named(&known.latest.upstreams, upstream).filter(|latest| latest.is(upstream)) else {
                continue;
            };
            match named(&known.before.upstreams, upstream) {
                None => elsewhere.added = elsewhere.added.plus(&latest.totals),
                Some(before) if before.is(upstream) => {
                    elsewhere.added = elsewhere.added.plus(&latest.totals.since(&before.totals));
                }
                // It was another upstream of the same name, whose sums may or may not have gone on.
                Some(_) => {}
            }
            if known.is_met {
                elsewhere.requests_left = least(elsewhere.requests_left, latest.requests_left);
                elsewhere.tokens_left = least(elsewhere.tokens_left, latest.tokens_left);
            }
            elsewhere.parked_until = elsewhere.parked_until.max(known.until(latest.parked_ms));
            if known.is_live {
                elsewhere.load = elsewhere.load.plus(&latest.load);
                elsewhere.breakers.extend(known.breaker(latest, self.start));
            }
        }
        elsewhere
    }

    /// How many replicas there are, this one included.
    pub(crate) fn replicas(&self) -> u32 {
        let live = self.known.iter().filter(|known| known.is_live).count();
        u32::try_from(live).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The requests to a model that came to the others, and how far these put each target behind its share.
    pub(crate) fn of_model(&self, model: &Model) -> (f64, Vec<f64>) {
        let mut added = (0.0, vec![0.0; model.targets().len()]);
        let named = |state: &'_ PeerState| state.models.iter().position(|known| known.name == model.spec.name.as_str());
        for Known { before, latest, .. } in self.known {
            let Some(latest) = named(latest).map(|at| &latest.models[at]).filter(|latest| latest.is(model)) else {
                continue;
            };
            let before = named(before).map(|at| &before.models[at]);
            // It was another model of the same name, whose sums may or may not have gone on.
            if before.is_some_and(|before| !before.is(model)) {
                continue;
            }
            let before = before.filter(|before| before.arrivals <= latest.arrivals);
            added.0 += latest.arrivals - before.map_or(0.0, |before| before.arrivals);
            for (target, (added, behind)) in added.1.iter_mut().zip(&latest.behind).enumerate() {
                *added += behind - before.map_or(0.0, |before| before.behind[target]);
            }
        }
        added
    }
}

impl Known {
    /// The end of a time that the latest state says is left.
    fn until(&self, left_ms: u64) -> Option<Time> {
        (left_ms > 0).then(|| self.at + Duration::from_millis(left_ms))
    }

    fn breaker(&self, latest: &PeerUpstream, start: u64) -> Option<ElsewhereBreaker> {
        let until = match latest.breaker {
            PeerBreaker::Closed | PeerBreaker::HalfOpen => return None,
            PeerBreaker::Open { for_ms } => self.until(for_ms),
            PeerBreaker::Probing => None,
        };
        let unanswered = Duration::from_millis(latest.unanswered_ms);
        Some(ElsewhereBreaker { until, unanswered, goes_first: self.latest.start < start })
    }
}

impl PeerLoad {
    /// Both together.
    fn plus(&self, other: &Self) -> Self {
        Self {
            in_flight: self.in_flight.saturating_add(other.in_flight),
            pending_tokens: self.pending_tokens.saturating_add(other.pending_tokens),
            unanswered_calls: self.unanswered_calls + other.unanswered_calls,
            unanswered_tokens: self.unanswered_tokens + other.unanswered_tokens,
        }
    }
}

fn least(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::min)
}

fn named<'a>(upstreams: &'a [PeerUpstream], upstream: &Upstream) -> Option<&'a PeerUpstream> {
    upstreams.iter().find(|known| known.id == upstream.spec.id.as_str())
}

impl PeerUpstream {
    fn is(&self, upstream: &Upstream) -> bool {
        self.identity == upstream.spec.identity
    }
}

impl PeerModel {
    /// Whether it has the strategy, the targets and the shares of `model`.
    fn is(&self, model: &Model) -> bool {
        let is_same = |(((id, share), upstream), own): (((&String, &f64), &Arc<Upstream>), &f64)| {
            *id == *upstream.spec.id.as_str() && (share - own).abs() < 1e-9
        };
        let counts = [self.targets.len(), self.behind.len()];
        let targets = self.targets.iter().map(|(id, share)| (id, share));
        counts == [model.targets().len(); 2]
            && self.strategy == model.spec.strategy.as_str()
            && targets.zip(model.targets()).zip(model.shares()).all(is_same)
    }
}
