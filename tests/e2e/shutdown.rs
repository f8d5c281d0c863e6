//! The end of the service: not ready, then everything under way ends by itself or with an error, then the process ends.

use e2e::{
    CEREBRAS, CLIENT_KEY, Client, Launch, RUNPOD_LB, Rig, Stream, Transcript, chat, eventually, only, streamed, with,
};
use emulator::{Face, Latency, Settings};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// `slow` never ends in time, `quick` does.
const MODELS: &str = r#"
[[models]]
name = "slow"
strategy = "weighted"
targets = [{ upstream = "runpod" }]

[[models]]
name = "quick"
strategy = "weighted"
targets = [{ upstream = "cerebras" }]
"#;

fn launch(drain_s: u64, first_token_ms: f64) -> Launch {
    let mut settings = Settings::default();
    settings.runpod_lb.latency = Latency { first_token_ms, spread: 0.0, tokens_per_s: 0.2, crowding: 0.0 };
    settings.runpod_lb.workers.concurrency = 1_000;
    settings.cerebras.latency = Latency { first_token_ms: 1.0, spread: 0.0, tokens_per_s: 15.0, crowding: 0.0 };
    let patient = "timeouts = { first_token_ms = 60000, gap_ms = 60000 }\n";
    Launch::new(settings, &format!("[server]\ndrain_s = {drain_s}\n{RUNPOD_LB}{patient}{CEREBRAS}{patient}{MODELS}"))
}

fn rig(drain_s: u64, first_token_ms: f64) -> Rig {
    launch(drain_s, first_token_ms).start()
}

fn ask(model: &str) -> Value {
    with(chat("hello"), json!({"model": model}))
}

/// Opens a stream and reads its first token.
async fn begun(client: &Client, model: &str) -> Stream {
    let mut stream = client.open(&streamed(ask(model))).await;
    stream.first_token().await;
    stream
}

fn assert_stopped(stream: &Transcript) {
    let errors = stream.errors();
    assert_eq!(errors.len(), 1, "{:?}", stream.events);
    assert_eq!(errors[0]["code"], "router_shutdown", "{errors:?}");
    assert!(!stream.is_done() && stream.is_complete, "{:?}", stream.events);
}

#[tokio::test]
async fn with_200_open_streams_each_completes_or_ends_with_an_error_event() {
    let mut rig = launch(6, 1.0).env("LLM_ROUTER__SERVER__GRACE_S", "3").start();
    let open = |model| join_all((0..100).map(|_| begun(&rig.client, model)).collect::<Vec<_>>());
    let slow = open("slow").await;
    let quick = open("quick").await;
    assert_eq!(rig.client.get("/readyz").await.status, 200);
    let running = rig.take_running();
    running.stop();
    eventually("not ready any more", async || {
        let ready = join(rig.client.get("/readyz"), rig.admin.get("/readyz")).await;
        (ready.0.status == 503 && ready.1.status == 503).then_some(())
    })
    .await;
    let last = rig.client.get("/v1/models").await;
    assert_eq!((last.status, last.header("connection")), (200, "close"), "kept connections are not kept on");
    assert_eq!(rig.admin.get("/livez").await.status, 200, "draining is no reason to be killed");
    let (slow, quick) =
        join(join_all(slow.into_iter().map(Stream::rest)), join_all(quick.into_iter().map(Stream::rest))).await;
    for stream in quick {
        assert!(stream.is_done() && stream.errors().is_empty(), "{:?}", stream.events);
    }
    slow.iter().for_each(assert_stopped);
    running.join().unwrap();
    assert_eq!(rig.call_log(Face::Cerebras).completed, 100);
    eventually("the calls upstream are cancelled", async || {
        (rig.call_log(Face::RunpodLb).cancelled == 100).then_some(())
    })
    .await;
}

