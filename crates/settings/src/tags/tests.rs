use proptest::prelude::*;

use super::*;

fn declared() -> Tags {
    let tag = |values: Option<&[&str]>| Tag {
        values: values.map(|values| values.iter().map(|value| (*value).to_owned()).collect()),
        is_required: false,
    };
    let tags = [("feature", tag(None)), ("env", tag(Some(&["prod", "test"]))), ("cost-center", tag(None))];
    Tags(tags.into_iter().map(|(name, tag)| (name.to_owned(), tag)).collect())
}

fn text(tags: &Tags, sources: [&TagSet; 3]) -> Option<String> {
    tags.resolve(sources).expect("nothing is required").map(|text| text.to_string())
}

#[test]
fn tags_come_out_in_the_order_of_their_names_and_the_first_source_wins() {
    let (tags, none) = (declared(), TagSet::default());
    let header = tags.pairs(" feature = search ,env=prod,, ").expect("tags");
    assert_eq!(text(&tags, [&header, &none, &none]).as_deref(), Some("env=prod,feature=search"));
    let of_key = tags.pairs("env=test,cost-center=4711").expect("tags");
    let both = text(&tags, [&header, &none, &of_key]);
    assert_eq!(both.as_deref(), Some("cost-center=4711,env=prod,feature=search"));
    assert_eq!(text(&tags, [&none, &none, &none]), None);
    assert_eq!(tags.pairs("").expect("no tags"), none);
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let tags = declared();
    for (given, says) in [
        ("Feature=x", "the tag \"Feature\" is not declared: there are cost-center, env, feature"),
        ("feature", "\"feature\" is not name=value: write tags as feature=search,env=prod"),
        (
            "feature=",
            "\"\" is no value of the tag \"feature\": 1 to 64 letters, digits and . _ - : / @ +; not first: - @ +",
        ),
        (
            "feature=a b",
            "\"a b\" is no value of the tag \"feature\": 1 to 64 letters, digits and . _ - : / @ +; not first: - @ +",
        ),
        (
            "feature=@SUM",
            "\"@SUM\" is no value of the tag \"feature\": 1 to 64 letters, digits and . _ - : / @ +; not first: - @ +",
        ),
        (
            "feature=a=b",
            "\"a=b\" is no value of the tag \"feature\": 1 to 64 letters, digits and . _ - : / @ +; not first: - @ +",
        ),
        ("env=dev", "\"dev\" is no value of the tag \"env\": it may be prod or test"),
        ("env=prod,env=test", "the tag \"env\" is given twice"),
    ] {
        assert_eq!(tags.pairs(given).expect_err(given).to_string(), says);
    }
    let none = Tags::default().pairs("a=b").expect_err("refused").to_string();
    assert_eq!(none, "the tag \"a\" is not declared: no tags are");
    assert!(tags.pairs(&format!("feature={}", "x".repeat(64))).is_ok());
    let long = tags.pairs(&format!("feature={}", "x".repeat(5_000))).expect_err("too long").to_string();
    assert!(long.len() < 200, "{long}");
}

#[test]
fn of_metadata_only_declared_names_are_read() {
    let tags = declared();
    let members = [("user", Some("A. B. <a@b>")), ("feature", Some("search")), ("trace", None)];
    let found = tags.members(members).expect("tags");
    assert_eq!(found.iter().collect::<Vec<_>>(), [("feature", "search")]);
    assert_eq!(tags.members([("env", None::<&str>)]), Err(TagError::NotAString("env".to_owned())));
    assert!(matches!(tags.members([("env", Some("dev"))]), Err(TagError::Unlisted { .. })));
}

#[test]
fn a_required_tag_may_come_from_anywhere() {
    let mut tags = declared();
    tags.0.get_mut("feature").expect("declared").is_required = true;
    let (none, set) = (TagSet::default(), tags.pairs("feature=search").expect("tags"));
    for sources in [[&set, &none, &none], [&none, &set, &none], [&none, &none, &set]] {
        assert!(tags.resolve(sources).is_ok());
    }
    let error = tags.resolve([&none, &none, &none]).expect_err("missing").to_string();
    assert!(error.contains("\"feature\" is required: send it in the header x-llm-router-tags"), "{error}");
}

proptest! {
    /// What is in the ledger is read as what was sent, whatever names are declared and however it was sent.
    #[test]
    fn what_was_tagged_is_read_from_the_ledgers_form(
        pairs in prop::collection::btree_map("[A-Za-z0-9._-]{1,64}", "[A-Za-z0-9._:/][A-Za-z0-9._:/@+-]{0,63}", 0..MOST),
        shuffle in any::<usize>(),
    ) {
        let tag = Tag { values: None, is_required: false };
        let tags = Tags(pairs.keys().map(|name| (name.clone(), tag.clone())).collect());
        let mut sent: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !sent.is_empty() {
            let at = shuffle % sent.len();
            sent.rotate_left(at);
        }
        let header = tags.pairs(&sent.join(", ")).expect("tags");
        let text = text(&tags, [&header, &TagSet::default(), &TagSet::default()]).unwrap_or_default();
        let read: BTreeMap<_, _> = tag_pairs(&text).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(read, pairs);
        let again = tags.pairs(&text).expect("the form is read as a header too");
        prop_assert_eq!(again, header);
    }
}
