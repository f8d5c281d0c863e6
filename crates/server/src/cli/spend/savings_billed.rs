//! Savings as billed: what workers cost by the second, instead of the list price of their tokens.
//!
//! A baseline that would have used such an upstream is priced at what its tokens did cost in the time that is asked about: the list
//! cost of the answers there, times the upstream's worker time over the list cost of all its calls. That is an estimate: with other
//! traffic its workers would have been used otherwise. If the upstream did not run, nobody knows.

use std::collections::{BTreeMap, HashMap, HashSet};

use ledger::{Baseline, Dimension, GpuReport, GpuShare, Query, Snapshot, Spend, StoreError, closed_until_ms};
use router::Policy;
use settings::{Config, Model};

use super::{
    figures::{Figure, Grid},
    gpu_cost::tariffs,
    savings::percent,
};
use crate::gpu::rounded_part;

/// Values of a query's dimensions.
type Labels = Vec<Option<String>>;

/// The columns that are added.
const COLUMNS: [&str; 5] =
    ["billed_usd", "baseline_billed_usd", "billed_saved_usd", "billed_saved_percent", "baseline_is_estimate"];

/// An amount, and whether a measured average price is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Amount {
    nano_usd: u64,
    is_estimate: bool,
}

/// What some calls were billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spent {
    /// `None` if it cannot be told of one of them.
    nano_usd: Option<u64>,
    /// How many answers they gave.
    answers: u64,
}

/// What the ledger and the configuration say about the hours that are over.
pub(super) struct Billed {
    /// What was billed, by labels.
    spent: HashMap<Labels, Spent>,
    /// What answers would have been billed, by labels and policy.
    baselines: HashMap<(Labels, String), Option<Amount>>,
}

impl Billed {
    /// Reads what it needs of the hours of the query that are over.
    pub(super) fn read(
        ledger: &mut Snapshot,
        query: &Query,
        config: Option<&Config>,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let query = Query { until_ms: query.until_ms.min(closed_until_ms(now_ms)), ..query.clone() };
        // An upstream's price is that of all its calls, whatever team is asked about.
        let report = ledger.gpu(&Query { of: Vec::new(), ..query.clone() }, &tariffs(config), now_ms)?;
        let mut by_model = query.clone();
        by_model.by.push(Dimension::Model);
        let (spent, baselines) = (ledger.spend(&query)?, ledger.baselines(&by_model)?);
        Ok(Self::new(&query, &report, config, &spent, baselines))
    }

    /// `baselines` have the model as their last label.
    pub(super) fn new(
        query: &Query,
        report: &GpuReport,
        config: Option<&Config>,
        spent: &[Spend],
        baselines: Vec<Baseline>,
    ) -> Self {
        let rates = Rates::new(report);
        let mut worker_time: HashMap<Labels, Option<(u64, u64)>> = HashMap::new();
        let of = |share: &&GpuShare| share.is_of(query);
        for share in report.shares.iter().filter(of) {
            let sum = worker_time.entry(share.labels(&query.by)).or_insert(Some((0, 0)));
            let billed = share.gpu_nano_usd.or_else(|| rates.of_calls(share));
            *sum = sum.zip(billed).map(|((list, all), billed)| (list + share.list_nano_usd, all + billed));
        }
        let billed = |spend: &Spend| {
            let (list, billed) = worker_time.get(&spend.labels).copied().unwrap_or(Some((0, 0)))?;
            Some(spend.cost_nano_usd.saturating_sub(list) + billed)
        };
        let of_calls =
            spent.iter().map(|spend| (spend.labels.clone(), Spent { nano_usd: billed(spend), answers: spend.answers }));
        let mut of_calls: HashMap<_, _> = of_calls.collect();
        for (labels, sum) in &worker_time {
            // Workers without calls.
            let of_nobody = Spent { nano_usd: sum.map(|(_, billed)| billed), answers: 0 };
            of_calls.entry(labels.clone()).or_insert(of_nobody);
        }
        Self { spent: of_calls, baselines: policies(&rates, config, baselines) }
    }

