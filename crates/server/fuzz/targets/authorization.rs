//! No `Authorization` header brings the reader of keys down, and what it reads is all of the key and nothing else.

#![no_main]

#[path = "../properties/authorization.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
