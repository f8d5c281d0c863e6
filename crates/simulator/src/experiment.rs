//! Every policy in every scenario with every seed, on all cores.

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde::Serialize;

use crate::{
    baselines::PolicyFactory,
    bound::{Bound, BoundError, bound},
    metrics::{Metrics, Shape, metrics},
    policy::{Policy, Setup},
    providers::Providers,
    scenario::{Case, Scenario, ScenarioError},
    statistics::Summary,
    trace::Trace,
    world::{Rules, replay},
};

/// What is to be compared.
#[derive(Debug)]
pub struct Experiment<'a> {
    /// The requests.
    pub trace: &'a Trace,
    /// The upstreams.
    pub providers: &'a Providers,
    /// What happens meanwhile.
    pub scenarios: &'a [Scenario],
    /// Who decides.
    pub policies: &'a [PolicyFactory],
    /// Seeds, from 1.
    pub seeds: u64,
    /// Whether the limit is computed too.
    pub bound: bool,
    /// How runs are made.
    pub rules: Rules,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// The trace's name.
    pub trace: String,
    /// Runs of each policy in each scenario.
    pub seeds: u64,
    /// The SLO, in seconds to the first token.
    pub slo_ttft_s: f64,
    /// The upstreams' ids, in the order of the shares.
    pub upstreams: Vec<String>,
    /// One for each scenario.
    pub scenarios: Vec<ScenarioResult>,
}

/// The results of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioResult {
    /// The scenario's name.
    pub scenario: String,
    /// The limit, if it was asked for and could be computed.
    pub bound: Option<Bound>,
    /// Why it could not be computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_bound: Option<String>,
    /// One for each policy.
    pub policies: Vec<PolicyResult>,
}

/// The results of one policy in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyResult {
    /// The policy's name.
    pub policy: String,
    /// Means over the seeds.
    #[serde(flatten)]
    pub summary: Summary,
    /// The data for charts, from the first seed's run.
    #[serde(skip)]
    pub shape: Shape,
}

/// One run of one policy. The same case, policy and seed give the same metrics.
pub fn run(case: &Case, policy: &mut dyn Policy, seed: u64, rules: Rules) -> Metrics {
    metrics(case, &replay(case, policy, seed, rules))
}

/// A piece of work for one thread.
#[derive(Debug, Clone, Copy)]
enum Work {
    Bound { case: usize },
    Run { case: usize, factory: usize, seed: u64 },
}

/// The result of a piece of work.
#[derive(Debug)]
enum Done {
    Bound { case: usize, bound: Result<Bound, BoundError> },
    Run { case: usize, factory: usize, metrics: Box<Metrics> },
}

impl Experiment<'_> {
    /// Does all of it. `progress` is called from any thread, with how much is done and how much there is.
    pub fn run(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Results, ScenarioError> {
        let cases = self.scenarios.iter().map(|scenario| scenario.apply(self.trace, self.providers));
        let cases: Vec<Case> = cases.collect::<Result<_, _>>()?;
        let mut bounds: Vec<Option<Result<Bound, BoundError>>> = cases.iter().map(|_| None).collect();
        let mut runs: Vec<Vec<Vec<Metrics>>> = vec![vec![Vec::new(); self.policies.len()]; cases.len()];
        for done in self.done(&cases, &self.work(), progress) {
            match done {
                Done::Bound { case, bound } => bounds[case] = Some(bound),
                Done::Run { case, factory, metrics } => runs[case][factory].push(*metrics),
            }
        }
        let scenarios = cases.iter().zip(bounds).zip(runs).map(|((case, bound), runs)| {
            let (bound, no_bound) = match bound {
                Some(Err(error)) => (None, Some(error.to_string())),
                found => (found.and_then(Result::ok), None),
            };
            let policies = self.policies.iter().zip(runs).map(|(factory, runs)| PolicyResult::of(factory, runs));
            ScenarioResult { scenario: case.scenario.clone(), bound, no_bound, policies: policies.collect() }
        });
        Ok(Results {
            trace: self.trace.name().to_owned(),
            seeds: self.seeds,
            slo_ttft_s: crate::time::seconds(self.providers.slo_ttft),
            upstreams: self.providers.upstreams.iter().map(|upstream| upstream.id.clone()).collect(),
            scenarios: scenarios.collect(),
        })
    }

    /// Everything there is to do, the longest pieces first.
    fn work(&self) -> Vec<Work> {
        let cases = 0..self.scenarios.len();
        let bounds = cases.clone().filter(|_| self.bound).map(|case| Work::Bound { case });
        let runs = cases.flat_map(|case| {
            let policies = 0..self.policies.len();
            policies.flat_map(move |factory| (1..=self.seeds).map(move |seed| Work::Run { case, factory, seed }))
        });
        bounds.chain(runs).collect()
    }

    /// The results of `work`, in its order.
    fn done(&self, cases: &[Case], work: &[Work], progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<Done> {
        let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let count = work.len();
        let share = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(work) = work.get(number) else { return done };
                done.push((number, self.piece(cases, *work)));
                progress(finished.fetch_add(1, Ordering::Relaxed) + 1, count);
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let mut done: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (1..threads).map(|_| scope.spawn(share)).collect();
            let mut done = share();
            for thread in threads {
                match thread.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, done)| done).collect()
    }

    fn piece(&self, cases: &[Case], work: Work) -> Done {
        match work {
            Work::Bound { case } => Done::Bound { case, bound: bound(&cases[case]) },
            Work::Run { case, factory, seed } => {
                let mut policy = self.policies[factory].make(&Setup::new(&cases[case], seed));
                let metrics = Box::new(run(&cases[case], policy.as_mut(), seed, self.rules));
                Done::Run { case, factory, metrics }
            }
        }
    }
}

impl PolicyResult {
    fn of(factory: &PolicyFactory, runs: Vec<Metrics>) -> Self {
        let summary = Summary::of(&runs);
        let shape = runs.into_iter().next().map(|run| run.shape).unwrap_or_default();
        Self { policy: factory.name().to_owned(), summary, shape }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::{
        baselines::baselines,
        time::SECOND,
        trace::{Arrival, Trace},
    };

    #[test]
    fn threads_change_no_result_and_every_piece_of_work_is_reported() {
        let arrivals = (0..300).map(|k| Arrival { at: k * SECOND / 4, prompt_tokens: 500, completion_tokens: 50 });
        let trace = Trace::new("t", arrivals.collect()).unwrap();
        let providers = Providers::shipped().unwrap();
        let mut scenarios = Scenario::shipped().unwrap();
        scenarios.truncate(3);
        let policies = baselines(&providers);
        let experiment = Experiment {
            trace: &trace,
            providers: &providers,
            scenarios: &scenarios,
            policies: &policies,
            seeds: 2,
            bound: true,
            rules: Rules::default(),
        };
        let work = scenarios.len() * (1 + 2 * policies.len());
        let (calls, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let results = experiment.run(&|done, of| {
            assert_eq!(of, work);
            calls.fetch_add(1, Ordering::Relaxed);
            sum.fetch_add(done, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), work);
        assert_eq!(sum.into_inner(), work * (work + 1) / 2, "each count once");
        assert_eq!(results.unwrap(), experiment.run(&|_, _| {}).unwrap());
    }
}
