//! Tags, and keys that have some.

use super::*;

#[test]
fn mistakes_in_tags_are_reported() {
    let auth = "[auth]";
    let tags = |more: &str| format!("[[tags]]\nname = \"env\"\nvalues = [\"prod\", \"test\"]\n\n{more}\n\n{auth}");
    let many: Vec<_> = (0..17).map(|nth| format!("[[tags]]\nname = \"t{nth}\"\n")).chain([auth.to_owned()]).collect();
    let cases = [
        (tags("[[tags]]\nname = \"env\""), "tags[1].name", "\"env\" is the name of another tag too", ""),
        (tags("[[tags]]\nname = \"a b\""), "tags[1].name", "\"a b\" is not a plain name", ""),
        (tags("[[tags]]\nvalues = [\"x\"]"), "tags[1].name", "missing", ""),
        (tags("[[tags]]\nname = \"x\"\nvalues = []"), "tags[1].values", "is empty", ""),
        (tags("[[tags]]\nname = \"x\"\nvalues = [\"a,b\"]"), "tags[1].values[0]", "\"a,b\" is no value of a tag", ""),
        (tags("[[tags]]\nname = \"x\"\nvalue = \"y\""), "tags[1].value", "unknown key", "did you mean \"values\"?"),
        (many.join("\n"), "tags", "are too many", "every row"),
    ];
    for (to, path, said, hint) in &cases {
        check(&[(auth, to, path, said, hint)]);
    }
    let key = "env = \"BATCH_KEY\"";
    check(&[
        (
            key,
            "env = \"BATCH_KEY\"\ntags = { env = \"prod\" }",
            "keys[1].tags.env",
            "\"prod\" does not fit [[tags]]",
            "",
        ),
        (key, "env = \"BATCH_KEY\"\ntags = { env = 3 }", "keys[1].tags.env", "3 is not a string", ""),
    ]);
}

#[test]
fn tags_are_declared_by_name_and_keys_may_have_some() {
    let text = VALID
        .replace("[auth]", "[[tags]]\nname = \"env\"\nvalues = [\"prod\", \"test\"]\nrequired = true\n\n[auth]")
        .replace("env = \"BATCH_KEY\"", "env = \"BATCH_KEY\"\ntags = { env = \"prod\" }");
    let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.tags.names().collect::<Vec<_>>(), ["env"]);
    assert_eq!(config.keys[1].tags.iter().collect::<Vec<_>>(), [("env", "prod")]);
    assert!(config.keys[0].tags.is_empty() && valid().tags.is_empty());
    let none = TagSet::default();
    assert!(config.tags.resolve([&none, &none, &config.keys[1].tags]).is_ok());
    assert!(config.tags.resolve([&none, &none, &config.keys[0].tags]).is_err(), "it is required");
}
