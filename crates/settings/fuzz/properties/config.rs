//! What holds for every configuration file. Shared by the fuzz target and by the test that replays its seeds.

use settings::{Problems, Secrets, parse_with};

const SECRET: &str = "sk-never-to-be-shown";

pub(crate) fn hold(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A value that the file itself takes from a variable may be shown.
    let env = |name: &str| (name.ends_with("KEY") && !text.contains("${")).then(|| SECRET.to_owned());
    let read = |secrets| parse_with(text, "file.toml", &env, secrets).map(|config| config.version);
    let required = read(Secrets::Required);
    assert_eq!(required, read(Secrets::Required), "the same file is read alike");
    for secrets in [Secrets::Optional, Secrets::Ignored] {
        let read = read(secrets);
        assert!(required.is_err() || read.is_ok(), "what serves can be checked: {read:?}");
        check(read.err().as_ref());
    }
    check(required.err().as_ref());
}

/// A refused file gets a reason, which holds no secret of the environment.
fn check(refused: Option<&Problems>) {
    let Some(problems) = refused else { return };
    assert!(!problems.list.is_empty());
    assert!(
        problems.list.iter().all(|problem| !problem.fault.is_empty() && !problem.message.is_empty()),
        "{problems:?}"
    );
    assert!(!problems.to_string().contains(SECRET), "{problems}");
}
