//! No body of a Responses request brings the translation down, and what it becomes is a chat.

#![no_main]

#[path = "../properties/responses_request.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
