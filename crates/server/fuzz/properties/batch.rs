//! What holds for every body of the short form and of a batch. Shared by the fuzz target and by the test that replays its seeds.

use bytes::Bytes;
use serde_json::Value;
use server::fuzzing;

const MOST: usize = 64;

pub(crate) fn hold(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    for stream in [false, true] {
        if let Ok(chat) = fuzzing::prompt(&body, stream) {
            check(&chat, stream);
        }
    }
    let Ok(chats) = fuzzing::batch(&body, MOST) else { return };
    assert!((1..=MOST).contains(&chats.len()));
    chats.iter().flatten().for_each(|chat| check(chat, false));
}

/// The body of a chat is JSON for everyone, asks for what was wanted, and fills what the client left out.
fn check(chat: &[u8], stream: bool) {
    let read: Result<Value, _> = serde_json::from_slice(chat);
    // A number that no double holds is JSON all the same.
    if read.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range")) {
        return;
    }
    assert!(read.is_ok(), "{:?}: {}", read.err(), String::from_utf8_lossy(chat));
    let Ok(chat) = read else { return };
    assert_eq!(chat["model"], "m");
    assert_eq!(chat["stream"].as_bool().unwrap_or_default(), stream);
    assert!(chat["messages"].as_array().is_some_and(|messages| !messages.is_empty()));
    assert!(chat["prompt"].is_null() && !chat["temperature"].is_null());
    assert!(!chat["max_tokens"].is_null() || !chat["max_completion_tokens"].is_null());
}
