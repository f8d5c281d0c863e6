//! More work than a slow upstream can do, while no other one takes any.

use std::time::Duration;

use provider::{Quota, Time};
use router::{Action, Facts, Limits, RequestState, StrategyName};

use crate::hand::{CHAT, Hand, MS, S, model, upstream};

/// What `a` takes for a thousand tokens of a prompt, one prompt after the other.
const PER_THOUSAND: Duration = Duration::from_millis(500);
const SHORT: u64 = 400;
const LONG: u64 = 4_000;

enum Next {
    Timer,
    FirstToken,
}

/// `a`, which reads one prompt after the other and is slow at it, before `b`, which takes a request a minute.
struct Slow {
    hand: Hand,
    /// What it takes for every call.
    base: Duration,
    /// Whether it reports how many workers it has.
    reports_workers: bool,
    is_read_at: Time,
    requests: Vec<(Time, Next, RequestState)>,
    /// The prompt of each answered request, and how long after it came its first token did.
    served: Vec<(u64, Duration)>,
    next_number: u64,
}

impl Slow {
    fn new(base: Duration, reports_workers: bool) -> Self {
        let mut a = upstream("a");
        (a.worker_slots, a.timeouts.first_token) = (Some(30), 20 * S);
        let mut b = upstream("b");
        b.limits = Limits { requests_per_minute: Some(1), ..Limits::default() };
        let mut spec = model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
        spec.slo_first_token = Some(2 * S);
        let hand = Hand::new(vec![a, b], vec![spec]);
        Self {
            hand,
            base,
            reports_workers,
            is_read_at: Time::ZERO,
            requests: Vec::new(),
            served: Vec::new(),
            next_number: 0,
        }
    }

    fn carry_out(&mut self, action: Action, request: RequestState) {
        match action {
            Action::Wait { until } => self.requests.push((until, Next::Timer, request)),
            Action::Start(start) if start.attempt.target == 0 => {
                let takes =
                    PER_THOUSAND.mul_f64(f64::from(u32::try_from(request.facts().prompt_tokens).unwrap()) / 1e3);
                self.is_read_at = self.is_read_at.max(self.hand.now) + takes;
                self.requests.push((self.is_read_at + self.base, Next::FirstToken, request));
            }
            Action::Start(_) => self.hand.serve(request),
            Action::GiveUp(_) => {}
        }
        while let Some(woken) = self.hand.engine.take_woken() {
            self.wake(woken);
        }
    }

    /// A request that waits is woken.
    fn wake(&mut self, number: u64) {
        let waits =
            |(_, next, request): &(Time, Next, RequestState)| matches!(next, Next::Timer) && request.number() == number;
        let Some(at) = self.requests.iter().position(waits) else { return };
        let (_, _, mut request) = self.requests.swap_remove(at);
        let action = self.hand.timer(&mut request);
        self.carry_out(action, request);
    }

    /// What happens until `end`.
    fn pass_until(&mut self, end: Time) {
        let next = |slow: &Self| (0..slow.requests.len()).min_by_key(|at| slow.requests[*at].0);
        while let Some(at) = next(self).filter(|at| self.requests[*at].0 <= end) {
            let (at, next, mut request) = self.requests.swap_remove(at);
            self.hand.now = at;
            match next {
                Next::Timer => {
                    let action = self.hand.timer(&mut request);
                    self.carry_out(action, request);
                }
                Next::FirstToken => {
                    let left = request.deadline() - self.hand.now;
                    let took = request.model().spec.deadline.saturating_sub(left);
                    self.served.push((request.facts().prompt_tokens, took));
                    self.hand.engine.first_token(&mut request, Quota::default(), self.hand.now, &mut self.hand.rng);
                    self.hand.engine.served(&mut request, Some(1), self.hand.now);
                    while let Some(woken) = self.hand.engine.take_woken() {
                        self.wake(woken);
                    }
                }
            }
        }
        self.hand.now = end;
    }

    /// Requests with these prompts in turn, every `pause`, for so many seconds.
    fn load(&mut self, prompts: &[u64], pause: Duration, seconds: u64) {
        let end = self.hand.now + Duration::from_secs(seconds);
        for prompt in prompts.iter().cycle() {
            if self.hand.now >= end {
                return;
            }
            if self.reports_workers {
                self.hand.has_running(1);
            }
            let model = self.hand.model("m");
            let deadline = self.hand.now + model.spec.deadline;
            let facts = Facts { prompt_tokens: *prompt, ..CHAT };
            let mut request = RequestState::new(model, facts, None, deadline).numbered(self.next_number);
            self.next_number += 1;
            let action = self.hand.arrived(&mut request);
            self.carry_out(action, request);
            self.pass_until(self.hand.now + pause);
        }
    }
}

/// If every first token is late and there is work for two upstreams, `a` serves as many requests as it can.
#[test]
fn short_prompts_are_not_held_back_for_long_ones() {
    let served = [400, 450, 500, 550, 600].map(|pause_ms| {
        let mut slow = Slow::new(1_500 * MS, true);
        slow.load(&[SHORT, LONG], pause_ms * MS, 120);
        [SHORT, LONG].map(|prompt| slow.served.iter().filter(|(served, _)| *served == prompt).count())
    });
    let [short, long] = [0, 1].map(|size| served.iter().map(|served| served[size]).sum::<usize>());
    assert!(20 * short >= 21 * long, "{short} short ones and {long} long ones: {served:?}");
}

/// Requests that are late already make no request late that could be in time.
#[test]
fn late_requests_do_not_make_others_late() {
    let mut slow = Slow::new(300 * MS, false);
    for _ in 0..60 {
        slow.load(&[1_200, SHORT], 350 * MS, 1);
        slow.pass_until(slow.hand.now + 1_500 * MS);
    }
    slow.served.clear();
    slow.load(&[1_200], 20 * MS, 2);
    slow.load(&[SHORT], 500 * MS, 30);
    let short = slow.served.iter().filter(|(prompt, _)| *prompt == SHORT);
    let in_time = short.filter(|(_, took)| *took <= 2 * S).count();
    let others = slow.served.len() - in_time;
    assert!(in_time >= 44 && others >= 15, "{in_time} of 60 in time, {others} others");
}

/// A request that is held looks many times a second. It is demand once: the workers' scaler is not shown more than came.
#[test]
fn one_request_that_looks_again_and_again_is_no_demand() {
    let mut a = upstream("a");
    a.worker_slots = Some(30);
    let mut spec = model("m", StrategyName::Balanced, &[("a", 0.5), ("b", 0.5)]);
    spec.slo_first_token = Some(2 * S);
    let mut hand = Hand::new(vec![a, upstream("b")], vec![spec]);
    let served_by_b = |hand: &mut Hand, requests: u32| {
        let targets = (0..requests).map(|_| {
            hand.has_running(1);
            let (request, start) = hand.begin();
            hand.pass(300 * MS);
            hand.serve(request);
            start.attempt.target
        });
        targets.sum::<usize>()
    };
    served_by_b(&mut hand, 60);
    let facts = Facts { prompt_tokens: 40_000, ..CHAT };
    let mut long = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S).numbered(1_000);
    let came = hand.now;
    let mut action = hand.arrived(&mut long);
    while let Action::Wait { until } = action
        && until < came + 550 * MS
    {
        hand.now = until;
        action = hand.timer(&mut long);
    }
    assert!(matches!(action, Action::Wait { .. }), "{action:?}");
    let served = served_by_b(&mut hand, 18);
    assert!((7..=11).contains(&served), "{served} of 18 at a share of a half");
}
