//! What holds for every `Authorization` header. Shared by the fuzz target and by the test that replays its seeds.

use server::fuzzing;

pub(crate) fn hold(input: &[u8]) {
    let Some(key) = fuzzing::key(input) else { return };
    assert!(input[..7].eq_ignore_ascii_case(b"bearer "), "{input:?}");
    assert_eq!(key, input[7..].trim_ascii());
    let plain = [b"Bearer ".as_slice(), &key].concat();
    if !key.is_empty() {
        assert_eq!(fuzzing::key(&plain), Some(key), "the same key by itself");
    }
}
