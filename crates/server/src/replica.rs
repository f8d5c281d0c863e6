//! This process as one of several replicas: what it reports to the others through the shared server, and what it does with what it learns.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use dispatch::Router;
use ledger::{Budgets, Granted, Ledger, Period, Report, Scope};
use parking_lot::Mutex;
use provider::Time;
use router::{PeerCapacity, PeerState, Polls};
use serde::{Deserialize, Serialize};
use settings::BudgetsWhenAway;
use shared::{Held, Hold, LEASE, Node, Shared, Turn, View};

use crate::{budgets, clock, limits::Limits};

/// How long what a replica holds of a budget is valid while the server is away: it holds as much as it needs for about as long.
pub(crate) const VALIDITY: Duration = Duration::from_mins(1);

/// The ledger's store must have what was settled up to so much later than what was reported by its time, because clocks differ.
const CLOCK_SKEW_MS: i64 = 1_000;
/// How often a correction looks whether it has.
const LOOKS: u32 = 20;
/// And the time between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// What a replica publishes. What another version leaves out is none.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Published {
    /// What was settled before this moment is in the ledger's store, in milliseconds since 1970.
    recorded_until_ms: i64,
    /// What it knows of upstreams and models.
    router: PeerState,
    /// The workers of upstreams, from the one that polls.
    workers: Vec<PeerCapacity>,
}

/// This process, for the thread that talks to the shared server.
pub(crate) struct Replica {
    router: Arc<Router>,
    limits: Arc<Limits>,
    budgets: Arc<Budgets>,
    /// How far what is settled is in the ledger's store, if there is a ledger.
    recorded: Option<Arc<Recorded>>,
    /// When the state that was published last was made.
    published_at: Time,
    /// The last view of the server.
    epoch: u64,
    is_away: bool,
    /// What was reported last.
    reports: Vec<Report>,
    /// The replicas whose state cannot be read.
    unreadable: HashSet<String>,
    /// How many replicas are to run, and how many do.
    replicas: NonZeroU32,
    running: usize,
    /// Whether it has been logged that nothing more is granted of budgets.
    has_warned: bool,
}

/// How far what is settled is in the ledger's store.
pub(crate) struct Recorded {
    ledger: Arc<Ledger>,
    /// In milliseconds since 1970; and a later moment with the bytes that were written by then: it is the next one, once so many
    /// are in the store.
    until: Mutex<(i64, Option<(i64, u64)>)>,
}

impl Recorded {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, until: Mutex::new((0, None)) }
    }

    /// What was settled before this moment is in the store.
    fn until_ms(&self, now_ms: i64) -> i64 {
        let (written, stored) = self.ledger.progress_bytes();
        let mut until = self.until.lock();
        if let Some((at_ms, bytes)) = until.1
            && stored >= bytes
        {
            *until = (at_ms, None);
        }
        if until.1.is_none() {
            until.1 = Some((now_ms, written));
        }
        until.0
    }
}

impl Replica {
    pub(crate) fn new(
        router: Arc<Router>,
        limits: Arc<Limits>,
        budgets: Arc<Budgets>,
        recorded: Option<Arc<Recorded>>,
        replicas: NonZeroU32,
    ) -> Self {
        let published_at = router.now();
        router.set_polls_capacity(Polls::Uncounted);
        Self {
            router,
            limits,
            budgets,
            recorded,
            published_at,
            epoch: 0,
            is_away: true,
            reports: Vec::new(),
            unreadable: HashSet::new(),
            replicas,
            running: 1,
            has_warned: false,
        }
    }

    /// Logs that nothing more is granted of budgets, because not all replicas have reported what they hold.
    fn warn_of_waiting(&mut self, held: &[Held]) {
        let waits = held.iter().any(|held| held.spent.is_some() && !held.grants);
        if waits && !self.has_warned {
            let (running, replicas) = (self.running, self.replicas);
            tracing::warn!(
                running,
                replicas,
                "no more is granted of budgets until all replicas have said what they hold, or for a minute after the shared server's data \
                 began: what this replica holds goes on"
            );
        }
        self.has_warned = waits;
    }

    /// What others know of upstreams, and whether it is this replica that does what one of them has to do.
    fn learn_routing(&mut self, view: &View) {
        let mut published = Vec::with_capacity(view.peers.len());
        for peer in &view.peers {
            match serde_json::from_slice::<Published>(&peer.state) {
                Ok(state) => published.push((peer.replica.as_str(), state)),
                Err(error) if self.unreadable.insert(peer.replica.clone()) => {
                    let replica = &peer.replica;
                    tracing::warn!(%replica, %error, "what another replica reports cannot be read: is it of another version?");
                }
                Err(_) => {}
            }
        }
        let states: Vec<_> = published.iter().map(|(replica, published)| (*replica, &published.router)).collect();
        self.router.learn_from_peers(&states);
        self.router.set_polls_capacity(match (view.is_leader, view.is_away) {
            (true, _) => Polls::Until(self.published_at + LEASE),
            (false, true) => Polls::Uncounted,
            (false, false) => Polls::Never,
        });
        for (_, published) in &published {
            self.router.learn_capacities(&published.workers);
        }
    }
}

