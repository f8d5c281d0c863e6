//! No header brings the reading of waits and quotas down, and what is plain is read as it is.

#![no_main]

#[path = "../properties/waits.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::hold(input));