    /// Adds the columns to a grid of savings: a row's labels are those of the query, and the policy.
    pub(super) fn add_columns(&self, grid: &mut Grid) {
        grid.columns.extend(COLUMNS);
        for (labels, figures) in &mut grid.rows {
            let Some((Some(policy), labels)) = labels.split_last() else { continue };
            let of_labels = self.spent.get(labels);
            let spent = of_labels.and_then(|spent| spent.nano_usd);
            // Who has no answers in hours that are over would have been billed nothing for them. Answers without a baseline have an
            // unknown one.
            let baseline = self.baselines.get(&(labels.to_vec(), policy.clone())).copied();
            let baseline =
                baseline.unwrap_or_else(|| of_labels.filter(|spent| spent.answers == 0).map(|_| Amount::default()));
            let saved = spent.zip(baseline).map(|(spent, baseline)| i128::from(baseline.nano_usd) - i128::from(spent));
            let estimate = baseline.map(|baseline| if baseline.is_estimate { "yes" } else { "no" });
            figures.extend([
                Figure::usd_if(spent),
                Figure::usd_if(baseline.map(|baseline| baseline.nano_usd)),
                saved.map_or(Figure::Unknown, Figure::Usd),
                Figure::Percent(saved.and_then(|saved| percent(saved, baseline?.nano_usd))),
                Figure::Text(estimate.unwrap_or_default().to_owned()),
            ]);
        }
    }
}

/// What each policy would have been billed, by labels.
fn policies(
    rates: &Rates,
    config: Option<&Config>,
    baselines: Vec<Baseline>,
) -> HashMap<(Labels, String), Option<Amount>> {
    // What an upstream alone would have cost at list prices, by labels and model.
    let alone: HashMap<(Labels, String), u64> = baselines
        .iter()
        .map(|baseline| ((baseline.labels.clone(), baseline.policy.clone()), baseline.cost_nano_usd))
        .collect();
    let mut sums: HashMap<(Labels, String), Option<Amount>> = HashMap::new();
    for Baseline { mut labels, policy, cost_nano_usd, .. } in baselines {
        let of_model = labels.clone();
        let name = labels.pop().flatten();
        let model =
            config.and_then(|config| config.models.iter().find(|model| Some(model.name.as_str()) == name.as_deref()));
        let amount = match (policy.strip_prefix("all:"), model) {
            (Some(upstream), _) => rates.amount(upstream, cost_nano_usd),
            (None, Some(model)) if policy == Policy::CONFIGURED => {
                model.baseline.as_ref().and_then(|upstream| rates.amount(upstream.as_str(), cost_nano_usd))
            }
            (None, Some(model)) if policy == Policy::SPLIT => {
                split(rates, model, |upstream| alone.get(&(of_model.clone(), format!("all:{upstream}"))).copied())
            }
            // Without the configuration nobody knows which upstreams these are: it does not matter if all of them bill tokens.
            (None, _) => rates.are_all_by_token().then_some(Amount { nano_usd: cost_nano_usd, is_estimate: false }),
        };
        let sum = sums.entry((labels, policy)).or_insert(Some(Amount::default()));
        *sum = sum.zip(amount).map(|(sum, amount)| Amount {
            nano_usd: sum.nano_usd + amount.nano_usd,
            is_estimate: sum.is_estimate || amount.is_estimate,
        });
    }
    sums
}

/// What a model's configured shares would have been billed, if `alone` is the list cost of everything at one upstream.
fn split(rates: &Rates, model: &Model, alone: impl Fn(&str) -> Option<u64>) -> Option<Amount> {
    let shares: f64 = model.targets.iter().map(|target| target.share).sum();
    let mut sum = Amount::default();
    for target in model.targets.iter().filter(|target| target.share > 0.0) {
        let list = alone(target.upstream.as_str())?;
        let amount = rates.amount(target.upstream.as_str(), scaled(list, target.share / shares))?;
        sum.nano_usd += amount.nano_usd;
        sum.is_estimate |= amount.is_estimate;
    }
    Some(sum)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of an amount far below 2^53 nano-dollars, which is an estimate anyway"
)]
fn scaled(nano_usd: u64, share: f64) -> u64 {
    (nano_usd as f64 * share).round() as u64
}

