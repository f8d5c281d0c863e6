use bytes::Bytes;

use super::*;
use crate::growth;

fn rewrite(text: &str, change: impl FnOnce(&mut Rewrite<'_>)) -> String {
    let object = Object::parse(text).expect("an object");
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    change(&mut rewrite);
    String::from_utf8(rewrite.finish().to_vec()).expect("text")
}

const TEXT: &str = " { \"a\" : [1, {\"a\":2}] ,\n\"b\":\"x,}\" , \"c\" :null } ";

#[test]
fn values_are_found_whatever_the_spacing() {
    let object = Object::parse(TEXT).expect("an object");
    assert_eq!(object.keys(TEXT.as_bytes()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(object.get(TEXT.as_bytes(), "a"), Some("[1, {\"a\":2}]"));
    assert_eq!(object.get(TEXT.as_bytes(), "b"), Some("\"x,}\""));
    assert_eq!(object.get(TEXT.as_bytes(), "c"), Some("null"));
    assert_eq!(object.get(TEXT.as_bytes(), "d"), None);
}

#[test]
fn members_are_set_renamed_removed_and_added() {
    let out = rewrite(TEXT, |rewrite| {
        rewrite.set("b", "1").rename("a", "z").remove("c").set("new", "true");
    });
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value, serde_json::json!({"z": [1, {"a": 2}], "b": 1, "new": true}));
}

#[test]
fn the_last_and_the_only_member_can_go() {
    assert_eq!(
        rewrite("{\"a\":1}", |rewrite| {
            rewrite.remove("a");
        }),
        "{}"
    );
    assert_eq!(
        rewrite("{}", |rewrite| {
            rewrite.set("a", "1");
        }),
        "{\"a\":1}"
    );
    assert_eq!(
        rewrite("{\"a\":1,\"b\":2}", |rewrite| {
            rewrite.remove("a").set("a2", "3");
        }),
        "{\"b\":2,\"a2\":3}"
    );
}

#[test]
fn of_two_changes_the_later_one_holds() {
    let out = rewrite(TEXT, |rewrite| {
        rewrite.set("b", "1").set("b", "2").set("new", "1").set("new", "2");
        rewrite.rename("a", "y").rename("a", "z").remove("c").set("c", "3");
        rewrite.set("gone", "1").remove("gone");
    });
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value, serde_json::json!({"z": [1, {"a": 2}], "b": 2, "c": 3, "new": 2}));
}

#[test]
fn a_change_within_a_replaced_value_is_void() {
    let inside = TEXT.find("2}").expect("there");
    for outer_first in [true, false] {
        let out = rewrite(TEXT, |rewrite| {
            if outer_first {
                rewrite.set("a", "[]").replace(inside..inside + 1, "9");
            } else {
                rewrite.replace(inside..inside + 1, "9").set("a", "[]");
            }
        });
        assert_eq!(out, "{\"a\" : [],\"b\":\"x,}\",\"c\" :null}");
    }
}

#[test]
fn a_change_leaves_those_elsewhere_as_they_are() {
    let text = r#"{"a":[1,2],"b":[3,4],"c":[5,6]}"#;
    let at = |digit: char| text.find(digit).map(|at| at..at + 1).expect("there");
    let inside = |rewrite: &mut Rewrite<'_>| {
        rewrite.replace(at('1'), "10").replace(at('3'), "30").replace(at('5'), "50");
    };
    for (key, set, gone) in [
        ("a", r#"{"a":0,"b":[30,4],"c":[50,6]}"#, r#"{"b":[30,4],"c":[50,6]}"#),
        ("b", r#"{"a":[10,2],"b":0,"c":[50,6]}"#, r#"{"a":[10,2],"c":[50,6]}"#),
        ("c", r#"{"a":[10,2],"b":[30,4],"c":0}"#, r#"{"a":[10,2],"b":[30,4]}"#),
    ] {
        assert_eq!(
            rewrite(text, |rewrite| {
                inside(rewrite);
                rewrite.set(key, "0");
            }),
            set
        );
        assert_eq!(rewrite(text, |rewrite| inside(rewrite.set(key, "0"))), set);
        assert_eq!(
            rewrite(text, |rewrite| {
                inside(rewrite);
                rewrite.remove(key);
            }),
            gone
        );
    }
    let side_by_side =
        rewrite(text, |rewrite| _ = rewrite.replace(at('1'), "[").replace(at('1').end..at('2').end, "]"));
    assert_eq!(side_by_side, r#"{"a":[[]],"b":[3,4],"c":[5,6]}"#);
}

#[test]
fn added_members_are_distinguished_and_stand_at_the_end_in_order() {
    let out = rewrite("{\"a\":1}", |rewrite| {
        rewrite.set("x", "1").set("y", "2").set("z", "3").set("y", "4").set("x", "5").remove("z");
    });
    assert_eq!(out, "{\"a\":1,\"x\":5,\"y\":4}");
}

#[test]
fn a_key_that_appears_twice_is_changed_as_one() {
    let twice = "{\"a\":1,\"b\":2,\"a\":3}";
    let set = |rewrite: &mut Rewrite<'_>| _ = rewrite.set("a", "4");
    assert_eq!(rewrite(twice, |rewrite| _ = rewrite.remove("a")), "{\"b\":2}");
    assert_eq!(rewrite(twice, set), "{\"a\":4,\"b\":2}");
    assert_eq!(rewrite(twice, |rewrite| _ = rewrite.rename("a", "c")), "{\"c\":1,\"b\":2,\"c\":3}");
}

#[test]
fn an_escaped_key_means_the_same() {
    let text = r#"{"\u0061":1,"b":2}"#;
    let object = Object::parse(text).expect("an object");
    assert_eq!(object.keys(text.as_bytes()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(object.get(text.as_bytes(), "a"), Some("1"));
    assert_eq!(rewrite(text, |rewrite| _ = rewrite.remove("a")), "{\"b\":2}");
    assert_eq!(rewrite(text, |rewrite| _ = rewrite.set("a", "3")), "{\"\\u0061\":3,\"b\":2}");
}

#[test]
fn members_that_are_not_wanted_are_removed_in_one_go() {
    let out = rewrite(TEXT, |rewrite| _ = rewrite.retain(|name, value| name != "a" && value != b"null").set("d", "1"));
    assert_eq!(out, "{\"b\":\"x,}\",\"d\":1}");
    assert_eq!(rewrite(TEXT, |rewrite| _ = rewrite.retain(|_, _| false).set("b", "1")), "{\"b\":1}");
}

#[test]
fn a_rewrite_is_linear_in_an_answer_too() {
    let cases: [growth::Case; 2] = [
        ("usage", |count| format!("{{\"usage\":0{}}}", ",\"usage\":0".repeat(count))),
        ("choices", |count| format!("{{\"choices\":0{}}}", ",\"choices\":0".repeat(count))),
    ];
    growth::are_linear(&cases, steps::taken, |text| {
        let object = Object::of_answer(text).expect("an object");
        let mut rewrite = Rewrite::new(text.as_bytes(), &object);
        rewrite.remove("usage").set("choices", "[]").remove("usage");
        assert!(rewrite.finish().len() < text.len() + 16);
    });
}

#[test]
fn a_shared_text_that_nothing_changes_is_not_copied() {
    let text = Bytes::from_static(TEXT.as_bytes());
    let object = Object::parse(TEXT).expect("an object");
    let mut rewrite = Rewrite::sharing(&text, &object);
    rewrite.set("c", "1").set("c", "null").remove("d").rename("e", "f");
    let out = rewrite.finish();
    assert_eq!(out, TEXT.trim());
    assert_eq!(out.as_ptr(), text[1..].as_ptr(), "the same memory");

    let changed = |change: fn(&mut Rewrite<'_>)| {
        let mut rewrite = Rewrite::sharing(&text, &object);
        change(&mut rewrite);
        rewrite.finish()
    };
    assert_eq!(changed(|rewrite| _ = rewrite.set("c", "1")), "{\"a\" : [1, {\"a\":2}],\"b\":\"x,}\",\"c\" :1}");
    assert_eq!(changed(|rewrite| _ = rewrite.remove("a")), "{\"b\":\"x,}\",\"c\" :null}");
    assert!(changed(|rewrite| _ = rewrite.set("d", "1")).ends_with(b",\"c\" :null,\"d\":1}"));
}

#[test]
fn a_rewrite_takes_no_more_memory_than_the_new_text() {
    let text = "{\"a\":1,\"b\":1}";
    let object = Object::parse(text).expect("an object");
    let long = format!("\"{}\"", "x".repeat(64 << 10));
    for changes in [[("a", "2"), ("new", &*long)], [("a", &long), ("new", "2")], [("a", &long), ("b", &long)]] {
        let mut rewrite = Rewrite::new(text.as_bytes(), &object);
        for (key, value) in changes {
            rewrite.set(key, value);
        }
        let mut new = Bytes::new();
        let taken = allocation_counter::measure(|| new = rewrite.finish());
        assert!(taken.bytes_total < new.len() as u64 + 100, "{taken:?} for {} bytes", new.len());
    }
}
