//! Budgets of keys, teams and models: which are in force, what the ledger says was spent, and what their thresholds report.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::Builder,
    time::Duration,
};

use dispatch::{RequestInfo, Table};
use jiff::Timestamp;
use ledger::{
    AtLimit, Budget, BudgetStatus, Budgets, Dimension, Ledger, Location, OverBudget, Period, Raised, Scope, Spender,
    Threshold,
};
use provider::{Error, ErrorKind, ModelId, NanoUsd, Usage};
use router::Upstream;
use settings::{BudgetPeriod, Config};
use shared::Shared;

use crate::{
    clock,
    replica::{Correction, Recorded},
};

/// How often budgets are looked for whose use is not known yet, because they are new or the ledger could not say.
const NEW: Duration = Duration::from_millis(200);
/// The ledger is asked about all of them once in so many rounds, because another process may have spent as well: every hour for a
/// file, which another one shares while a restart rolls, and every minute for Postgres, where replicas do.
const ROUNDS_TO_ALL: (u32, u32) = (18_000, 300);
/// How long a start waits for the ledger.
const LONGEST_START: Duration = Duration::from_secs(5);
/// How long a question waits for calls that are not in the store yet.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The budgets of a configuration.
pub(crate) fn of(config: &Config) -> Vec<(Scope, Budget)> {
    let keys = config.keys.iter().map(|key| (Dimension::Key, key.id.as_str(), &key.budgets));
    let teams = config.teams.iter().map(|team| (Dimension::Team, team.id.as_str(), &team.budgets));
    let models = config.models.iter().map(|model| (Dimension::Model, model.name.as_str(), &model.budgets));
    // A key that is rotated is there twice.
    let mut seen = HashSet::new();
    let all = keys.chain(teams).chain(models).filter(|(dimension, name, _)| seen.insert((dimension.clone(), *name)));
    all.flat_map(|(dimension, name, budgets)| {
        let scope = Scope { dimension, name: name.into() };
        budgets.iter().map(move |budget| (scope.clone(), in_force(budget)))
    })
    .collect()
}

fn in_force(budget: &settings::Budget) -> Budget {
    Budget {
        limit_nano_usd: budget.limit.0,
        raised: budget.raised.map(|(limit, until_ms)| Raised { limit_nano_usd: limit.0, until_ms }),
        period: match budget.period {
            BudgetPeriod::Day => Period::Day,
            BudgetPeriod::Week => Period::Week,
            BudgetPeriod::Month => Period::Month,
        },
        zone: budget.time_zone.clone(),
        warn_at_percent: budget.warn_at_percent.clone(),
        at_limit: match budget.at_limit {
            settings::AtLimit::Refuse => AtLimit::Refuse,
            settings::AtLimit::Cheapest => AtLimit::Cheapest,
        },
    }
}

/// Whose budgets count the calls of a request.
pub(crate) fn spender(info: &RequestInfo) -> Spender<'_> {
    Spender { key: info.key.as_deref(), team: info.team.as_deref(), model: info.model.as_ref().map(ModelId::as_str) }
}

/// The cheapest upstream of a model, as a client would name it: by list price, for a prompt as long as its answer.
pub(crate) fn cheapest(table: &Table, model: &str) -> Option<String> {
    const USAGE: Usage = Usage {
        prompt_tokens: 1_000,
        completion_tokens: 1_000,
        cached_tokens: None,
        reasoning_tokens: None,
        audio_ms: Some(60_000),
    };
    let model = table.model(model)?;
    let price = |upstream: &Upstream| Some(upstream.spec.tariff.as_ref()?.list_price()?.cost(&USAGE));
    let priced = model.targets().iter().filter_map(|upstream| Some((price(upstream)?, upstream)));
    let (_, upstream) = priced.min_by_key(|(price, _)| *price)?;
    Some(format!("{}/{}", upstream.spec.id, model.spec.name))
}

/// The error of a call that a budget does not allow.
pub(crate) fn error(over: &OverBudget) -> Error {
    let kind = match over {
        OverBudget::Unknown(_) | OverBudget::Short(_) => ErrorKind::Unrecorded,
        OverBudget::Reached { .. } => ErrorKind::OverBudget,
    };
    let mut error = Error::new(kind, refusal(over));
    if kind == ErrorKind::Unrecorded {
        // No call was made, and it is known in a moment.
        error.retry_after = Some(Duration::from_secs(1));
    }
    error
}

