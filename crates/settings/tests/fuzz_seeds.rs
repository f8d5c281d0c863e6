//! The seeds of the fuzz target, replayed on the stable compiler: what once was found stays found.

use std::{fs, path::Path};

#[path = "../fuzz/properties/config.rs"]
mod config;

#[test]
fn config_seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/config");
    let mut replayed = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        config::hold(&fs::read(entry.path()).unwrap_or_default());
        replayed += 1;
    }
    assert!(replayed > 10, "there are seeds");
}
