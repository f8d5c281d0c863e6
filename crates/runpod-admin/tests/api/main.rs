//! What the management client asks, and what it makes of answers that are none.

#[cfg(test)]
#[path = "../../../openai/tests/support/server.rs"]
mod server;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openai::Client;
    use runpod_admin::Api;

    use crate::server::{Answer, Asked, Server};

    const KEY: &str = "rpa_canary";

    fn api(base_url: &str) -> Api {
        let connect_timeout = Duration::from_secs(5);
        let settings = openai::Settings {
            base_url: base_url.to_owned(),
            api_key: Some(KEY.into()),
            connect_timeout,
            headers: Vec::new(),
        };
        Api::new(Client::new(&settings).expect("a client"), base_url).expect("an address")
    }

    async fn asked(answer: Answer) -> (String, Asked) {
        let server = Server::start().await;
        let api = api(&server.url("/v2/"));
        let (prices, asked) = tokio::join!(api.prices(), server.answer(&answer));
        (prices.map_or_else(|error| error.to_string(), |prices| format!("{prices:?}")), asked)
    }

    #[tokio::test]
    async fn prices_are_those_of_pools() {
        let gpus = r#"{"gpus": [
            {"id": "a", "pool": "ADA_24", "price": {"secure": 0.4, "community": 0.3, "serverless": 1.12}},
            {"id": "b", "pool": null, "price": {"secure": 0.1, "community": 0.1}},
            {"id": "c", "pool": "NEW", "price": {"secure": 0.4, "community": 0.3}}
        ]}"#;
        let (prices, asked) = asked(Answer::json(200, gpus)).await;
        assert_eq!(
            prices,
            r#"[PoolPrice { pool: "ADA_24", usd_per_hour: Some(NanoUsd(1120000000)) }, PoolPrice { pool: "NEW", usd_per_hour: None }]"#
        );
        assert_eq!(asked.path, "/v2/catalog/gpus");
        assert!(asked.body.is_null(), "nothing is sent with a GET: {}", asked.body);
        assert!(asked.head.contains("authorization: bearer rpa_canary"), "{}", asked.head);
    }

    #[tokio::test]
    async fn a_refusal_says_what_is_wrong_and_what_to_do() {
        let problem = |status: u16, detail: &str, more: &str| {
            Answer::json(status, format!(r#"{{"title": "t", "status": {status}, "detail": "{detail}"{more}}}"#))
        };
        let mut limited = problem(429, "rate limit exceeded for the minute window", "");
        limited.headers.push(("retry-after".into(), "12".into()));
        let cases = [
            (problem(401, "missing bearer token", ""), "missing bearer token\n  check the key in RUNPOD_API_KEY"),
            (
                problem(403, "access denied", ""),
                "access denied\n  the key in RUNPOD_API_KEY needs read and write access",
            ),
            (
                problem(422, "Request validation failed.", r#", "errors": ["$: one", "$: two"]"#),
                "Request validation failed.\n  - $: one\n  - $: two",
            ),
            (limited, "rate limit exceeded for the minute window\n  try again in 12 s"),
            (Answer::json(502, "<html>"), "RunPod answered 502 without saying why\n  run the command again"),
            (Answer::json(200, "<html>"), "the upstream's answer is not JSON"),
            (Answer::json(200, r#"{"gpus": {}}"#), "RunPod's answer has another form than expected"),
        ];
        for (answer, said) in cases {
            let (error, _) = asked(answer).await;
            assert!(error.starts_with(&format!("cannot read RunPod's prices: {said}")), "{error}");
            assert!(!error.contains(KEY), "{error}");
        }
    }

    #[tokio::test]
    async fn an_api_that_is_not_there_is_said() {
        let error = api("http://127.0.0.1:9").found().await.expect_err("nobody listens").to_string();
        assert!(error.starts_with("cannot list the network volumes: "), "{error}");
        assert!(error.ends_with("check --api and the network"), "{error}");
    }
}
