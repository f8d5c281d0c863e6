//! No body brings the translation of a request down, and what comes of it is a chat that says the same.

#![no_main]

#[path = "../properties/messages_request.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
