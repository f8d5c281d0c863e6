//! No answer brings the translation down, and what it becomes has the events of a response in their order.

#![no_main]

#[path = "../properties/responses_stream.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
