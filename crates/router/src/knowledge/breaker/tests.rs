use rand::{SeedableRng, rngs::SmallRng};

use super::*;

const TIMED_OUT: Kind = Kind::TimedOut { is_overtaken: false };

struct Bench {
    breaker: Breaker,
    now: Time,
    rng: SmallRng,
    opened: u32,
}

impl Bench {
    fn new() -> Self {
        let now = Time::from_nanos(1_000 * SECOND_NS);
        Self { breaker: Breaker::default(), now, rng: SmallRng::seed_from_u64(1), opened: 0 }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    /// A call that began so long ago fails now.
    fn fail(&mut self, kind: Kind, ago: f64) {
        let began =
            Time::from_nanos(self.now.as_nanos() - u64::try_from(Duration::from_secs_f64(ago).as_nanos()).unwrap());
        let probe = matches!(self.breaker.inner, Inner::HalfOpen { is_probing: true, .. });
        self.opened += u32::from(self.breaker.failed(kind, probe, began, self.now, &mut self.rng));
    }

    /// Calls one after the other that fail at once.
    fn fail_in_turn(&mut self, times: u32) {
        for _ in 0..times {
            self.pass(0.02);
            self.breaker.begin();
            self.fail(Kind::Failed, 0.01);
        }
    }

    fn state(&self) -> State {
        self.breaker.state(self.now)
    }
}

#[test]
fn a_run_of_failures_opens_it_and_the_first_token_of_one_probe_closes_it() {
    let mut bench = Bench::new();
    bench.fail_in_turn(4);
    assert_eq!(bench.state(), State::Closed);
    bench.fail_in_turn(1);
    assert!(matches!(bench.state(), State::Open(_)) && !bench.breaker.admits(bench.now));
    bench.pass(1.2);
    assert!(bench.breaker.admits(bench.now) && bench.breaker.begin());
    assert!(!bench.breaker.admits(bench.now), "one probe at a time");
    assert!(!bench.breaker.answered(false, bench.now), "the answer to an older call is no probe's");
    assert!(bench.breaker.answered(true, bench.now));
    assert_eq!(bench.state(), State::Closed);
}

/// Ten streams of 20 s begin each second, none of which is complete yet.
#[test]
fn some_instant_failures_among_long_streams_do_not_open_it() {
    let mut bench = Bench::new();
    for call in 0..400 {
        bench.pass(0.1);
        if call % 20 == 0 {
            bench.fail(Kind::Failed, 0.01);
        } else {
            bench.breaker.answered(false, bench.now);
        }
    }
    assert_eq!((bench.state(), bench.opened), (State::Closed, 0));
}

#[test]
fn some_streams_that_break_off_do_not_open_it_before_the_first_is_complete() {
    let mut bench = Bench::new();
    for call in 0..400 {
        bench.pass(0.1);
        bench.breaker.answered(false, bench.now);
        if call % 20 == 0 {
            bench.fail(Kind::BrokeOff, 0.05);
        }
    }
    assert_eq!((bench.state(), bench.opened), (State::Closed, 0));
}

#[test]
fn answers_that_all_break_off_open_it_few_or_many() {
    for (pause, most) in [(3.0, 5), (0.05, 21)] {
        let mut bench = Bench::new();
        let broke = (1..100).find(|_| {
            bench.pass(pause);
            bench.breaker.answered(false, bench.now);
            bench.fail(Kind::BrokeOff, 0.01);
            bench.opened > 0
        });
        assert!(broke.is_some_and(|calls| calls <= most), "{broke:?}");
    }
}

#[test]
fn half_of_many_answers_breaking_off_opens_it() {
    let mut bench = Bench::new();
    for _ in 0..20 {
        bench.pass(0.1);
        bench.breaker.answered(false, bench.now);
        bench.breaker.answered(false, bench.now);
        bench.breaker.completed();
        bench.fail(Kind::BrokeOff, 0.05);
    }
    assert_eq!(bench.opened, 1);
}

#[test]
fn complete_answers_between_them_excuse_those_that_break_off() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        bench.pass(3.0);
        bench.breaker.answered(false, bench.now);
        bench.fail(Kind::BrokeOff, 1.0);
        bench.breaker.answered(false, bench.now);
        bench.breaker.completed();
    }
    assert_eq!(bench.opened, 0);
}