/// What worker time cost, against the list cost of the calls that it was for.
struct Rates {
    /// Upstreams that bill worker time, or did.
    by_time: HashSet<String>,
    /// Of each with calls that are billed so, what is known of them.
    measured: HashMap<String, Measured>,
    /// Of each that bills tokens as well, or did, what these cost, in nano-dollars.
    by_token: BTreeMap<String, u64>,
}

/// Worker time and the list cost of the calls that share it, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Measured {
    billed: u64,
    list: u64,
}

impl Rates {
    fn new(report: &GpuReport) -> Self {
        let recorded = report.upstreams.iter().map(|upstream| upstream.name.clone());
        let by_time = recorded.chain(report.tariffs.of_workers().map(str::to_owned)).collect();
        let mut measured: HashMap<String, Measured> = HashMap::new();
        for share in &report.shares {
            let sum = measured.entry(share.upstream.clone()).or_default();
            let Some(billed) = share.gpu_nano_usd else { continue };
            *sum = Measured { billed: sum.billed + billed, list: sum.list + share.list_nano_usd };
        }
        Self { by_time, measured, by_token: report.by_token_nano_usd.clone() }
    }

    fn are_all_by_token(&self) -> bool {
        self.by_time.is_empty()
    }

    /// What tokens with this list cost would have been billed at an upstream. If it changed from the one to the other in this time, that
    /// is an average of both.
    fn amount(&self, upstream: &str, list_nano_usd: u64) -> Option<Amount> {
        let by_token = self.by_token.get(upstream).copied().unwrap_or_default();
        let Some(measured) = self.measured.get(upstream) else {
            let is_by_token = !self.by_time.contains(upstream) || by_token > 0;
            return is_by_token.then_some(Amount { nano_usd: list_nano_usd, is_estimate: false });
        };
        let all = Measured { billed: measured.billed + by_token, list: measured.list + by_token };
        let is_known = measured.billed > 0 && measured.list > 0;
        is_known.then(|| Amount { nano_usd: rounded_part(list_nano_usd, all.billed, all.list), is_estimate: true })
    }

    /// What calls without a share may have cost; `None` for workers without calls.
    fn of_calls(&self, share: &GpuShare) -> Option<u64> {
        if share.list_nano_usd == 0 {
            return (share.calls > 0).then_some(0);
        }
        let measured = self.measured.get(&share.upstream).filter(|sum| sum.billed > 0 && sum.list > 0)?;
        Some(rounded_part(share.list_nano_usd, measured.billed, measured.list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_hours_that_are_not_over_have_nothing_as_billed() {
        let labels = vec![Some("search".to_owned())];
        let row = || (vec![labels[0].clone(), Some("all:runpod".to_owned())], Vec::new());
        let grid =
            || Grid { labels: Vec::new(), columns: Vec::new(), rows: vec![row()], total: None, notes: Vec::new() };
        let shown = |billed: &Billed| {
            let mut grid = grid();
            billed.add_columns(&mut grid);
            grid.rows[0].1.iter().map(Figure::text).collect::<Vec<_>>()
        };
        let mut billed = Billed { spent: HashMap::new(), baselines: HashMap::new() };
        assert_eq!(shown(&billed), ["", "", "", "", ""], "unknown is not zero");
        billed.spent.insert(labels.clone(), Spent { nano_usd: Some(7), answers: 2 });
        assert_eq!(shown(&billed), ["0.000000007", "", "", "", ""], "answers without a baseline were not free");
        billed.spent.insert(labels.clone(), Spent { nano_usd: Some(7), answers: 0 });
        assert_eq!(shown(&billed), ["0.000000007", "0.000000000", "-0.000000007", "", "no"], "it was all for nothing");
    }
}
