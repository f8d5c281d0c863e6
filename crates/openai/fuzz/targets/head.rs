//! No request body brings the reader down, and a rewritten body differs only as asked.

#![no_main]

#[path = "../properties/head.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
