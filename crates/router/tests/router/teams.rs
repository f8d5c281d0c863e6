//! Teams take turns at an upstream that is full: who asks for more than its part waits, and nobody else.

use std::time::Duration;

use provider::{Features, Quota, Time};
use router::{Action, Facts, Limits, RequestState, StrategyName, UpstreamSpec};

use crate::hand::{CHAT, Hand, MS, S, model, upstream};

enum Next {
    /// It looks again then, unless it is woken.
    Timer,
    /// Its answer is complete.
    End,
}

/// Requests of teams to `a`, each of whose calls takes a second.
struct Crowd {
    hand: Hand,
    open: Vec<(Time, Next, RequestState, Time)>,
    /// The team of each request that came, and how long after it a call of it began, if one did.
    calls: Vec<(Option<u64>, Option<Duration>)>,
}

impl Crowd {
    fn new(a: UpstreamSpec) -> Self {
        let mut spec = model("m", StrategyName::Balanced, &[("a", 1.0)]);
        spec.slo_first_token = Some(2 * S);
        Self { hand: Hand::new(vec![a], vec![spec]), open: Vec::new(), calls: Vec::new() }
    }

    fn carry_out(&mut self, action: &Action, request: RequestState, came: Time) {
        let number = usize::try_from(request.number()).expect("a few");
        match action {
            Action::Start(_) => {
                self.calls[number].1 = Some(self.hand.now - came);
                self.open.push((self.hand.now + S, Next::End, request, came));
            }
            Action::Wait { until } => self.open.push((*until, Next::Timer, request, came)),
            Action::GiveUp(_) => {}
        }
        self.wake();
    }

    fn wake(&mut self) {
        while let Some(woken) = self.hand.engine.take_woken() {
            let waits = |(_, next, request, _): &(Time, Next, RequestState, Time)| {
                matches!(next, Next::Timer) && request.number() == woken
            };
            let Some(at) = self.open.iter().position(waits) else { continue };
            let (_, _, mut request, came) = self.open.swap_remove(at);
            let action = self.hand.timer(&mut request);
            self.carry_out(&action, request, came);
        }
    }

    fn comes(&mut self, facts: Facts) {
        let model = self.hand.model("m");
        let deadline = self.hand.now + model.spec.deadline;
        let mut request = RequestState::new(model, facts, None, deadline).numbered(self.calls.len() as u64);
        self.calls.push((facts.team, None));
        let (action, came) = (self.hand.arrived(&mut request), self.hand.now);
        self.carry_out(&action, request, came);
    }

    /// For so many seconds, requests of each of these facts come so many times a second.
    fn run(&mut self, seconds: u32, load: &[(Facts, u32)]) {
        for step in 0..seconds * 100 {
            self.hand.pass(10 * MS);
            // Before those whose timers fire now: timers are late, and those that come are not.
            for (facts, per_second) in load {
                for _ in (step * per_second / 100)..((step + 1) * per_second / 100) {
                    self.comes(*facts);
                }
            }
            while let Some(at) = self.open.iter().position(|(at, ..)| *at <= self.hand.now) {
                let (_, next, mut request, came) = self.open.swap_remove(at);
                match next {
                    Next::Timer => {
                        let action = self.hand.timer(&mut request);
                        self.carry_out(&action, request, came);
                    }
                    Next::End => {
                        self.hand.engine.first_token(&mut request, Quota::default(), self.hand.now, &mut self.hand.rng);
                        self.hand.engine.served(&mut request, Some(40), self.hand.now);
                        self.wake();
                    }
                }
            }
        }
    }

    /// What came so far does not count.
    fn forget(&mut self) {
        for (team, _) in &mut self.calls {
            *team = Some(0);
        }
    }

    /// The part of a team's requests of which a call began within a second.
    fn in_time(&self, team: Option<u64>) -> f64 {
        let own = self.calls.iter().filter(|(of, _)| *of == team);
        let in_time = own.clone().filter(|(_, took)| took.is_some_and(|took| took <= S)).count();
        f64::from(u32::try_from(in_time).unwrap()) / f64::from(u32::try_from(own.count()).unwrap())
    }

    /// Calls that began.
    fn served(&self, team: Option<u64>) -> usize {
        self.calls.iter().filter(|(of, took)| *of == team && took.is_some()).count()
    }
}

