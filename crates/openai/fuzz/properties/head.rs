//! What holds for every request body. Shared by the fuzz target and by the test that replays its seeds.

use std::{collections::HashSet, fmt};

use bytes::Bytes;
use openai::{Outgoing, Served};
use provider::{Call, Limits, MemoryBudget, Operation, Request};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of an object in order, repeated ones included.
#[derive(Debug, PartialEq)]
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((key, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

fn members(body: &[u8]) -> Members {
    let read: Result<Members, _> = serde_json::from_slice(body);
    assert!(read.is_ok(), "not an object: {:?}: {}", read.err(), String::from_utf8_lossy(body));
    read.unwrap_or(Members(Vec::new()))
}

/// The first byte chooses the operation, the rest is the body.
pub(crate) fn hold(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let operation = Operation::ALL[usize::from(*choice) % Operation::ALL.len()];
    let parsed = Request::parse(operation, Bytes::copy_from_slice(body), Limits { max_messages: 64 });
    let Ok(request) = parsed else { return };
    // A name with half a surrogate in it is no text to serde, and is passed on.
    let is_half = |error: &serde_json::Error| error.to_string().contains("hex escape");
    if serde_json::from_slice::<Members>(body).as_ref().is_err_and(is_half) {
        return;
    }
    let before = members(body);
    assert!(request.fields().eq(before.0.iter().map(|(key, _)| key.as_str())), "{before:?}");
    let names: HashSet<_> = before.0.iter().map(|(key, _)| key).collect();
    assert_eq!(names.len(), before.0.len(), "nothing appears twice");

    assert_eq!(members(&request.rewrite().finish()), before, "no change changes nothing");

    let last = before.0.last().map_or("", |(key, _)| key.as_str());
    let mut rewrite = request.rewrite();
    rewrite.remove(last).set("model", "\"other\"").set("added", "[1]").set("added", "[2]");
    let after = members(&rewrite.finish());
    let mut expected = before.0.clone();
    // What is removed and then set again stays.
    expected.retain(|(key, _)| key != last || last == "model" || last == "added");
    for (key, value) in &mut expected {
        if key == "model" {
            "\"other\"".clone_into(value);
        }
    }
    match expected.iter_mut().find(|(key, _)| key == "added") {
        Some((_, value)) => "[2]".clone_into(value),
        None => expected.push(("added".to_owned(), "[2]".to_owned())),
    }
    assert_eq!(after, Members(expected));

    let served = Served::new("served", Some(64), "max_tokens");
    let call = Call {
        request_id: "r".into(),
        adjustment: None,
        reasoning: provider::ReasoningField::default(),
        memory: MemoryBudget::default(),
    };
    let sent = members(&Outgoing::new(&request, &served, &call).rewrite.finish());
    assert!(sent.0.iter().filter(|(key, _)| key == "model").eq([&("model".to_owned(), "\"served\"".to_owned())]));
}
