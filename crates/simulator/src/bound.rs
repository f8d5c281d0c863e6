//! The limit that no router can pass: a linear relaxation of the simulated world.
//!
//! The trace is cut into windows and its requests into classes of size. How many requests of each class in each window
//! each upstream serves is then a linear programme: it keeps the workers' tokens a second, the token buckets with their
//! bursts, and outages; it ignores that requests are whole, that workers start, that queues form, and that the future
//! is unknown. First it serves as many as it can, then it serves that many as cheaply as it can.

use microlp::{ComparisonOp, OptimizationDirection, Problem, Variable};
use serde::Serialize;

use crate::{scenario::Case, trace::as_f64};

mod windows;

use windows::{Capacity, Window, windows};

/// The part of the requests that could be served which the cheapest way must serve; all of them would leave the solver
/// no tolerance.
const SERVED: f64 = 0.9999;

/// The limit that no router can pass in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bound {
    /// Most requests that can be within the SLO, in percent.
    pub slo_percent: f64,
    /// The cheapest way to serve that many.
    pub cheapest: Cheapest,
    /// The cheapest way in which the upstream of the greatest share serves no more than that; `None` where there is none.
    pub within_share: Option<Cheapest>,
}

/// The cheapest way to serve as many requests as can be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cheapest {
    /// Dollars for a million tokens.
    pub usd_per_million: f64,
    /// For each upstream, its part of the requests, in percent.
    pub share_percent: Vec<f64>,
}

/// Why there is no bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoundError {
    /// The linear programme could not be solved.
    #[error("the limit could not be computed: {0}")]
    Solver(#[from] microlp::Error),
    /// The solver gave up before it was done.
    #[error("the limit could not be computed: the solver stopped early")]
    Stopped,
}

/// A linear programme over what each upstream serves.
struct Programme {
    problem: Problem,
    served: Vec<Served>,
}

/// How many requests of one class in one window an upstream serves.
struct Served {
    requests: Variable,
    upstream: usize,
    tokens: f64,
}

/// The objective of a linear programme.
#[derive(Clone, Copy, PartialEq)]
enum Objective {
    MostServed,
    LeastCost { serving: f64, most_of: Option<(usize, f64)> },
}

/// The limit of `case`.
pub fn bound(case: &Case) -> Result<Bound, BoundError> {
    let windows = windows(case);
    let requests = as_f64(case.trace.arrivals().len() as u64);
    let (most, _) = solve(&programme(case, &windows, Objective::MostServed))?;
    let serving = most * SERVED;
    let cheapest = cheapest(case, &windows, Objective::LeastCost { serving, most_of: None })?;
    let upstreams = &case.providers.upstreams;
    let shares: f64 = upstreams.iter().map(|upstream| upstream.share).sum();
    let first = (0..upstreams.len()).reduce(|a, b| if upstreams[b].share > upstreams[a].share { b } else { a });
    let most_of = first.map(|first| (first, upstreams[first].share / shares));
    let within_share = match self::cheapest(case, &windows, Objective::LeastCost { serving, most_of }) {
        Ok(within_share) => Some(within_share),
        Err(BoundError::Solver(microlp::Error::Infeasible)) => None,
        Err(error) => return Err(error),
    };
    Ok(Bound { slo_percent: 100.0 * most / requests, cheapest, within_share })
}

fn cheapest(case: &Case, windows: &[Window], objective: Objective) -> Result<Cheapest, BoundError> {
    let programme = programme(case, windows, objective);
    let (cost, served) = solve(&programme)?;
    let mut shares = vec![0.0; case.providers.upstreams.len()];
    let mut tokens = 0.0;
    for (class, requests) in programme.served.iter().zip(served) {
        shares[class.upstream] += requests;
        tokens += requests * class.tokens;
    }
    let total: f64 = shares.iter().sum();
    let share_percent = shares.into_iter().map(|share| 100.0 * share / total.max(1e-9)).collect();
    Ok(Cheapest { usd_per_million: cost / tokens.max(1e-9), share_percent })
}

/// The optimum, and how many requests it serves for each entry of `served`.
fn solve(programme: &Programme) -> Result<(f64, Vec<f64>), BoundError> {
    let solution = programme.problem.solve()?.into_solution().map_err(|_| BoundError::Stopped)?;
    let served = programme.served.iter().map(|served| solution.var_value(served.requests));
    Ok((solution.objective(), served.collect()))
}

