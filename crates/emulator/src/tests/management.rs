//! The management API: what it remembers, and what it refuses and how.

use reqwest::Method;
use serde_json::{Value, json};

use super::{client, read, start};
use crate::{Billed, Emulator, ManagementSettings, Settings};

async fn call(emulator: &Emulator, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = client().request(method, format!("{}/{path}", emulator.management_base())).bearer_auth("key");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    read(request.header("content-type", "application/json").body(body)).await
}

fn endpoint(more: Value) -> Value {
    super::with(
        json!({
            "name": "e", "type": "QUEUE", "image": "i", "gpu": {"pools": ["ADA_24"]},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        }),
        more,
    )
}

#[tokio::test]
async fn what_is_made_is_listed_and_changed_in_part() {
    let emulator = start();
    let volume = json!({"name": "v", "size": 10, "dataCenter": "US-KS-2"});
    let (status, volume) = call(&emulator, Method::POST, "network-volumes", volume).await;
    assert_eq!((status, &volume["type"]), (201, &json!("STANDARD")));
    let more = json!({"networkVolumes": [volume["id"]], "gpu": {"pools": ["ADA_24"], "count": 2}});
    let (status, made) = call(&emulator, Method::POST, "serverless", endpoint(more)).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["workers"], json!({"min": 0, "max": 3, "idleTimeout": 10}));
    assert_eq!((&made["flashboot"], &made["timeout"]), (&json!("OFF"), &json!(300_000)));
    let path = format!("serverless/{}", made["id"].as_str().unwrap());
    let change = json!({"workers": {"max": 5}, "gpu": {"pools": ["ADA_48_PRO"]}, "env": {"A": "1"}});
    let (status, changed) = call(&emulator, Method::PATCH, &path, change).await;
    assert_eq!((status, &changed["workers"]), (200, &json!({"min": 0, "max": 5, "idleTimeout": 10})));
    assert_eq!((&changed["gpu"]["count"], &changed["image"]), (&json!(2), &json!("i")));
    assert_eq!(call(&emulator, Method::GET, &path, Value::Null).await, (200, changed.clone()));
    assert_eq!(call(&emulator, Method::GET, "serverless", Value::Null).await.1, json!({"endpoints": [changed]}));
    let (_, workers) = call(&emulator, Method::GET, &format!("{path}/workers"), Value::Null).await;
    assert_eq!(workers["summary"]["total"], 3);
    // Its jobs are served as every queue's are.
    let (status, health) = call(&emulator, Method::GET, &format!("{}/health", &path[11..]), Value::Null).await;
    assert_eq!((status, health["workers"].is_object()), (200, true));
    let (_, catalog) = call(&emulator, Method::GET, "catalog/gpus", Value::Null).await;
    assert_eq!(
        (&catalog["gpus"][1]["pool"], &catalog["gpus"][1]["price"]["serverless"]),
        (&json!("AMPERE_24"), &json!(0.68))
    );
}

