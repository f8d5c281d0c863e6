//! No body makes the short form or a batch panic, and each valid entry becomes a chat.

#![no_main]

#[path = "../properties/batch.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
