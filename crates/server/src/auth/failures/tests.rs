//! In virtual time: who is slowed, for how long, and what is logged.

use super::*;

fn peer(number: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + number).into())
}

/// Seconds that a wrong key's sender is told to wait.
fn guess(failures: &Failures, peer: impl Into<Option<IpAddr>>, now: Instant) -> Option<u64> {
    failures.record(Denied::Wrong, peer.into(), now).wait.map(|wait| wait.as_secs())
}

#[test]
fn an_address_that_keeps_guessing_is_slowed_until_its_minute_is_over() {
    let (failures, start) = (Failures::default(), Instant::now());
    for second in 0..30 {
        assert_eq!(guess(&failures, peer(1), start + Duration::from_secs(second)), None, "{second}");
    }
    for (second, wait) in [(30, 30), (31, 29), (59, 1)] {
        assert_eq!(guess(&failures, peer(1), start + Duration::from_secs(second)), Some(wait));
    }
    assert_eq!(guess(&failures, peer(2), start + Duration::from_secs(59)), None, "another address is another");
    for _ in 0..30 {
        assert_eq!(guess(&failures, peer(1), start + WINDOW), None, "a minute later all is as at first");
    }
    assert_eq!(guess(&failures, peer(1), start + WINDOW), Some(60));
}

#[test]
fn a_request_without_a_key_guesses_nothing() {
    let (failures, now) = (Failures::default(), Instant::now());
    for _ in 0..1_000 {
        assert_eq!(failures.record(Denied::Missing, Some(peer(1)), now).wait, None);
    }
    assert_eq!(guess(&failures, peer(1), now), None);
}

#[test]
fn metrics_and_logs_distinguish_a_clients_key_from_the_operators_token() {
    assert_eq!(Credential::ALL.map(Credential::as_str), ["key", "admin_token"]);
}

#[test]
fn reasons_are_those_of_the_metric() {
    let (failures, now) = (Failures::default(), Instant::now());
    let reason = |denied| failures.record(denied, Some(peer(1)), now).reason();
    let mut seen = vec![reason(Denied::Missing), reason(Denied::Wrong)];
    for _ in 0..FREE_GUESSES {
        seen.push(reason(Denied::Wrong));
    }
    seen.dedup();
    assert_eq!(seen, RecordedFailure::REASONS);
}

#[test]
fn one_who_has_a_network_of_version_6_is_one_sender() {
    let (failures, now) = (Failures::default(), Instant::now());
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    for host in 0..FREE_GUESSES {
        assert_eq!(guess(&failures, address(&format!("2001:db8:1:2::{host:x}")), now), None);
    }
    assert_eq!(guess(&failures, address("2001:db8:1:2:ffff::1"), now), Some(60));
    assert_eq!(guess(&failures, address("2001:db8:1:3::1"), now), None);
    for _ in 0..FREE_GUESSES {
        guess(&failures, address("::ffff:10.0.0.1"), now);
    }
    assert_eq!(guess(&failures, address("10.0.0.1"), now), Some(60), "both ways to write it are one address");
}

#[test]
fn the_table_of_addresses_is_bounded_and_those_beyond_it_are_slowed_together() {
    let (failures, start) = (Failures::default(), Instant::now());
    let most = u32::try_from(MAX_PEERS).expect("small");
    for number in 0..most + FREE_GUESSES {
        assert_eq!(guess(&failures, peer(number), start), None, "{number}");
    }
    assert_eq!(failures.0.lock().peers.len(), MAX_PEERS);
    assert_eq!(guess(&failures, peer(most + 1_000), start), Some(60));
    assert_eq!(guess(&failures, None, start), Some(60), "one whose address is not known has no place either");
    assert_eq!(guess(&failures, peer(0), start), None, "those with a place are counted apart");
    let later = start + WINDOW;
    assert_eq!(guess(&failures, peer(most + 1_000), later), None);
    assert_eq!(failures.0.lock().peers.len(), 1, "windows that are over make room");
}

#[test]
fn a_full_table_is_swept_once_a_second_at_most() {
    let (failures, start) = (Failures::default(), Instant::now());
    let most = u32::try_from(MAX_PEERS).expect("small");
    for number in 0..=most {
        guess(&failures, peer(number), start + Duration::from_micros(u64::from(number)));
    }
    // The first windows are over, but the last sweep was a moment ago.
    failures.0.lock().swept = Some(start + WINDOW);
    guess(&failures, peer(most + 1), start + WINDOW + SWEEP - Duration::from_nanos(1));
    assert_eq!(failures.0.lock().peers.len(), MAX_PEERS);
    guess(&failures, peer(most + 1), start + WINDOW + SWEEP);
    assert_eq!(failures.0.lock().peers.len(), 1);
}

#[test]
fn there_is_a_line_a_second_and_it_counts_failures_without_one() {
    let (failures, start) = (Failures::default(), Instant::now());
    let mut lines = Vec::new();
    for millisecond in 0..3_500 {
        let denied = if millisecond % 2 == 0 { Denied::Wrong } else { Denied::Missing };
        let noted =
            failures.record(denied, Some(peer(millisecond)), start + Duration::from_millis(u64::from(millisecond)));
        lines.extend(noted.log.map(|suppressed| (millisecond, suppressed)));
    }
    assert_eq!(lines, [(0, 0), (1_000, 999), (2_000, 999), (3_000, 999)]);
}
