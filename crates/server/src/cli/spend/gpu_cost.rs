//! What calls cost of workers that are billed by the second, beside their list cost.

use std::collections::{HashMap, HashSet};

use ledger::{Dimension, GpuReport, GpuShare, Query, Spend, Tariffs};
use provider::Tariff;
use settings::Config;

use super::figures::{Figure, Grid};

/// Values of a query's dimensions.
type Labels = Vec<Option<String>>;

/// How upstreams bill, as far as a configuration says so.
pub(super) fn tariffs(config: Option<&Config>) -> Tariffs {
    let upstreams = config.map(|config| config.upstreams.as_slice()).unwrap_or_default().iter();
    Tariffs::new(upstreams.map(|upstream| {
        let prices = upstream.prices.iter();
        let prices = prices.map(|price| (price.version.to_string(), matches!(price.tariff, Tariff::GpuSeconds { .. })));
        (upstream.id.to_string(), prices.collect())
    }))
}

/// What calls to upstreams that bill worker time cost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct GpuCost {
    /// Their shares of worker time; `None` if none of them has one.
    pub(super) shared_nano_usd: Option<u64>,
    /// What they cost at list prices, those without a share included.
    pub(super) list_nano_usd: u64,
    /// Calls without a share: of hours that are not over, or in which the workers were not counted.
    pub(super) unshared_calls: u64,
    /// Whether something has no share: calls, or workers without calls.
    is_incomplete: bool,
}

impl GpuCost {
    fn add(&mut self, share: &GpuShare) {
        self.list_nano_usd += share.list_nano_usd;
        if let Some(nano_usd) = share.gpu_nano_usd {
            *self.shared_nano_usd.get_or_insert_default() += nano_usd;
        } else {
            self.unshared_calls += share.calls;
            self.is_incomplete = true;
        }
    }

    /// What is on invoices for these calls, as far as it is known: shares of worker time instead of list prices. Calls without a share
    /// are not in it; `None` if there are no others.
    fn known_nano_usd(&self, spend: &Spend) -> Option<u64> {
        let is_known = self.shared_nano_usd.is_some() || spend.calls > self.unshared_calls || spend.calls == 0;
        let by_token = spend.cost_nano_usd.saturating_sub(self.list_nano_usd);
        is_known.then(|| by_token + self.shared_nano_usd.unwrap_or_default())
    }
}

/// The same for each row of a report.
pub(super) struct GpuCosts {
    by_labels: HashMap<Labels, GpuCost>,
}

impl GpuCosts {
    pub(super) fn new(report: &GpuReport, by: &[Dimension]) -> Self {
        let mut by_labels: HashMap<Labels, GpuCost> = HashMap::new();
        for share in &report.shares {
            by_labels.entry(share.labels(by)).or_default().add(share);
        }
        Self { by_labels }
    }

    /// The rows of calls, and one for each combination of labels that only workers without calls have.
    pub(super) fn complete(&self, mut rows: Vec<Spend>, query: &Query) -> Vec<Spend> {
        let known: HashSet<_> = rows.iter().map(|row| &row.labels).collect();
        let mut of_nobody: Vec<_> = self.by_labels.keys().filter(|labels| !known.contains(labels)).cloned().collect();
        of_nobody.sort();
        rows.extend(of_nobody.into_iter().map(|labels| Spend { labels, ..Spend::default() }));
        if let Some(day) = query.by.iter().position(|dimension| *dimension == Dimension::Day) {
            rows.sort_by(|a, b| a.labels[day].cmp(&b.labels[day]));
        }
        rows
    }

    /// Adds columns to the grid of these rows, which are in its order.
    pub(super) fn add_columns(&self, grid: &mut Grid, rows: &[Spend]) {
        grid.columns.extend(["gpu_cost_usd", "billed_usd", "gpu_unshared_calls", "billed_known_usd"]);
        let mut total = (GpuCost::default(), None::<u64>);
        for (spend, (_, figures)) in rows.iter().zip(&mut grid.rows) {
            let cost = self.by_labels.get(&spend.labels).copied().unwrap_or_default();
            let known = cost.known_nano_usd(spend);
            figures.extend(Self::figures(cost, known));
            let (sum, known_of_all) = &mut total;
            sum.shared_nano_usd = sum_known(sum.shared_nano_usd, cost.shared_nano_usd);
            sum.unshared_calls += cost.unshared_calls;
            sum.is_incomplete |= cost.is_incomplete;
            *known_of_all = sum_known(*known_of_all, known);
        }
        if let Some(figures) = &mut grid.total {
            figures.extend(Self::figures(total.0, total.1));
        }
    }

    fn figures(cost: GpuCost, known_nano_usd: Option<u64>) -> [Figure; 4] {
        [
            Figure::usd_if(cost.shared_nano_usd),
            Figure::usd_if(known_nano_usd.filter(|_| !cost.is_incomplete)),
            Figure::Count(cost.unshared_calls),
            Figure::usd_if(known_nano_usd),
        ]
    }
}

/// The sum of what is known.
fn sum_known(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).reduce(|a, b| a + b)
}
