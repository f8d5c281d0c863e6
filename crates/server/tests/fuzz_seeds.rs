//! The seeds of the fuzz targets, replayed on the stable compiler: what once was found stays found.

use std::{fs, path::Path};

#[path = "../fuzz/properties/batch.rs"]
mod batch;

#[test]
fn batch_seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/batch");
    let mut replayed = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        batch::hold(&fs::read(entry.path()).unwrap_or_default());
        replayed += 1;
    }
    assert!(replayed > 10, "there are seeds");
}
