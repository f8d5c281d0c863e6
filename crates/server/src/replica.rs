//! This process as one of several replicas: what it tells the others through the shared server, and what it does with what it learns.

use std::{collections::HashMap, sync::Arc, time::Duration};

use dispatch::Router;
use ledger::{Budgets, Granted, Period, Report, Scope};
use provider::Time;
use router::{PeerCapacity, PeerState, Polls};
use serde::{Deserialize, Serialize};
use settings::BudgetsWhenAway;
use shared::{Held, Hold, LEASE, Node, Shared, View};

use crate::{budgets, clock, ledger::LedgerCounters, limits::Limits};

/// How long what a replica holds of a budget is valid while the server is away: it holds as much as it needs for about as long.
pub(crate) const VALIDITY: Duration = Duration::from_mins(1);

/// What a replica publishes. What another version leaves out is none.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Published {
    /// Calls that are over are missing in the ledger's store, because that has failed.
    is_ledger_behind: bool,
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
    ledger: LedgerCounters,
    /// When the state that was published last was made.
    published_at: Time,
    /// The last view of the server.
    epoch: u64,
    is_away: bool,
    /// What was reported last, and until when the answer is valid, in milliseconds since 1970.
    reports: Vec<Report>,
    valid_until_ms: i64,
}

impl Replica {
    pub(crate) fn new(router: Arc<Router>, limits: Arc<Limits>, budgets: Arc<Budgets>, ledger: LedgerCounters) -> Self {
        let published_at = router.now();
        router.set_polls_capacity(Polls::Uncounted);
        Self {
            router,
            limits,
            budgets,
            ledger,
            published_at,
            epoch: 0,
            is_away: true,
            reports: Vec::new(),
            valid_until_ms: 0,
        }
    }

    /// What others know of upstreams, and whether it is this replica that does what one of them has to do.
    fn learn_routing(&self, view: &View) {
        let published = view.peers.iter().map(|peer| {
            let published = serde_json::from_slice::<Published>(&peer.state).unwrap_or_default();
            (peer.replica.as_str(), published)
        });
        let published: Vec<_> = published.collect();
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
            is_ledger_behind: self.ledger.is_behind(),
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
        self.learn_routing(view);
    }

    fn holds(&mut self, all: bool, needs: &[(u64, u64)]) -> Vec<Hold> {
        let now_ms = clock::now_ms();
        self.reports = self.budgets.reports(all, needs, now_ms);
        // From when it is sent, not from when the answer comes.
        self.valid_until_ms = now_ms.saturating_add(i64::try_from(VALIDITY.as_millis()).unwrap_or(i64::MAX));
        self.reports.iter().map(hold).collect()
    }

    fn held(&mut self, held: &[Held]) {
        let now_ms = clock::now_ms();
        let passed = self.reports.iter().zip(held).filter_map(|(report, Held { held, spent, others })| {
            let granted = Granted { held: *held, spent: *spent, others: *others };
            self.budgets.grant(report, &granted, self.valid_until_ms, now_ms)
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
    /// `None` if another replica leads, or the ledger lacks calls of one of them.
    pub(crate) fn begin(replicas: &Arc<Shared>, budgets: &Budgets) -> Option<Self> {
        let view = replicas.view();
        let is_behind =
            |state: &[u8]| serde_json::from_slice(state).is_ok_and(|published: Published| published.is_ledger_behind);
        if view.is_away || !view.is_leader || view.peers.iter().any(|peer| is_behind(&peer.state)) {
            return None;
        }
        let windows = budgets.shared_windows();
        let names: Vec<_> =
            windows.iter().map(|(scope, period, from_ms)| window_name(scope, *period, *from_ms)).collect();
        let spent = replicas.spent(names.clone())?;
        let by_then = names.into_iter().zip(spent).filter_map(|(name, spent)| Some((name, spent?))).collect();
        Some(Self { replicas: replicas.clone(), by_then })
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