impl Node for Replica {
    fn state(&mut self) -> Vec<u8> {
        self.published_at = self.router.now();
        let published = Published {
            recorded_until_ms: self.recorded.as_ref().map_or_else(clock::now_ms, |it| it.until_ms(clock::now_ms())),
            router: self.router.peer_state(),
            workers: self.router.capacities(),
        };
        serde_json::to_vec(&published).unwrap_or_default()
    }

    fn learn(&mut self, view: &View) {
        if view.epoch != self.epoch {
            // Nothing is lost with the first one that it sees.
            if self.epoch != 0 {
                tracing::warn!("the shared server has lost its data: what was spent is asked of the ledger again");
            }
            self.budgets.lose();
            self.epoch = view.epoch;
        }
        if view.is_away != self.is_away {
            self.limits.set_alone(view.is_away);
            self.is_away = view.is_away;
        }
        self.running = view.peers.len() + 1;
        self.learn_routing(view);
    }

    fn holds(&mut self, turn: Turn, needs: &[(u64, u64)]) -> Vec<Hold> {
        let turn = match turn {
            Turn::Needed => ledger::Turn::Needed,
            Turn::All => ledger::Turn::Regular,
            Turn::Last => ledger::Turn::Last,
        };
        self.reports = self.budgets.reports(turn, needs, clock::now_ms());
        self.reports.iter().map(hold).collect()
    }

    fn held(&mut self, held: &[Held]) {
        self.warn_of_waiting(held);
        let now_ms = clock::now_ms();
        let passed = self.reports.iter().zip(held).filter_map(|(report, Held { held, spent, others, grants })| {
            let granted = Granted { held: *held, spent: *spent, others: *others, grants: *grants };
            self.budgets.grant(report, &granted, VALIDITY, now_ms)
        });
        budgets::report(passed.collect::<Vec<_>>());
    }
}

fn hold(report: &Report) -> Hold {
    Hold {
        id: report.id,
        name: window_name(&report.scope, report.period, report.from_ms),
        number: report.number,
        spent: report.spent,
        keeps: report.keeps,
        more: report.more,
        needs: report.needs,
        limit: report.limit,
        known: report.known,
        until_ms: report.until_ms,
    }
}

/// How replicas name the window of a budget.
fn window_name(scope: &Scope, period: Period, from_ms: i64) -> Arc<str> {
    format!("{}:{}:{}:{from_ms}", scope.dimension, scope.name, period.as_str()).into()
}

/// A comparison of what replicas have reported as spent with what the ledger says, which is made by the one that leads.
pub(crate) struct Correction {
    replicas: Arc<Shared>,
    /// What was reported before the ledger was asked.
    by_then: HashMap<Arc<str>, u64>,
}

impl Correction {
    /// `None` if another replica leads, or the ledger's store lacks what one of them has reported. Blocks until it has all of that, for
    /// a few seconds.
    pub(crate) fn begin(replicas: &Arc<Shared>, recorded: &Recorded, budgets: &Budgets) -> Option<Self> {
        let view = replicas.view();
        if view.is_away || !view.is_leader {
            return None;
        }
        let windows = budgets.shared_windows();
        let names: Vec<_> =
            windows.iter().map(|(scope, period, from_ms)| window_name(scope, *period, *from_ms)).collect();
        let spent = replicas.spent(names.clone())?;
        let needed_ms = clock::now_ms().saturating_add(CLOCK_SKEW_MS);
        let published =
            |state: &[u8]| serde_json::from_slice(state).map_or(0, |published: Published| published.recorded_until_ms);
        for _ in 0..LOOKS {
            let view = replicas.view();
            let of_peers = view.peers.iter().map(|peer| published(&peer.state)).min().unwrap_or(i64::MAX);
            if !view.is_away && recorded.until_ms(clock::now_ms()).min(of_peers) >= needed_ms {
                let by_then = names.into_iter().zip(spent).filter_map(|(name, spent)| Some((name, spent?))).collect();
                return Some(Self { replicas: replicas.clone(), by_then });
            }
            sleep(LOOK);
        }
        None
    }

    /// The ledger has been asked.
    pub(crate) fn end(self, answers: Vec<(Scope, Period, i64, u64)>) {
        let correction = |(scope, period, from_ms, recorded): (Scope, Period, i64, u64)| {
            let name = window_name(&scope, period, from_ms);
            let by_then = *self.by_then.get(&name)?;
            Some((name, by_then, recorded))
        };
        let corrections: Vec<_> = answers.into_iter().filter_map(correction).collect();
        if !corrections.is_empty() {
            self.replicas.correct(corrections);
        }
    }
}

/// What becomes of budgets while the server is away.
pub(crate) fn when_away(setting: BudgetsWhenAway) -> ledger::WhenAway {
    match setting {
        BudgetsWhenAway::Refuse => ledger::WhenAway::Refuse,
        BudgetsWhenAway::Own => ledger::WhenAway::Own,
    }
}
