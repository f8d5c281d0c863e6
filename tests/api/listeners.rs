//! What each of the two listeners answers.

use e2e::Answer;
use reqwest::Method;

use crate::common::launch;

#[tokio::test]
async fn probes_answer_on_both_listeners_and_metrics_on_one() {
    let rig = launch().start();
    for listener in [&rig.client, &rig.admin] {
        for probe in ["/livez", "/readyz"] {
            let answer = Answer::of(listener.bare(Method::GET, probe)).await;
            assert_eq!((answer.status, answer.text.as_str()), (200, "ok\n"), "{probe}");
        }
    }
    let answer = Answer::of(rig.admin.bare(Method::GET, "/metrics")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(answer.text.contains("# TYPE llmrouter_requests_total counter"), "{}", answer.text);
    let public = Answer::of(rig.client.request(Method::GET, "/metrics")).await;
    assert_eq!(public.status, 404);
    assert!(!public.text.contains("llmrouter_"));
    for path in ["/v1/models", "/v1/chat/completions", "/"] {
        let answer = rig.admin.get(path).await;
        assert_eq!(answer.status, 404, "{path} is not for operators");
    }
}