fn programme(case: &Case, windows: &[Window], objective: Objective) -> Programme {
    let direction = match objective {
        Objective::MostServed => OptimizationDirection::Maximize,
        Objective::LeastCost { .. } => OptimizationDirection::Minimize,
    };
    let mut programme = Programme { problem: Problem::new(direction), served: Vec::new() };
    let mut levels = vec![Levels::default(); case.providers.upstreams.len()];
    for window in windows {
        programme.add(case, window, objective, &mut levels);
    }
    if let Objective::LeastCost { serving, most_of } = objective {
        let all: Vec<_> = programme.served.iter().map(|served| (served.requests, 1.0)).collect();
        programme.problem.add_constraint(&all, ComparisonOp::Ge, serving);
        if let Some((upstream, share)) = most_of {
            let beyond = programme.served.iter();
            let beyond =
                beyond.map(|served| (served.requests, f64::from(u8::from(served.upstream == upstream)) - share));
            programme.problem.add_constraint(beyond.collect::<Vec<_>>(), ComparisonOp::Le, 0.0);
        }
    }
    programme
}

/// What is left in an upstream's buckets after a window.
#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    requests: Option<Variable>,
    /// In thousands.
    tokens: Option<Variable>,
}

impl Programme {
    fn add(&mut self, case: &Case, window: &Window, objective: Objective, levels: &mut [Levels]) {
        let upstreams = &case.providers.upstreams;
        let mut by_upstream: Vec<Vec<(Variable, f64, f64)>> = vec![Vec::new(); upstreams.len()];
        for class in window.classes.iter().filter(|class| class.requests > 0.0) {
            let mut all = Vec::new();
            for (upstream, settings) in upstreams.iter().enumerate() {
                let (input, output) = (settings.price.input.0, settings.price.output.0);
                let weight = match objective {
                    Objective::MostServed => 1.0,
                    Objective::LeastCost { .. } => {
                        (as_f64(input) * class.prompt_tokens + as_f64(output) * class.completion_tokens) / 1e6
                    }
                };
                let most = if window.capacity[upstream].is_down() { 0.0 } else { class.requests };
                let requests = self.problem.add_var(weight, (0.0, most));
                let tokens = class.prompt_tokens + class.completion_tokens;
                self.served.push(Served { requests, upstream, tokens });
                by_upstream[upstream].push((requests, class.prompt_tokens, class.completion_tokens));
                all.push((requests, 1.0));
            }
            self.problem.add_constraint(&all, ComparisonOp::Le, class.requests);
        }
        for (upstream, served) in by_upstream.into_iter().enumerate() {
            self.limit(window.capacity[upstream], &served, &mut levels[upstream]);
        }
    }

    /// What an upstream can do in a window. Tokens count in thousands, so that all numbers are of one magnitude.
    fn limit(&mut self, capacity: Capacity, served: &[(Variable, f64, f64)], levels: &mut Levels) {
        let sum = |of: fn(f64, f64) -> f64| {
            served.iter().map(|&(requests, prompt, completion)| (requests, of(prompt, completion))).collect::<Vec<_>>()
        };
        match capacity {
            Capacity::Workers { prompt_tokens, completion_tokens } => {
                if capacity.is_down() || served.is_empty() {
                    return;
                }
                let prompts = sum(|prompt, _| prompt / 1e3);
                self.problem.add_constraint(&prompts, ComparisonOp::Le, prompt_tokens / 1e3);
                let completions = sum(|_, completion| completion / 1e3);
                self.problem.add_constraint(&completions, ComparisonOp::Le, completion_tokens / 1e3);
            }
            Capacity::Limits { requests, tokens, .. } => {
                let before = *levels;
                let spent = sum(|prompt, completion| (prompt + completion) / 1e3);
                let tokens = tokens.map(|tokens| tokens.scaled(1e-3));
                levels.tokens = tokens.map(|tokens| self.bucket(tokens, spent, before.tokens));
                levels.requests = requests.map(|bucket| self.bucket(bucket, sum(|_, _| 1.0), before.requests));
            }
        }
    }

    /// A token bucket over a window: what it held, and gained, is what was spent and what is left, which is at most a bucket.
    fn bucket(
        &mut self,
        windows::Bucket { holds, gains, slack }: windows::Bucket,
        mut spent: Vec<(Variable, f64)>,
        before: Option<Variable>,
    ) -> Variable {
        let left = self.problem.add_var(0.0, (-slack, holds));
        spent.push((left, 1.0));
        let gained = match before {
            Some(level) => {
                spent.push((level, -1.0));
                gains
            }
            None => holds + gains,
        };
        self.problem.add_constraint(&spent, ComparisonOp::Le, gained);
        left
    }
}

#[cfg(test)]
mod tests;
