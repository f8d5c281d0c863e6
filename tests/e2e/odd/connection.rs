//! Connections that are closed as the next request comes.

use e2e::chat;
use emulator::Fault;

use super::setup::{A, B, alone, pair, say_hello};

/// A server closes an idle connection when it likes, and a request may cross that.
#[tokio::test]
async fn c24_a_stale_connection_is_repeated_at_once_on_a_new_one() {
    for rig in [alone(), pair()] {
        rig.emulator.control(A, Fault::StaleConnection);
        let mut repeated = 0;
        for number in 0..12 {
            let body = if number % 2 == 0 { chat("hello") } else { say_hello() };
            let answered = rig.client.chat(&body).await;
            let by = (answered.status, answered.header("x-llm-router-upstream"), answered.reason());
            assert_eq!(by, (200, "a", "share"), "request {number}: {}", answered.text);
            let attempts = answered.header("x-llm-router-attempts");
            assert!(matches!(attempts, "1" | "2"), "request {number}: {attempts} attempts");
            repeated += u32::from(attempts == "2");
        }
        assert!(repeated > 0, "a connection was used twice");
        assert_eq!(rig.call_log(B).received, 0);
        let retries = rig.metrics().await.value("llmrouter_upstream_attempts_total", &[("role", "retry")]);
        assert!((retries - f64::from(repeated)).abs() < 0.1, "{retries} of {repeated} repeats are counted");
    }
}
