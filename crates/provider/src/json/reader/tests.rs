use proptest::prelude::*;

use super::*;
use crate::json::MAX_KEYS;

fn read(text: &str) -> Result<Value<'_>, Malformed> {
    let mut reader = Reader::new(text);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

fn why(text: &str) -> Why {
    read(text).expect_err(text).why
}

#[test]
fn values_of_each_kind_are_distinguished() {
    assert_eq!(read(" null "), Ok(Value::Null));
    assert_eq!(read("true"), Ok(Value::Bool(true)));
    assert_eq!(read("-1.5e3").ok().and_then(|value| value.number()), Some(-1500.0));
    assert_eq!(read("[1,[2,3],{}]"), Ok(Value::Array(3)));
    assert_eq!(read("{\"a\":1,\"a\":[2]}"), Ok(Value::Object(2)));
    for empty in ["null", "\"\"", "[]", "{ }"] {
        assert!(read(empty).expect("JSON").is_empty(), "{empty}");
    }
    for filled in ["0", "false", "\" \"", "[null]", "{\"\":null}"] {
        assert!(!read(filled).expect("JSON").is_empty(), "{filled}");
    }
}

#[test]
fn only_plain_whole_numbers_are_counts() {
    let count = |text| read(text).expect("JSON").count();
    assert_eq!((count("7"), count("0"), count("18446744073709551615")), (Some(7), Some(0), Some(u64::MAX)));
    for text in ["7.0", "-1", "1e2", "18446744073709551616", "\"7\"", "null", "[7]", "true"] {
        assert_eq!(count(text), None, "{text}");
    }
}

#[test]
fn texts_are_decoded_leniently() {
    let decoded = |raw: &str| {
        let text = format!("\"{raw}\"");
        read(&text).expect("JSON").text().expect("a text").decoded().into_owned()
    };
    assert_eq!(decoded(r#"a\"b\\\/\n\t\u00e9"#), "a\"b\\/\n\té");
    assert_eq!(decoded(r"\ud83d\ude00 \uD83D\uDE00"), "😀 😀");
    assert_eq!(decoded(r"a \ud83d b"), "a \u{fffd} b");
    assert_eq!(decoded(r"\ude00\ud83d"), "\u{fffd}\u{fffd}");
    assert_eq!(decoded(r"\ud83d\ud83d\ude00"), "\u{fffd}😀");
    assert_eq!(decoded(r"\ud83dx\u0041"), "\u{fffd}xA");
    let key = Text { raw: r"c\u006fntent", at: 0, is_escaped: true };
    assert!(key.says("content") && !key.says("c\\u006fntent"));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases = [
        ("", Why::Ends),
        ("{\"a\"", Why::Ends),
        ("\"abc", Why::Ends),
        ("nonsense", Why::NoValue),
        ("[1,]", Why::NoValue),
        ("{\"a\":1,}", Why::NoKey),
        ("{a:1}", Why::NoKey),
        ("{\"a\" 1}", Why::NoColon),
        ("[1 2]", Why::NoComma),
        ("01", Why::Trailing),
        ("1.", Why::BadNumber),
        ("-", Why::BadNumber),
        ("1e+", Why::BadNumber),
        ("\"\\x\"", Why::BadEscape),
        ("\"\\u12\"", Why::BadEscape),
        ("\"a\nb\"", Why::ControlCharacter),
        ("{} {}", Why::Trailing),
    ];
    for (text, expected) in cases {
        assert_eq!(why(text), expected, "{text}");
    }
    assert_eq!(read("{\"a\":!}").expect_err("wrong").at, 5);
    assert_eq!(why(&"[".repeat(MAX_DEPTH + 1)), Why::TooDeep);
    assert!(read(&format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))).is_ok());
}

#[test]
fn of_two_mistakes_in_a_string_the_first_is_reported() {
    for (text, at, expected) in [
        ("\"a\nb\\x\"", 2, Why::ControlCharacter),
        ("\"a\\x\nb\"", 2, Why::BadEscape),
        ("\"\\n\nb", 3, Why::ControlCharacter),
        ("\"\\n", 3, Why::Ends),
    ] {
        let malformed = read(text).expect_err("wrong");
        assert_eq!((malformed.at, malformed.why), (at, expected), "{text:?}");
    }
}