fn of(team: u64) -> Facts {
    Facts { team: Some(team), ..CHAT }
}

/// `a` takes ten a second: by its permits, or by its provider's limit.
fn full() -> [UpstreamSpec; 2] {
    let limits = Limits { requests_per_minute: Some(600), ..Limits::default() };
    [UpstreamSpec { max_in_flight: 10, ..upstream("a") }, UpstreamSpec { limits, ..upstream("a") }]
}

#[test]
fn a_team_with_few_requests_does_not_wait_for_one_with_many() {
    for a in full() {
        let mut crowd = Crowd::new(a.clone());
        // Until what a minute's limit has left at first is used up.
        crowd.run(15, &[(of(1), 60)]);
        crowd.forget();
        crowd.run(30, &[(of(1), 50), (of(2), 2)]);
        let in_time = crowd.in_time(Some(2));
        assert!(in_time >= 0.95, "{in_time} of the modest team's in time: {:?}", a.limits);
        let served = crowd.served(Some(1)) + crowd.served(Some(2));
        assert!(served >= 270, "nothing is left unused: {served} of 300");
        // Without teams it has to wait like the others.
        let mut crowd = Crowd::new(a.clone());
        crowd.run(15, &[(CHAT, 60)]);
        crowd.forget();
        crowd.run(30, &[(CHAT, 52)]);
        let in_time = crowd.in_time(None);
        assert!(in_time < 0.5, "{in_time}: {:?}", a.limits);
    }
}

#[test]
fn teams_that_all_want_more_get_the_same() {
    for a in full() {
        let mut crowd = Crowd::new(a.clone());
        crowd.run(15, &[(of(9), 60)]);
        crowd.run(30, &[(of(1), 10), (of(2), 40), (of(3), 20)]);
        let served = [1, 2, 3].map(|team| crowd.served(Some(team)));
        assert!(served.iter().all(|served| (80..=120).contains(served)), "{served:?}: {:?}", a.limits);
    }
}

/// A call that is four times as long counts four times.
#[test]
fn turns_are_counted_by_tokens() {
    let [a, _] = full();
    let mut crowd = Crowd::new(a);
    let sized = |team: u64, prompt_tokens: u64| Facts { prompt_tokens, max_tokens: Some(10), ..of(team) };
    crowd.run(30, &[(sized(1, 4_000), 20), (sized(2, 1_000), 20)]);
    let [long, short] = [1, 2].map(|team| crowd.served(Some(team)));
    assert!((3 * long..=5 * long).contains(&short), "{long} long ones and {short} short ones");
}

/// What comes in batches waits for the others, whatever its team had.
#[test]
fn a_batch_of_a_team_that_had_nothing_waits_for_requests_of_users() {
    let [a, _] = full();
    let mut crowd = Crowd::new(a);
    crowd.run(5, &[(of(1), 20)]);
    crowd.run(20, &[(of(1), 10), (Facts { in_batch: true, ..of(2) }, 10)]);
    assert!(crowd.served(Some(2)) <= 20, "{}", crowd.served(Some(2)));
}

/// A request of another team waits for `b`, which alone takes images and is full; `a` is free.
#[test]
fn a_new_request_does_not_wait_for_the_turn_of_one_that_cannot_use_its_room() {
    let images = |team| Facts { features: Features { images: true, ..CHAT.features }, ..of(team) };
    let mut a = upstream("a");
    a.features.images = false;
    let b = UpstreamSpec { max_in_flight: 1, ..upstream("b") };
    let mut hand = Hand::new(vec![a, b], vec![model("m", StrategyName::Balanced, &[("a", 0.5), ("b", 0.5)])]);
    let arrives = |hand: &mut Hand, facts, number| {
        let mut request = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S).numbered(number);
        (hand.arrived(&mut request), request)
    };
    assert!(matches!(arrives(&mut hand, images(2), 0).0, Action::Start(_)));
    assert!(matches!(arrives(&mut hand, images(2), 1).0, Action::Wait { .. }));
    for number in 2..6 {
        let (action, _) = arrives(&mut hand, of(1), number);
        assert!(matches!(&action, Action::Start(start) if start.attempt.target == 0), "{number}: {action:?}");
    }
}