/// Calls without a byte of an answer yet, whole or streamed, are refused in OpenAI's shape rather than cut off. Metrics and log do
/// not count them as cancelled by their clients.
#[tokio::test]
async fn calls_without_an_answer_yet_get_an_error() {
    let log = std::env::temp_dir().join(format!("llm-router-stopped-{}.log", std::process::id()));
    let path = log.to_str().expect("a path in UTF-8");
    let mut rig = launch(1, 50_000.0).env("LLM_ROUTER__LOG__ACCESS", path).start();
    let waiting = join_all([ask("slow"), streamed(ask("slow"))].map(|body| {
        let client = rig.client.clone();
        async move { client.chat(&body).await }
    }));
    let running = rig.take_running();
    let stop = async {
        eventually("both arrive", async || (rig.call_log(Face::RunpodLb).received == 2).then_some(())).await;
        running.stop();
    };
    for answer in join(waiting, stop).await.0 {
        assert_eq!((answer.status, answer.error_code()), (503, "router_shutdown".to_owned()), "{}", answer.text);
        assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{:?}", answer.headers);
    }
    running.join().unwrap();
    eventually("the access log says so", async || {
        let lines = std::fs::read_to_string(&log).ok()?;
        (lines.matches(r#""outcome":"stopped""#).count() == 2).then_some(())
    })
    .await;
    drop(std::fs::remove_file(&log));
}

#[tokio::test]
async fn without_anything_under_way_it_ends_at_once() {
    // The drain is longer than the test may take.
    let mut rig = rig(3_600, 1.0);
    assert_eq!(rig.client.chat(&ask("quick")).await.status, 200);
    let running = rig.take_running();
    running.stop();
    eventually("it ends", async || running.is_finished().then_some(())).await;
    running.join().unwrap();
}

/// Balancers look at readiness now and then, and send requests until they have: with nothing under way as well.
#[tokio::test]
async fn the_listener_stays_open_for_the_grace_period() {
    let mut rig = launch(3_600, 1.0).env("LLM_ROUTER__SERVER__GRACE_S", "5").start();
    let running = rig.take_running();
    let public = format!("http://{}", running.addr());
    running.stop();
    let fresh = || Client::new(&public, CLIENT_KEY);
    eventually("not ready any more", async || (fresh().get("/readyz").await.status == 503).then_some(())).await;
    let whole = fresh().chat(&ask("quick")).await;
    assert_eq!((whole.status, whole.header("connection")), (200, "close"), "{}", whole.text);
    let stream = fresh().stream(&streamed(ask("quick"))).await;
    assert!(stream.is_done() && stream.is_complete, "{:?}", stream.events);
    assert_eq!(stream.header("connection"), "", "a stream may outlast the stop");
    eventually("it ends", async || running.is_finished().then_some(())).await;
    running.join().unwrap();
}

/// A client must not wait for a process that is about to end: refused at once, it can ask another replica.
#[tokio::test]
async fn connections_are_refused_once_the_grace_period_is_over() {
    let mut rig = rig(3_600, 1.0);
    let slow = begun(&rig.client, "slow").await;
    let running = rig.take_running();
    running.stop();
    eventually("connections are refused", async || TcpStream::connect(running.addr()).await.err()).await;
    assert_eq!(rig.admin.get("/livez").await.status, 200);
    running.stop_now();
    assert_stopped(&slow.rest().await);
    running.join().unwrap();
}

#[tokio::test]
async fn a_stop_without_grace_does_not_wait_for_balancers() {
    let mut rig = launch(3_600, 1.0).env("LLM_ROUTER__SERVER__GRACE_S", "3600").start();
    let running = rig.take_running();
    running.stop_without_grace();
    eventually("it ends", async || running.is_finished().then_some(())).await;
    running.join().unwrap();
}

/// A whole answer is larger than the kernel holds, and its client reads it late.
#[tokio::test]
async fn a_whole_answer_holds_its_permit_and_the_stop_until_it_is_written() {
    let mut settings = Settings::instant();
    settings.runpod_lb.answer_tokens = 60_000;
    settings.runpod_lb.context = 1 << 20;
    let mut rig = Launch::new(settings, &format!("[server]\ndrain_s = 3600\n{RUNPOD_LB}{}", only("runpod")))
        .env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "1")
        .start();
    let body = with(chat("hello"), json!({"max_tokens": 60_000, "n": 16})).to_string();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(rig.running().addr()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = vec![0; 16];
    slow.read_exact(&mut answer).await.expect("it begins");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    for _ in 0..20 {
        let other = rig.client.chat(&chat("hello")).await;
        assert_eq!((other.status, other.error_code()), (503, "overloaded".to_owned()), "its permit is still taken");
    }
    let running = rig.take_running();
    running.stop();
    eventually("not ready any more", async || (rig.admin.get("/readyz").await.status == 503).then_some(())).await;
    slow.read_to_end(&mut answer).await.expect("the rest");
    let text = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    running.join().unwrap();
}

#[tokio::test]
async fn a_second_stop_cuts_at_once() {
    // The drain is longer than the client's patience.
    let mut rig = rig(3_600, 1.0);
    let streams = join_all((0..20).map(|_| begun(&rig.client, "slow"))).await;
    let running = rig.take_running();
    running.stop();
    running.stop_now();
    join_all(streams.into_iter().map(Stream::rest)).await.iter().for_each(assert_stopped);
    running.join().unwrap();
}

#[tokio::test]
async fn the_access_log_is_whole_when_the_service_has_ended() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("access-{}.log", std::process::id()));
    let access = file.to_str().unwrap();
    let mut rig = launch(6, 1.0).env("LLM_ROUTER__LOG__ACCESS", access).start();
    for answer in rig.client.chats(30, 3, |_| ask("quick")).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let running = rig.take_running();
    running.stop();
    tokio::task::spawn_blocking(move || running.join()).await.unwrap().unwrap();
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(lines, 30);
}
