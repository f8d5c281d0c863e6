//! A client that asks for one thing at a time, and goes on as soon as it has its answer.

use e2e::{BALANCED, CEREBRAS, Launch, RUNPOD_LB, chat, streamed};
use emulator::Settings;

/// The permit of an answer is free by the time its client has read it: the next request must not be refused for it.
#[tokio::test]
async fn a_client_that_waits_for_each_answer_never_exceeds_its_concurrency() {
    let key = "\n[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nlimits = { concurrent = 1 }\n";
    let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{key}")).start();
    let mut refused = 0;
    for number in 0..200 {
        let status = if number % 2 == 0 {
            rig.client.chat(&chat("x")).await.status
        } else {
            rig.client.stream(&streamed(chat("x"))).await.status
        };
        refused += usize::from(status != 200);
    }
    assert_eq!(refused, 0, "of 200 requests, one after the other");
}
