//! Files other than the configuration, which are read in the same way.

use super::{
    reader::{read_file, read_text},
    *,
};

/// A file that says `name` and `wait_s`.
fn own(mut root: Table<'_>) -> Option<(String, Duration)> {
    let name = root.required("name", "a name").and_then(reader::Text::name);
    let wait = root.seconds("wait_s", 1).unwrap_or(Duration::from_secs(7));
    root.finish();
    Some((name?, wait))
}

#[test]
fn a_file_of_ones_own_is_read_and_every_problem_is_reported() {
    assert_eq!(
        read_text("name = \"${NAME}\"", "x.toml", &env, own),
        Ok(("value-of-NAME".to_owned(), Duration::from_secs(7)))
    );
    let problems = read_text("nane = \"a\"\nwait_s = 0", "x.toml", &env, own).expect_err("three mistakes");
    let paths: Vec<_> = problems.list.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["name", "wait_s", "nane"]);
    let problems = read_text("name = \"a\"\nwait_s = 0", "x.toml", &env, own).expect_err("one has a stand-in");
    assert_eq!(problems.list.len(), 1);
    let problems = read_text("name = ", "x.toml", &env, own).expect_err("not TOML").to_string();
    assert!(problems.starts_with("x.toml: ") && problems.contains("valid TOML"), "{problems}");
    // The configuration's overrides are not for other files.
    let overrides = |name: &str| (name == "LLM_ROUTER__LOG__LEVEL").then(|| "debug".to_owned());
    read_text("name = \"a\"", "x.toml", &overrides, own).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn a_missing_file_is_reported_with_where_to_find_one() {
    let problems =
        read_file(Path::new("/nonexistent.toml"), &env, "examples/ holds one", own).expect_err("no such file");
    let [problem] = problems.list.as_slice() else { panic!("{problems}") };
    assert_eq!((problems.origin.as_str(), problem.hint.as_deref()), ("/nonexistent.toml", Some("examples/ holds one")));
    assert!(problem.fault.starts_with("cannot be read: "), "{problem}");
}
