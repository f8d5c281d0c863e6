//! Any split of a byte stream yields the same events and frames.

#![no_main]

#[path = "../properties/sse.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
