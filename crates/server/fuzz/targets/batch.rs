//! No body brings the short form or a batch down, and what becomes of one is a chat.

#![no_main]

#[path = "../properties/batch.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
