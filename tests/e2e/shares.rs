//! The configured share of the requests is what each upstream gets.

use std::collections::HashMap;

use e2e::{Answer, Rig, chat, with};
use emulator::Settings;
use serde_json::{Value, json};

fn sped_up() -> Settings {
    Settings { speed: 50.0, ..Settings::default() }
}

fn ask(number: usize) -> Value {
    with(chat(&format!("question {number}")), json!({"model": "llama-3.1-8b"}))
}

/// 800 of 1,000 answers came from RunPod; the issue allows five more or less.
fn assert_shares(answers: &[Answer]) {
    assert!(answers.iter().all(|answer| answer.status == 200), "every request is answered");
    let runpod = answers.iter().filter(|answer| answer.provider() == "runpod").count();
    assert!((795..=805).contains(&runpod), "{runpod} of 1,000 from RunPod");
    let cerebras = answers.iter().filter(|answer| answer.provider() == "cerebras").count();
    assert_eq!(runpod + cerebras, 1_000);
}

#[tokio::test]
async fn of_1000_demo_requests_800_come_from_runpod() {
    let rig = Rig::demo(sped_up());
    assert_shares(&rig.client.chats(1_000, 4, ask).await);
}

#[tokio::test]
async fn the_share_holds_with_64_requests_at_a_time() {
    let rig = Rig::demo(sped_up());
    assert_shares(&rig.client.chats(1_000, 64, ask).await);
}

/// A client whose conversation is named finds its prompt cache again, and the share of all requests holds.
#[tokio::test]
async fn the_turns_of_a_conversation_stay_with_one_upstream() {
    let rig = Rig::demo(sped_up());
    let (mut before, mut stayed, mut reasons) = (HashMap::new(), 0, 0);
    // Each conversation comes back at another place of the round.
    for turn in 0..160 {
        let conversation = turn * 7 % 20 + turn / 20 % 3;
        // A prompt that is long enough to be worth it.
        let long = with(chat(&"What came before. ".repeat(100)), json!({"model": "llama-3.1-8b"}));
        let asked = rig.client.json("/v1/chat/completions", &long);
        let answer = Answer::of(asked.header("x-llm-router-session", format!("thread-{conversation}"))).await;
        assert_eq!(answer.status, 200);
        reasons += u32::from(answer.reason() == "stay");
        let previous = before.insert(conversation, answer.provider().to_owned());
        stayed += u32::from(previous.is_some_and(|previous| previous == answer.provider()));
    }
    assert!(stayed >= 120, "{stayed} of 138 turns stayed");
    assert!(reasons > 0, "no answer says that it stayed");
}