#[tokio::test]
async fn what_runpod_refuses_is_refused_in_its_form() {
    let emulator = start();
    let queue_by_count =
        json!({"scaling": {"type": "REQUEST_COUNT", "requestCount": 4}, "workers": {"idleTimeout": 5}});
    let post = [
        ("serverless", json!({"name": "e"}), 422, "$: missing property 'type'"),
        ("serverless", endpoint(json!({"bogus": 1})), 422, "$: additional properties 'bogus' not allowed"),
        (
            "serverless",
            endpoint(json!({"workers": {"idleTimeout": 0}})),
            422,
            "$.workers.idleTimeout: want integer from 1",
        ),
        (
            "serverless",
            endpoint(json!({"scaling": {"type": "QUEUE_DELAY", "queueDelay": 0.1}})),
            422,
            "$.scaling.queueDelay",
        ),
        ("serverless", endpoint(json!({"gpu": null})), 422, "$.gpu: want object"),
        ("serverless", endpoint(queue_by_count), 400, "workers.idleTimeout does not apply"),
        ("serverless", endpoint(json!({"type": "LOAD_BALANCER"})), 400, "scale by REQUEST_COUNT"),
        ("serverless", endpoint(json!({"networkVolumes": ["vol9"]})), 404, "network volume not found"),
        (
            "network-volumes",
            json!({"name": "v", "size": 9, "dataCenter": "d"}),
            422,
            "$.size: want integer from 10 to 4096",
        ),
    ];
    for (path, body, status, said) in post {
        let (got, problem) = call(&emulator, Method::POST, path, body.clone()).await;
        assert_eq!((got, &problem["status"]), (status, &json!(status)), "{body}: {problem}");
        assert!(problem.to_string().contains(said), "{said}: {problem}");
    }
    let volume = json!({"name": "v", "size": 20, "dataCenter": "d"});
    let (_, volume) = call(&emulator, Method::POST, "network-volumes", volume).await;
    let (_, made) = call(&emulator, Method::POST, "serverless", endpoint(json!({}))).await;
    let volume = format!("network-volumes/{}", volume["id"].as_str().unwrap());
    let made = format!("serverless/{}", made["id"].as_str().unwrap());
    let patch = [
        (volume.as_str(), json!({"size": 10}), 400, "cannot be reduced"),
        (volume.as_str(), json!({"dataCenter": "e"}), 422, "'dataCenter' not allowed"),
        (volume.as_str(), json!({}), 422, "minProperties"),
        (made.as_str(), json!({"type": "LOAD_BALANCER"}), 422, "'type' not allowed"),
        (made.as_str(), json!({"cpu": []}), 400, "cpu cannot be set"),
        ("serverless/nothing", json!({"timeout": 1}), 404, "not found"),
    ];
    for (path, body, status, said) in patch {
        let (got, problem) = call(&emulator, Method::PATCH, path, body).await;
        assert_eq!(got, status, "{problem}");
        assert!(problem.to_string().contains(said), "{said}: {problem}");
    }
    assert_eq!(call(&emulator, Method::PUT, "serverless", Value::Null).await.0, 405);
    let anonymous = client().get(format!("{}/serverless", emulator.management_base())).send().await.unwrap();
    assert_eq!(anonymous.headers()["content-type"], "application/problem+json");
    assert_eq!(anonymous.status(), 401);
    let calls = emulator.call_logs().management;
    let last = calls.last().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str(), last.status), ("GET", "/v2/serverless", 401));
}

#[tokio::test]
async fn the_bill_is_that_of_the_settings_by_day_and_endpoint() {
    let billed = |endpoint: &str, day: &str, gpu_usd| Billed {
        endpoint: endpoint.to_owned(),
        day: day.to_owned(),
        gpu_usd,
        disk_usd: 0.5,
    };
    let billing = vec![billed("a", "2026-10-01", 1.0), billed("b", "2026-10-01", 2.0), billed("a", "2026-10-02", 4.0)];
    let management = ManagementSettings { billing, ..ManagementSettings::default() };
    let emulator = Emulator::start(Settings { management, ..Settings::instant() }).unwrap();
    let (status, all) = call(&emulator, Method::GET, "billing/serverless?bucketSize=day", Value::Null).await;
    assert_eq!((status, &all["metadata"]["totals"]["totalAmount"]), (200, &json!(8.5)));
    let window = "billing/serverless?startTime=2026-10-02T00:00:00Z&endTime=2026-10-03T00:00:00Z&serverlessId=a";
    let (_, some) = call(&emulator, Method::GET, window, Value::Null).await;
    assert_eq!((some["records"].as_array().map(Vec::len), &some["records"][0]["gpuAmount"]), (Some(1), &json!(4.0)));
    assert_eq!(call(&emulator, Method::GET, "billing/serverless?bucketSize=year", Value::Null).await.0, 400);
    assert_eq!(call(&emulator, Method::POST, "billing/serverless", Value::Null).await.0, 405);
}
