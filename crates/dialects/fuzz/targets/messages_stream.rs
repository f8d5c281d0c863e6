//! No answer brings its translation down, and what comes of it are the events of a message in their order.

#![no_main]

#[path = "../properties/messages_stream.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