#[test]
fn half_of_the_calls_failing_opens_it_and_a_tenth_does_not() {
    for (every, opens) in [(2, true), (10, false)] {
        let mut bench = Bench::new();
        for call in 0..1_000 {
            bench.pass(0.01);
            if call % every == 0 {
                bench.fail(Kind::Failed, 0.05);
            } else {
                bench.breaker.answered(false, bench.now);
            }
        }
        assert_eq!(bench.opened > 0, opens, "one in {every}");
    }
}

#[test]
fn five_long_prompts_that_time_out_at_one_instant_do_not_open_it() {
    let mut bench = Bench::new();
    (0..5).for_each(|_| bench.fail(TIMED_OUT, 20.0));
    (0..30).for_each(|_| bench.fail(TIMED_OUT, 20.0));
    assert_eq!((bench.state(), bench.opened), (State::Closed, 0));
}

#[test]
fn a_worker_that_dies_with_its_streams_does_not_open_it() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.pass(0.1);
        bench.breaker.answered(false, bench.now);
    }
    (0..30).for_each(|_| bench.fail(Kind::BrokeOff, 3.0));
    assert_eq!(bench.opened, 0);
}

#[test]
fn timeouts_that_others_overtook_open_nothing_however_many() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.pass(2.0);
        bench.fail(Kind::TimedOut { is_overtaken: true }, 20.0);
    }
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn an_upstream_that_fell_silent_opens_it_within_seconds_of_the_first_timeout() {
    let mut bench = Bench::new();
    let opened = (0..100).find(|_| {
        bench.pass(0.1);
        bench.fail(TIMED_OUT, 20.0);
        bench.opened > 0
    });
    assert!(opened.is_some_and(|steps| steps <= 21), "{opened:?} tenths of a second");
}

#[test]
fn failures_at_a_high_rate_are_seen_although_calls_overlap() {
    let mut bench = Bench::new();
    let opened = (0..10_000).find(|_| {
        bench.pass(0.001);
        bench.fail(Kind::Failed, 0.05);
        bench.opened > 0
    });
    assert!(opened.is_some_and(|ms| ms < 300), "{opened:?} ms");
}

#[test]
fn pauses_grow_to_two_seconds_and_to_eight_where_a_failure_takes_long_to_see() {
    let slow = Kind::TimedOut { is_overtaken: false };
    for (kind, expected) in
        [(Kind::Failed, [1.0, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0]), (slow, [1.0, 1.6, 2.56, 4.1, 6.55, 8.0, 8.0])]
    {
        let mut bench = Bench::new();
        bench.fail_in_turn(5);
        let mut pauses = Vec::new();
        for _ in expected {
            let State::Open(until) = bench.state() else { panic!("it is open") };
            pauses.push((until - bench.now).as_secs_f64());
            bench.now = until;
            assert!(bench.breaker.begin());
            bench.fail(kind, 0.0);
        }
        for (pause, expected) in pauses.iter().zip(expected) {
            assert!((pause / expected - 1.0).abs() <= 0.101, "{kind:?}: {pauses:?}");
        }
    }
}

#[test]
fn a_sign_of_life_lets_a_probe_go_at_once() {
    let signs: [fn(&mut Bench); 2] = [
        |bench| assert!(!bench.breaker.answered(false, bench.now), "an older call's answer closes nothing"),
        |bench| bench.breaker.may_be_back(bench.now),
    ];
    for sign in signs {
        let mut bench = Bench::new();
        bench.fail_in_turn(5);
        assert!(!bench.breaker.admits(bench.now));
        sign(&mut bench);
        assert_eq!((bench.state(), bench.breaker.begin()), (State::HalfOpen, true));
    }
}

#[test]
fn a_probe_that_proves_nothing_makes_room_for_the_next() {
    for release in [true, false] {
        let mut bench = Bench::new();
        bench.fail_in_turn(5);
        bench.pass(1.2);
        assert!(bench.breaker.begin());
        if release {
            bench.breaker.released(true);
        } else {
            bench.fail(Kind::TimedOut { is_overtaken: true }, 20.0);
        }
        assert!(bench.breaker.admits(bench.now));
    }
}

#[test]
fn a_refused_key_needs_no_second_failure() {
    let mut bench = Bench::new();
    bench.fail(Kind::Certain, 0.1);
    assert_eq!(bench.opened, 1);
}
