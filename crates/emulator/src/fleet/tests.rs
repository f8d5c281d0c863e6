use rand::SeedableRng;

use super::*;

const SIZE: Size = Size {
    min: 0,
    max: 2,
    concurrency: 2,
    requests_per_worker: None,
    scale_every: Duration::from_secs(1),
    cold_start: Duration::from_secs(40),
    cold_start_spread: 0.0,
    load_share: 0.75,
    idle_timeout: Duration::from_secs(5),
    throttled: 0,
    unhealthy: 1,
};

fn fleet(size: Size, now: Instant) -> Fleet {
    Fleet::new(size, SmallRng::seed_from_u64(1), now)
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_cold_request_waits_for_its_worker_and_the_worker_goes_after_the_idle_timeout() {
    let start = Instant::now();
    let mut fleet = fleet(SIZE, start);
    let waiter = fleet.enter();
    assert!(matches!(fleet.poll(waiter, start), Assignment::Waiting(Some(at)) if at == after(start, 40)));
    assert_eq!(fleet.counts(start), Counts { initializing: 1, idle: 1, unhealthy: 1, total: 3, ..Counts::default() });
    let loading = fleet.counts(after(start, 10));
    assert_eq!((loading.running, loading.initializing), (1, 0), "a model that loads counts as running");
    assert!(matches!(fleet.poll(waiter, after(start, 39)), Assignment::Waiting(Some(_))), "but serves nobody");
    assert!(matches!(fleet.poll(waiter, after(start, 40)), Assignment::At(0, _)));
    assert!(!fleet.leave(waiter, after(start, 50)));
    assert_eq!(fleet.counts(after(start, 54)).running, 1);
    assert_eq!(fleet.counts(after(start, 60)).running, 0);
    assert_eq!(fleet.billed(after(start, 100)), Duration::from_secs(45), "30 s to load, 10 s of work, 5 s of tail");
}

#[test]
fn the_queue_is_served_in_order_and_spreads_over_workers() {
    let start = Instant::now();
    let mut fleet = fleet(Size { min: 1, max: 1, ..SIZE }, start);
    let waiters: Vec<u64> = (0..3).map(|_| fleet.enter()).collect();
    assert!(matches!(fleet.poll(waiters[1], start), Assignment::At(0, load) if load.requests() == 2));
    assert!(matches!(fleet.poll(waiters[2], start), Assignment::Waiting(None)));
    assert_eq!((fleet.queued(), fleet.placed()), (1, 2));
    fleet.leave(waiters[0], start);
    assert!(matches!(fleet.poll(waiters[2], start), Assignment::At(0, _)));
}

#[test]
fn more_demand_starts_more_workers() {
    let start = Instant::now();
    let mut fleet = fleet(SIZE, start);
    let waiters: Vec<u64> = (0..3).map(|_| fleet.enter()).collect();
    fleet.poll(waiters[0], start);
    assert_eq!(fleet.counts(start).initializing, 2);
    assert!(waiters.iter().all(|waiter| matches!(fleet.poll(*waiter, after(start, 41)), Assignment::At(..))));
}

#[test]
fn throttled_workers_never_get_ready() {
    let start = Instant::now();
    let mut fleet = fleet(Size { min: 1, ..SIZE }, start);
    fleet.set_throttled(true);
    let waiter = fleet.enter();
    assert!(matches!(fleet.poll(waiter, after(start, 1000)), Assignment::Waiting(None)));
    let counts = fleet.counts(start);
    assert_eq!((counts.running, counts.throttled), (0, 2));
}

#[test]
fn cooling_stops_even_the_workers_that_are_never_scaled_down() {
    let start = Instant::now();
    let mut fleet = fleet(Size { min: 1, ..SIZE }, start);
    fleet.cool(Duration::from_secs(7), after(start, 3));
    assert_eq!(fleet.billed(after(start, 9)), Duration::from_secs(3));
    let waiter = fleet.enter();
    assert!(matches!(fleet.poll(waiter, after(start, 10)), Assignment::Waiting(Some(at)) if at == after(start, 17)));
}

/// One worker for each two requests, of at most three workers.
const COUNTED: Size = Size { max: 3, concurrency: 30, requests_per_worker: Some(2), ..SIZE };

#[test]
fn with_a_count_there_is_a_worker_for_each_so_many_requests_within_a_second() {
    let start = Instant::now();
    let mut fleet = fleet(Size { min: 1, ..COUNTED }, start);
    let waiters: Vec<u64> = (0..3).map(|_| fleet.enter()).collect();
    assert!(waiters.iter().all(|waiter| matches!(fleet.poll(*waiter, start), Assignment::At(0, _))));
    let starting = |fleet: &mut Fleet, at| fleet.counts(at).initializing;
    assert_eq!(starting(&mut fleet, start + Duration::from_millis(999)), 0, "not counted yet");
    assert_eq!(starting(&mut fleet, after(start, 1)), 1, "though none of the three waits");
    for _ in 0..20 {
        fleet.enter();
    }
    assert_eq!(starting(&mut fleet, after(start, 2)), 2, "no more than three workers");
}

#[test]
fn with_a_count_whoever_finds_no_worker_starts_one_at_once() {
    let start = Instant::now();
    let mut fleet = fleet(COUNTED, start);
    let waiters: Vec<u64> = (0..5).map(|_| fleet.enter()).collect();
    fleet.poll(waiters[0], start);
    assert_eq!(fleet.counts(start).initializing, 1);
    assert!(matches!(fleet.poll(waiters[0], start), Assignment::Waiting(Some(at)) if at == after(start, 1)));
    fleet.poll(waiters[0], after(start, 1));
    assert_eq!(fleet.counts(after(start, 1)).initializing, 3);
}

#[test]
fn starts_differ_by_their_spread() {
    let start = Instant::now();
    let starts = |spread| {
        let size = Size { max: 99, concurrency: 1, cold_start_spread: spread, ..SIZE };
        let mut fleet = fleet(size, start);
        let waiters: Vec<u64> = (0..99).map(|_| fleet.enter()).collect();
        fleet.poll(waiters[0], start);
        move |after: f64| 99 - fleet.counts(start + Duration::from_secs_f64(after)).initializing
    };
    let mut alike = starts(0.0);
    assert_eq!((alike(9.9), alike(10.0)), (0, 99), "a quarter of the 40 s is the fetch");
    let mut spread = starts(0.6);
    assert!((35..65).contains(&spread(10.0)), "the median stays");
    assert!((5..30).contains(&(99 - spread(18.2))), "a sixth takes e^0.6 times as long");
}
