//! No file brings the reader of configurations down, and what it says of one is the same every time.

#![no_main]

#[path = "../properties/config.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
