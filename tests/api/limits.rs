//! Limits: a key's own excess is its own (429), the router's is ours (503), both say when to come again, and every place is given
//! back.

use std::time::Duration;

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, streamed};
use emulator::{Face, Fault, Settings};
use tokio::time::{Instant, interval};

use crate::common::{Raw, Refusal, received};

const OTHER_KEY: &str = "sk-test-other";

/// Key `a` with these limits, and key `b` with none.
fn launch(limits: &str) -> Launch {
    let config = format!(
        "{RUNPOD_LB}{CEREBRAS}{BALANCED}
        [[keys]]\nid = \"a\"\nteam = \"a\"\nenv = \"CLIENT_KEY\"\nlimits = {{ {limits} }}
        [[keys]]\nid = \"b\"\nteam = \"b\"\nenv = \"OTHER_KEY\"\n"
    );
    Launch::new(Settings::instant(), &config).env("OTHER_KEY", OTHER_KEY)
}

fn hang(rig: &Rig) {
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
}

fn check_retry_after(answer: &Answer) {
    let seconds: u64 = answer.header("retry-after").parse().expect("a number of seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

/// Key A asks for 50 times what it may, key B for 5 requests a second.
#[tokio::test]
async fn a_key_over_its_limit_does_not_hurt_another() {
    const LIMIT: usize = 60;
    let rig = launch("requests_per_minute = 60").start();
    let started = Instant::now();
    let greedy = rig.client.chats(50 * LIMIT, 16, |_| chat("a"));
    let modest = async {
        let client = rig.client.with_key(OTHER_KEY);
        let mut ticks = interval(Duration::from_millis(200));
        let mut answers = Vec::new();
        for _ in 0..15 {
            ticks.tick().await;
            answers.push(client.chat(&chat("b")).await);
        }
        answers
    };
    let (greedy, modest) = tokio::join!(greedy, modest);
    assert!(modest.iter().all(|answer| answer.status == 200), "B never fails");
    let served = greedy.iter().filter(|answer| answer.status == 200).count();
    // A place comes back each second.
    let most = LIMIT + usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!((LIMIT..=most).contains(&served), "{served} of at most {most}");
    let says = "this key may make 60 requests per minute: slow down";
    let refusal = Refusal { status: 429, code: "rate_limit_exceeded", param: None, says };
    for answer in greedy.iter().filter(|answer| answer.status != 200) {
        refusal.check("A's excess", answer);
        check_retry_after(answer);
    }
    assert_eq!(received(&rig), (served + modest.len()) as u64, "the excess reaches nobody");
}

/// Opens this many calls that no upstream answers, and returns when all of them are under way.
async fn hanging(rig: &Rig, count: u64) -> Vec<Raw> {
    hang(rig);
    let before = received(rig);
    let mut calls = Vec::new();
    for number in 0..count {
        let body = if number % 2 == 0 { chat("x") } else { streamed(chat("x")) }.to_string();
        let mut connection = Raw::connect(rig).await;
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.send(head + &body).await;
        calls.push(connection);
    }
    eventually("the calls are under way", async || (received(rig) >= before + count).then_some(())).await;
    calls
}

/// Lets go of `held` and waits until a request is served again.
async fn give_back(rig: &Rig, held: Vec<Raw>) {
    drop(held);
    rig.emulator.reset();
    eventually("places are given back", async || (rig.client.chat(&chat("x")).await.status == 200).then_some(())).await;
    rig.until_idle().await;
}

#[tokio::test]
async fn a_key_may_only_have_so_many_requests_under_way() {
    let rig = launch("concurrent = 2").start();
    // Three times, so that a place that is lost once would be missed.
    for _ in 0..3 {
        let held = hanging(&rig, 2).await;
        let answer = rig.client.chat(&chat("x")).await;
        let says = "may have 2 requests under way at a time: wait for one to end";
        Refusal { status: 429, code: "concurrency_limit_exceeded", param: None, says }.check("a third", &answer);
        check_retry_after(&answer);
        give_back(&rig, held).await;
    }
}

#[tokio::test]
async fn the_router_has_a_ceiling_of_its_own() {
    let rig = launch("concurrent = 100").env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "3").start();
    for _ in 0..3 {
        let held = hanging(&rig, 3).await;
        for key in [CLIENT_KEY, OTHER_KEY] {
            let answer = rig.client.with_key(key).chat(&chat("x")).await;
            let says = "as many requests under way as it may: try again";
            Refusal { status: 503, code: "overloaded", param: None, says }.check("one more", &answer);
            check_retry_after(&answer);
        }
        give_back(&rig, held).await;
    }
}
