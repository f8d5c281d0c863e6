//! The seeds of the fuzz targets, replayed on the stable compiler: what once was found stays found.

use std::{fs, path::Path};

#[path = "../fuzz/properties/head.rs"]
mod head;
#[path = "../fuzz/properties/sse.rs"]
mod sse;
#[path = "../fuzz/properties/waits.rs"]
mod waits;

fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut replayed = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        property(&fs::read(entry.path()).unwrap_or_default());
        replayed += 1;
    }
    assert!(replayed > 10, "there are seeds");
}

#[test]
fn sse_seeds_hold() {
    replay("sse", sse::hold);
}

#[test]
fn head_seeds_hold() {
    replay("head", head::hold);
}

#[test]
fn waits_seeds_hold() {
    replay("waits", waits::hold);
}
