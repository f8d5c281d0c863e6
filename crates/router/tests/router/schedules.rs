//! Random schedules: whatever happens in whatever order, permits are counted and no limit is beyond a deadline.

use proptest::{collection::vec, prelude::*, sample::select};
use provider::{ErrorKind, PicoUsd, Price, Quota, Tariff};
use router::{Action, Hedge, RequestState, StrategyName};

use crate::hand::{Hand, MS, TIMEOUT, error, model, upstream};

/// What happens next; numbers name one of the requests that are there.
#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u32),
    Arrives(bool),
    FirstToken(usize),
    Fails(usize, ErrorKind),
    Ends(usize),
    Leaves(usize),
    /// One that has a call gets a second one, if it may.
    Hedges(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kinds = [
        TIMEOUT,
        ErrorKind::Connect,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::Unsupported,
        ErrorKind::NoMemory,
        ErrorKind::Unrecorded,
        ErrorKind::OverBudget,
        ErrorKind::Protocol,
    ];
    let step = prop_oneof![
        2 => (0..3_000_u32).prop_map(Step::Pass),
        4 => any::<bool>().prop_map(Step::Arrives),
        2 => any::<usize>().prop_map(Step::FirstToken),
        3 => (any::<usize>(), select(kinds.to_vec())).prop_map(|(at, kind)| Step::Fails(at, kind)),
        1 => any::<usize>().prop_map(Step::Ends),
        1 => any::<usize>().prop_map(Step::Leaves),
        3 => any::<usize>().prop_map(Step::Hedges),
    ];
    vec(step, 1..200)
}

/// A request that is not over, and when it wants to be woken.
struct Open {
    request: RequestState,
    wakes: Option<provider::Time>,
}

/// The target of one of the two calls under way, if there are two.
fn one_of_two(request: &RequestState, which: usize) -> Option<usize> {
    let two = [request.attempt()?.target, request.rival()?.target];
    Some(two[which % 2])
}

/// Two models that share the upstream `b`.
struct Run {
    hand: Hand,
    open: Vec<Open>,
}

impl Run {
    fn new(strategy: StrategyName) -> Self {
        let upstreams = ["a", "b", "c"].map(|id| {
            let mut spec = upstream(id);
            spec.max_in_flight = 3;
            spec.tariff = Some(Tariff::Tokens(Price::new(PicoUsd(20_000), PicoUsd(20_000))));
            spec
        });
        let mut models =
            vec![model("m", strategy, &[("a", 0.8), ("b", 0.2)]), model("n", strategy, &[("b", 0.5), ("c", 0.5)])];
        for model in &mut models {
            model.hedge = Some(Hedge { most_extra_cost: 1.0, after: Some(MS) });
        }
        Self { hand: Hand::new(upstreams.into(), models), open: Vec::new() }
    }

    /// Carries an action out.
    fn act(&mut self, request: RequestState, action: &Action) {
        let deadline = request.deadline();
        match action {
            Action::Start(start) => {
                assert!(start.limit <= deadline, "{:?} is beyond {deadline:?}", start.limit);
                self.open.push(Open { request, wakes: None });
            }
            Action::Wait { until } => {
                assert!(*until >= self.hand.now && *until < deadline, "{until:?} is beyond {deadline:?}");
                self.open.push(Open { request, wakes: Some(*until) });
            }
            Action::GiveUp(_) => assert!(request.attempt().is_none()),
        }
    }

    fn take(&mut self, at: usize, is: impl Fn(&Open) -> bool) -> Option<RequestState> {
        let found: Vec<_> = (0..self.open.len()).filter(|at| is(&self.open[*at])).collect();
        let at = *found.get(at.checked_rem(found.len())?)?;
        Some(self.open.swap_remove(at).request)
    }

    fn wake(&mut self) {
        let now = self.hand.now;
        while let Some(mut request) = self.take(0, |open| open.wakes.is_some_and(|at| at <= now)) {
            let action = self.hand.timer(&mut request);
            self.act(request, &action);
        }
    }

    fn step(&mut self, step: Step) {
        self.happens(step);
        while let Some(woken) = self.hand.engine.take_woken() {
            let is = |open: &Open| open.wakes.is_some() && open.request.number() == woken;
            let Some(mut request) = self.take(0, is) else { continue };
            let action = self.hand.timer(&mut request);
            self.act(request, &action);
        }
    }

    fn happens(&mut self, step: Step) {
        let calls = |open: &Open| open.request.attempt().is_some();
        match step {
            Step::Pass(millis) => {
                self.hand.pass(millis * MS);
                self.wake();
            }
            Step::Arrives(to_the_other) => {
                let mut request = self.hand.request(if to_the_other { "n" } else { "m" });
                let action = self.hand.arrived(&mut request);
                self.act(request, &action);
            }
            Step::FirstToken(at) => {
                let Some(mut request) = self.take(at, calls) else { return };
                if !request.is_committed() {
                    if let Some(winner) = one_of_two(&request, at) {
                        self.hand.engine.won(&mut request, winner, self.hand.now);
                    }
                    self.hand.engine.first_token(&mut request, Quota::default(), self.hand.now, &mut self.hand.rng);
                }
                self.open.push(Open { request, wakes: None });
            }
            Step::Fails(at, kind) => {
                let Some(mut request) = self.take(at, calls) else { return };
                request.identify(at as u64 % 5);
                if request.is_committed() {
                    self.hand.engine.broke(&mut request, &error(kind), self.hand.now, &mut self.hand.rng);
                } else if let Some(failed) = one_of_two(&request, at) {
                    let Hand { engine, now, rng, .. } = &mut self.hand;
                    engine.one_failed(&mut request, failed, error(kind), *now, rng);
                    assert!(request.attempt().is_some() && request.rival().is_none());
                    self.open.push(Open { request, wakes: None });
                } else {
                    let action = self.hand.failed(&mut request, kind);
                    self.act(request, &action);
                }
            }
            Step::Ends(at) => {
                let Some(mut request) = self.take(at, |open| open.request.is_committed()) else { return };
                self.hand.engine.served(&mut request, Some(40), self.hand.now);
            }
            Step::Leaves(at) => {
                let Some(mut request) = self.take(at, |_| true) else { return };
                self.hand.engine.left(&mut request, self.hand.now);
            }
            Step::Hedges(at) => {
                let Some(mut request) = self.take(at, calls) else { return };
                if let Some(second) = self.hand.engine.hedge(&mut request, self.hand.now) {
                    assert!(second.limit <= request.deadline());
                    assert_ne!(Some(second.attempt.target), request.attempt().map(|first| first.target));
                }
                self.open.push(Open { request, wakes: None });
            }
        }
    }

    /// Each upstream has as many calls in flight as there are attempts at it, and never more than it may.
    fn check(&mut self) {
        for id in ["a", "b", "c"] {
            let calls = |open: &Open| {
                let targets = [open.request.attempt(), open.request.rival()].map(|it| it.map(|attempt| attempt.target));
                let ids = targets.into_iter().flatten().map(|target| &open.request.model().targets()[target].spec.id);
                ids.filter(|of| of.as_str() == id).count()
            };
            let attempts: usize = self.open.iter().map(calls).sum();
            assert_eq!(self.hand.in_flight(id) as usize, attempts, "at {id}");
            assert!(attempts <= 3, "at {id}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permits_are_counted_and_return_to_zero(steps in steps(), strategy in select(StrategyName::ALL.to_vec())) {
        let mut run = Run::new(strategy);
        for step in steps {
            run.step(step);
            run.check();
        }
        while !run.open.is_empty() {
            run.step(Step::Leaves(0));
        }
        run.check();
    }
}