/// What a client is told whose call a budget refuses.
fn refusal(over: &OverBudget) -> String {
    match over {
        OverBudget::Short(_) => "what may be spent is not known yet: try again in a moment".to_owned(),
        OverBudget::Unknown(scope) => {
            format!("what the {scope} may spend is not known at this moment: try again in a moment")
        }
        OverBudget::Reached { status, needed_nano_usd } => {
            let BudgetStatus { scope, period, limit_nano_usd, spent_nano_usd, reserved_nano_usd, until_ms, .. } =
                status;
            let needed = match needed_nano_usd {
                0 => String::new(),
                needed => format!(" ${}, which this request may cost (a lower max_tokens needs less)", short(*needed)),
            };
            format!(
                "the budget of the {scope}, ${} a {}, has no room for{}: ${} is spent and ${} reserved for requests under way; it \
                 begins anew at {}",
                short(*limit_nano_usd),
                period.as_str(),
                if needed.is_empty() { " this request" } else { &needed },
                short(spent_nano_usd.unwrap_or_default()),
                short(*reserved_nano_usd),
                moment(*until_ms),
            )
        }
    }
}

/// US dollars without zeros that say nothing, but with cents.
pub(crate) fn short(nano_usd: u64) -> String {
    let text = NanoUsd(nano_usd).to_string();
    let cents = text.len() - 7;
    let (kept, rest) = text.split_at(cents);
    format!("{kept}{}", rest.trim_end_matches('0'))
}

/// A moment as RFC 3339 has it, in UTC.
pub(crate) fn moment(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map(|at| at.to_string()).unwrap_or_default()
}

/// Logs thresholds that were passed.
pub(crate) fn report(passed: impl IntoIterator<Item = Threshold>) {
    for Threshold { percent, status } in passed {
        tracing::warn!(
            budget = %status.scope,
            period = status.period.as_str(),
            percent,
            spent_usd = short(status.spent_nano_usd.unwrap_or_default()),
            limit_usd = short(status.limit_nano_usd),
            begins_anew = moment(status.until_ms),
            "a budget is used to this part"
        );
    }
}

/// Asks the ledger, in a thread of its own, what was spent. The thread ends soon after this is dropped: nobody waits for it, because a
/// database that hangs must not hold up a stop.
pub(crate) struct Refresher {
    _stop: Sender<()>,
}

impl Refresher {
    /// Begins the thread, and waits until it has asked once. If the ledger does not answer in time, budgets whose use is not known
    /// grant nothing until it does. What it answers goes to the other `replicas` as well.
    pub(crate) fn start(
        ledger: Arc<Ledger>,
        budgets: Arc<Budgets>,
        replicas: Option<(Arc<Shared>, Arc<Recorded>)>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let (first, answered) = channel();
        let rounds_to_all = match ledger.location() {
            Location::Sqlite(_) => ROUNDS_TO_ALL.0,
            Location::Postgres(_) => ROUNDS_TO_ALL.1,
        };
        Builder::new().name("budgets".into()).spawn(move || {
            report(ledger.refresh(&budgets, false, clock::now_ms(), LONGEST_START));
            // Whoever waited may have gone.
            first.send(()).unwrap_or_default();
            let mut rounds = 0_u32;
            while stopped.recv_timeout(NEW) == Err(RecvTimeoutError::Timeout) {
                rounds = (rounds + 1) % rounds_to_all;
                let all = replicas.as_ref().filter(|_| rounds == 0);
                let correction = all.and_then(|(shared, recorded)| Correction::begin(shared, recorded, &budgets));
                report(ledger.refresh(&budgets, rounds == 0, clock::now_ms(), LONGEST_WAIT));
                let answers = budgets.take_answers();
                if let Some(correction) = correction {
                    correction.end(answers);
                }
            }
        })?;
        // Too late is no error, as above.
        answered.recv_timeout(LONGEST_START).unwrap_or_default();
        Ok(Self { _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_which_budget_how_far_it_is_used_and_when_it_begins_anew() {
        let scope = Scope { dimension: Dimension::Team, name: "search".into() };
        let status = BudgetStatus {
            scope: scope.clone(),
            period: Period::Month,
            limit_nano_usd: 100_000_000_000,
            spent_nano_usd: Some(99_990_000_100),
            reserved_nano_usd: 9_000_000,
            from_ms: 1_793_491_200_000,
            until_ms: 1_796_083_200_000,
        };
        assert_eq!(
            refusal(&OverBudget::Reached { status: status.clone(), needed_nano_usd: 0 }),
            "the budget of the team \"search\", $100.00 a month, has no room for this request: $99.9900001 is spent and \
             $0.009 reserved for requests under way; it begins anew at 2026-12-01T00:00:00Z"
        );
        let needed = refusal(&OverBudget::Reached { status, needed_nano_usd: 100_000_000 });
        assert!(
            needed.contains("no room for $0.10, which this request may cost (a lower max_tokens needs less): $99.99"),
            "{needed}"
        );
        assert_eq!(
            refusal(&OverBudget::Unknown(scope)),
            "what the team \"search\" may spend is not known at this moment: try again in a moment"
        );
    }
}