fn requested(text: &str) -> Result<(), Malformed> {
    let mut reader = Reader::of_request(text);
    reader.value()?;
    reader.end()
}

#[test]
fn a_request_names_nothing_twice_in_one_object() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"b":{"x":[{"y":1},{"y":1,"z":{},"y":2}]}}"#,
        r#"[{"a":{"b":1},"a":{"b":1}}]"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"\u0061":1,"a":2}"#,
        r#"{"\u0061":1,"\u0061":2}"#,
    ] {
        assert_eq!(requested(text).map_err(|malformed| malformed.why), Err(Why::Twice), "{text}");
        assert!(read(text).is_ok(), "an answer may: {text}");
    }
    assert_eq!(requested(r#"{"ab":1,"ab":2}"#).expect_err("twice").at, 9, "where the second one stands");
    let once = r#"{"a":{"a":{"a":1},"b":[{"a":1},{"a":1}]},"b":{"a":1},"A":1,"":1,"\u0000":1}"#;
    assert_eq!(requested(once), Ok(()));
}

#[test]
fn keys_are_distinguished_in_objects_of_any_size() {
    let object = |count: usize, more: &str| {
        // The objects within are as wide as the one around them.
        let keys: Vec<_> = (0..count).map(|at| format!(r#""k{at}":{{"k{at}":0}}"#)).collect();
        format!("{{{}{more}}}", keys.join(","))
    };
    for count in [15, 16, 17, 18, 1_000, MAX_KEYS] {
        assert_eq!(requested(&object(count, "")), Ok(()), "{count}");
        for again in [0, 15, 16, count - 1].into_iter().filter(|again| *again < count && count < MAX_KEYS) {
            let twice = requested(&object(count, &format!(r#","k{again}":0"#)));
            assert_eq!(twice.map_err(|malformed| malformed.why), Err(Why::Twice), "{again} of {count}");
        }
    }
    let too_many = requested(&object(MAX_KEYS, r#","more":0"#));
    assert_eq!(too_many.map_err(|malformed| malformed.why), Err(Why::TooManyKeys));
    let nested = format!(r#"{{"a":{},"b":{},"a":0}}"#, object(40, ""), object(40, r#","c":[{"k0":1}]"#));
    assert_eq!(requested(&nested).map_err(|malformed| malformed.why), Err(Why::Twice), "behind wide ones");
}

/// JSON of any kind, and what it may turn into by a slip.
fn texts() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,4}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
        "\"([ a-zé\u{1f600}]|\\\\[nrt\"/\\\\]|\\\\u[0-9a-f]{4}|\\\\ud83d){0,6}\"",
    ];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                format!("{{ {}}}", members.join(","))
            }),
        ]
    });
    (tree, any::<prop::sample::Index>(), "[\\]\\[{},:\"0e.\\\\ntf-]?").prop_map(|(text, at, slip)| {
        let at = at.index(text.len() + 1);
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        format!("{}{slip}{}", &text[..at], &text[at..])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_accepts_exactly_what_is_json(text in texts()) {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(read(&text).is_ok(), theirs, "{}", text);
    }

    #[test]
    fn it_never_panics(text in "[\\[\\]{},:\"\\\\u0-9a-f eEntrl+.é-]{0,40}") {
        let _total = read(&text);
        let _total = crate::Object::parse(&text);
    }

    #[test]
    fn a_text_says_what_serde_reads(text in "\"([ a-zé\u{1f600}]|\\\\[nrtbf\"/\\\\]|\\\\u00[2-7][0-9a-f]|\\\\ud83d\\\\ude00){0,8}\"") {
        let theirs: String = serde_json::from_str(&text).expect("JSON");
        let ours = read(&text).expect("JSON").text().expect("a text").decoded().into_owned();
        prop_assert_eq!(ours, theirs);
    }
}
