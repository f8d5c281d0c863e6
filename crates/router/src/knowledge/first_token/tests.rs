use proptest::{collection::vec, prelude::*};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;

fn at(seconds: f64) -> Time {
    Time::from_nanos(0) + Duration::from_secs_f64(seconds)
}

const SECOND: Duration = Duration::from_secs(1);
/// Two workers of thirty slots.
const WARM: Load = Load { in_flight: 0, elsewhere: 0, ready: Some(2), slots: Some(30), queued: Some(0) };
const UNKNOWN: Load = Load { in_flight: 0, elsewhere: 0, ready: None, slots: None, queued: None };
const COLD: Load = Load { ready: Some(0), ..WARM };

/// A variable that is about normal: the sum of twelve uniform ones.
fn normal_variable(rng: &mut SmallRng) -> f64 {
    (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

/// Calls one after the other that each take `took` of the prompt's tokens.
fn trained(load: Load, mut took: impl FnMut(u64) -> f64) -> (FirstToken, f64) {
    let (mut known, mut now) = (FirstToken::default(), 100.0);
    for call in 0..600 {
        let tokens = 100 + 37 * (call % 50);
        let pending = known.begin(tokens, load, at(now));
        now += took(tokens);
        known.answered(pending, at(now)).expect("it waited");
        known.completed(at(now));
        now += 0.05;
    }
    (known, now)
}

#[test]
fn it_learns_what_a_prompt_costs_and_how_sure_that_is() {
    let mut rng = SmallRng::seed_from_u64(7);
    let (known, now) =
        trained(WARM, |tokens| (0.4 + real(tokens) / 5_000.0) * (0.25 * normal_variable(&mut rng)).exp());
    for tokens in [100, 1_000, 1_900] {
        let (found, truth) = (known.predict(tokens, WARM, at(now)), 0.4 + real(tokens) / 5_000.0);
        assert!((found.median_s / truth - 1.0).abs() < 0.12, "{tokens}: {found:?} for {truth}");
    }
    let prediction = known.predict(1_000, WARM, at(now));
    assert!((prediction.spread - 0.25).abs() < 0.06, "{prediction:?}");
    let mut late = 0;
    for _ in 0..2_000 {
        let took = 0.6 * (0.25 * normal_variable(&mut rng)).exp();
        late += u32::from(took > 0.8);
    }
    let (predicted, seen) = (prediction.late(Duration::from_millis(800)), f64::from(late) / 2_000.0);
    assert!((predicted - seen).abs() < 0.05, "{predicted} predicted, {seen} seen");
}

#[test]
fn prompts_that_wait_make_the_next_one_later_and_workers_share_them() {
    let mut known = FirstToken::default();
    let idle = known.predict(500, WARM, at(0.0));
    let waiting: Vec<_> = (0..20).map(|_| known.begin(4_000, WARM, at(0.0))).collect();
    assert_eq!(known.pending_tokens(), 80_000);
    let [two, four] = [2, 4].map(|ready| known.predict(500, Load { ready: Some(ready), ..WARM }, at(0.0)));
    assert!((two.median_s - idle.median_s - 4.0).abs() < 1e-9, "{two:?}");
    assert!((four.median_s - idle.median_s - 2.0).abs() < 1e-9, "{four:?}");
    for pending in waiting {
        known.gave_up(pending, at(0.1));
    }
    assert_eq!((known.pending_tokens(), known.predict(500, WARM, at(0.1))), (0, idle));
}

#[test]
fn the_pile_of_prompts_is_learned_apart_from_the_prompt() {
    let (mut known, mut rng) = (FirstToken::default(), SmallRng::seed_from_u64(3));
    for round in 0..200 {
        let now = f64::from(round) * 30.0;
        let sizes: Vec<u64> = (0..6).map(|_| rng.random_range(200..9_000)).collect();
        let calls: Vec<_> = sizes.iter().map(|tokens| known.begin(*tokens, WARM, at(now))).collect();
        let mut ahead = 0;
        for (tokens, call) in sizes.iter().zip(calls) {
            let took = 0.3 + real(*tokens) / 12_000.0 + real(ahead) / 24_000.0;
            known.answered(call, at(now + took)).expect("it waited");
            ahead += tokens;
        }
    }
    let [base, own, others] = known.regression.coefficients();
    assert!((base - 0.3).abs() < 0.02 && (own - 1.0 / 12.0).abs() < 0.005, "{base}, {own}, {others}");
    assert!((others - 1.0 / 12.0).abs() < 0.005, "per thousand tokens and worker: {others}");
}

#[test]
fn a_full_upstream_is_waited_for_as_long_as_its_backlog_takes() {
    let (mut known, _) = trained(WARM, |_| 0.5);
    (0..100).for_each(|call| known.completed(at(1_000.0 + f64::from(call) / 10.0)));
    let wait = |in_flight| known.predict(100, Load { in_flight, ..WARM }, at(1_010.0)).wait_s;
    assert!(wait(59) <= 0.0, "the last slot is free");
    assert!((wait(60) - 0.1).abs() < 0.03 && (wait(109) - 5.0).abs() < 0.5, "{} {}", wait(60), wait(109));
    let queue = |queued| known.predict(100, Load { queued: Some(queued), in_flight: 8, ..WARM }, at(1_010.0)).wait_s;
    assert!(queue(8) <= 0.0 && queue(27) > 1.5, "jobs of others are ahead as well: {}", queue(27));
}

#[test]
fn a_long_wait_for_a_slot_and_a_cold_start_teach_nothing_about_speed() {
    let (mut known, now) = trained(WARM, |_| 0.5);
    let before = known.predict(500, WARM, at(now)).median_s;
    let full = known.begin(500, Load { in_flight: 90, ..WARM }, at(now));
    assert!(known.answered(full, at(now + 9.0)).is_some());
    let now = now + 9.0;
    let cold = known.begin(500, COLD, at(now));
    let caught = known.begin(500, WARM, at(now));
    known.record_cold(at(now + 1.0));
    for pending in [cold, caught] {
        assert!(known.answered(pending, at(now + 15.0)).is_some());
    }
    let after = known.predict(500, WARM, at(now + 15.0));
    assert!((after.median_s - before).abs() < 1e-9 && !after.is_silent, "{after:?}");
    let slow = known.begin(500, WARM, at(now + 20.0));
    assert!(known.answered(slow, at(now + 35.0)).is_some());
    assert!(known.predict(500, WARM, at(now + 35.0)).median_s > before, "a warm one that was slow is a sample");
}

#[test]
fn an_upstream_whose_slots_are_always_taken_is_found_to_have_become_slower() {
    let (mut known, mut now) = trained(WARM, |_| 0.5);
    for _ in 0..200 {
        let full = known.begin(500, Load { in_flight: 61, ..WARM }, at(now));
        assert!(known.answered(full, at(now + 2.0)).is_some());
        known.completed(at(now + 2.0));
        now += 0.05;
    }
    let seen = known.predict(500, WARM, at(now)).median_s;
    assert!((1.7..2.3).contains(&seen), "{seen}");
}

#[test]
fn an_upstream_of_unknown_capacity_is_no_faster_than_its_oldest_call() {
    let (mut known, now) = trained(UNKNOWN, |_| 0.5);
    let hangs = known.begin(500, UNKNOWN, at(now));
    for age in [1.0, 3.0, 10.0, 100.0] {
        let prediction = known.predict(50, UNKNOWN, at(now + age));
        assert!(prediction.median() >= Duration::from_secs_f64(age), "{age}: {prediction:?}");
        assert!(prediction.late(Duration::from_secs_f64(age * 0.9)) > 0.95);
        assert_eq!(prediction.is_silent, age > 4.0, "{age}: {prediction:?}");
    }
    assert!(known.answered(hangs, at(now + 100.0)).is_some());
    assert!(!known.predict(50, UNKNOWN, at(now + 100.0)).is_silent);
}

#[test]
fn with_known_capacity_a_hanging_call_counts_once_nothing_has_answered_for_a_while() {
    let (mut known, now) = trained(WARM, |_| 0.5);
    let _hangs = known.begin(500, WARM, at(now));
    assert!(known.predict(500, WARM, at(now + 3.0)).median() < SECOND);
    assert!(known.predict(500, WARM, at(now + 4.5)).median() >= Duration::from_secs_f64(4.5));
    let full = known.predict(500, Load { in_flight: 61, ..WARM }, at(now + 20.0));
    assert!(full.median() < 21 * SECOND, "what waits for a slot waits within the silence, not after it: {full:?}");
}

#[test]
fn a_long_prompt_that_is_slow_while_others_are_answered_is_no_silence() {
    for load in [WARM, UNKNOWN] {
        let (mut known, now) = trained(load, |_| 0.5);
        let long = known.begin(100_000, load, at(now));
        let quick = known.begin(100, load, at(now + 1.0));
        assert!(known.answered(quick, at(now + 1.5)).is_some());
        assert!(!known.predict(100, load, at(now + 60.0)).is_silent);
        known.gave_up(long, at(now + 60.0));
        assert!(!known.predict(100, load, at(now + 60.0)).is_silent, "its timeout is its own");
    }
}

#[test]
fn a_silence_does_not_fade_while_calls_hang_one_tries_again_and_the_others_do_not_follow() {
    let (mut known, now) = trained(WARM, |_| 0.5);
    let silent = |known: &FirstToken, after: f64| known.predict(500, WARM, at(now + after)).late(2 * SECOND) > 0.5;
    let hanging: Vec<_> = (0..10).map(|call| known.begin(500, WARM, at(now + f64::from(call) / 10.0))).collect();
    assert!((5..20).all(|after| silent(&known, f64::from(after))), "while they hang");
    for pending in hanging {
        known.gave_up(pending, at(now + 20.0));
    }
    assert!(silent(&known, 20.0) && silent(&known, 25.0), "their timeouts are not forgotten at once");
    let tried = (21..60).find(|after| !silent(&known, f64::from(*after))).expect("it fades when nobody asks");
    let again = known.begin(500, WARM, at(now + f64::from(tried)));
    assert!(silent(&known, f64::from(tried) + 0.01), "one at a time");
    assert!(known.answered(again, at(now + f64::from(tried) + 0.5)).is_some());
    let _next = known.begin(500, WARM, at(now + f64::from(tried) + 0.6));
    assert!(!silent(&known, f64::from(tried) + 0.7), "an answer ends it");
}

#[test]
fn a_call_that_waits_for_a_cold_start_is_not_late() {
    let mut known = FirstToken::default();
    let pending = known.begin(500, COLD, at(0.0));
    assert!(!known.predict(500, COLD, at(30.0)).is_silent);
    let prediction = known.predict(500, COLD, at(30.0)).after(14 * SECOND);
    assert!(prediction.late(10 * SECOND) > 0.999 && prediction.median() > 14 * SECOND);
    known.gave_up(pending, at(30.0));
    assert!(!known.predict(500, COLD, at(30.0)).is_silent);
}

#[test]
fn a_quiet_upstream_that_became_slow_is_predicted_slow_within_minutes() {
    let (mut known, mut now) = trained(UNKNOWN, |_| 0.5);
    for _ in 0..20 {
        now += 60.0;
        let pending = known.begin(500, UNKNOWN, at(now));
        assert!(known.answered(pending, at(now + 2.8)).is_some());
    }
    assert!((known.predict(500, UNKNOWN, at(now + 3.0)).median_s - 2.8).abs() < 0.7);
}

#[test]
fn an_upstream_that_is_always_late_is_not_predicted_fast_because_no_call_came() {
    for load in [WARM, UNKNOWN] {
        let (known, now) = trained(load, |_| 2.8);
        for later in [0.0, 60.0, 36_000.0] {
            assert!(known.predict(500, load, at(now + later)).late(2 * SECOND) > 0.98, "{later} s later");
        }
        assert!(known.learned_at().is_some_and(|learned| at(now) - learned < SECOND));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever calls come and however they end, a prediction is a time, a longer prompt is never predicted to be
    /// faster, and a call that waits longest, past what was predicted for it, bounds it from below.
    #[test]
    fn predictions_stay_sane(
        steps in vec((0_u8..6, any::<usize>(), 0_u64..200_000, 0.0_f64..30.0, 0_u32..4, 0_u32..90), 1..120),
    ) {
        let (mut known, mut now, mut calls) = (FirstToken::default(), 10.0, Vec::new());
        for (what, which, tokens, pause, ready, in_flight) in steps {
            now += pause;
            let load = Load { in_flight, elsewhere: 0, ready: ready.checked_sub(1), slots: Some(30), queued: None };
            match what {
                0..3 => calls.push(known.begin(tokens, load, at(now))),
                3 => calls.drain(..).for_each(|pending| known.gave_up(pending, at(now))),
                _ if calls.is_empty() => known.record_cold(at(now)),
                _ => {
                    let pending = calls.swap_remove(which % calls.len());
                    prop_assert!(known.answered(pending, at(now)).is_some());
                    known.completed(at(now));
                }
            }
            let prediction = known.predict(tokens, load, at(now));
            prop_assert!(prediction.median_s.is_finite() && prediction.median_s > 0.0 && prediction.wait_s >= 0.0);
            prop_assert!((0.12..=0.8001).contains(&prediction.spread), "{:?}", prediction);
            prop_assert!(known.predict(tokens * 2, load, at(now)).median() >= prediction.median());
            let late = [1, 5, 25].map(|limit| prediction.late(limit * SECOND));
            prop_assert!(late[0] >= late[1] && late[1] >= late[2] && late[2] >= 0.0 && late[0] <= 1.0, "{:?}", late);
            if let Some(oldest) = known.waiting.oldest().filter(|_| load.ready.is_none()) {
                let age = (at(now) - oldest.began).as_secs_f64();
                let total = prediction.median_s + prediction.wait_s;
                prop_assert!(age <= oldest.expected_s || total >= age - 1e-6, "{} below {}", total, age);
            }
        }
    }
}
