use super::*;

fn ballot(text: &str) -> Ballot<'_> {
    Ballot { text, logprob: None, verdict: None }
}

fn picked(kind: &Pick, texts: &[Option<&str>]) -> Picked {
    let ballots: Vec<_> = texts.iter().map(|text| text.map(ballot)).collect();
    pick(kind, &ballots).expect("an answer")
}

fn majority(extract: Extract, texts: &[&str]) -> Picked {
    let texts: Vec<_> = texts.iter().copied().map(Some).collect();
    picked(&Pick::Majority(extract), &texts)
}

fn judge() -> Pick {
    Pick::Judge(Judge { model: "j".to_owned(), rubric: "r".to_owned() })
}

#[test]
fn without_an_answer_there_is_nothing_to_pick() {
    for kind in [Pick::First, Pick::Longest, Pick::Majority(Extract::Text), Pick::Logprob, judge()] {
        assert_eq!(pick(&kind, &[None, None]), None);
        assert_eq!(pick(&kind, &[]), None);
    }
}

#[test]
fn an_empty_answer_wins_only_alone() {
    for kind in [Pick::Longest, Pick::Majority(Extract::Text), Pick::Logprob, judge()] {
        assert_eq!(picked(&kind, &[None, Some(" \n"), Some("x")]).winner, 2);
        assert_eq!(picked(&kind, &[None, Some(" \n"), Some("")]).winner, 1);
    }
}

#[test]
fn the_longest_is_counted_in_characters_and_ties_go_to_the_earliest() {
    let got = picked(&Pick::Longest, &[None, Some("abc"), Some("日本語だ"), Some("four")]);
    assert_eq!(got.winner, 2);
    assert_eq!(got.scores, [None, Some(Score::Count(3)), Some(Score::Count(4)), Some(Score::Count(4))]);
    assert_eq!(got.why, "the longest of 3 answers: 4 characters");
}

#[test]
fn most_say_the_same_whatever_their_punctuation() {
    let got = majority(Extract::Text, &["Lyon", "Paris.", "**paris**", " \"PARIS\"!\n"]);
    assert_eq!(got.winner, 1);
    assert_eq!(got.scores, [1, 3, 3, 3].map(|votes| Some(Score::Count(votes))));
    assert_eq!(got.why, "3 of 4 answers agree");
}

#[test]
fn answers_that_differ_in_a_sign_of_arithmetic_are_not_the_same() {
    for (one, other) in [("-5", "5"), ("3.14", "314"), ("a < b", "a > b"), ("1/2", "12"), ("yes", "no")] {
        assert_eq!(majority(Extract::Text, &[other, one, one]).winner, 1, "{one} is not {other}");
    }
}

#[test]
fn between_equal_groups_the_earliest_member_wins() {
    let got = majority(Extract::Text, &["c", "b", "a", "a", "b"]);
    assert_eq!((got.winner, got.why.as_str()), (1, "2 of 5 answers agree"));
    let got = majority(Extract::Text, &["x", "y", "z"]);
    assert_eq!((got.winner, got.why.as_str()), (0, "no two answers agree: the first good answer was taken"));
}

#[test]
fn the_last_number_is_the_vote() {
    for (text, number) in [
        ("The answer is 42.", "42"),
        ("6 times 7 is **42**", "42"),
        ("$1,234,567.50", "1234567.5"),
        ("about 1,2 or so", "2"),
        ("-7", "-7"),
        ("= −7 °C", "-7"),
        ("10-7", "7"),
        ("(3)-7", "7"),
        ("0.50", "0.5"),
        ("007", "7"),
        ("-0.0", "0"),
        ("2.5e-3", "2.5e-3"),
        ("1E+05", "1e05"),
        ("5kg, see step2", "5"),
        ("\\boxed{12}", "12"),
        ("1.2.3", "3"),
    ] {
        assert_eq!(last_number(text).as_deref(), Some(number), "{text}");
    }
    for text in ["", "none", "v2", "a_1", "٣"] {
        assert_eq!(last_number(text), None, "{text}");
    }
    let got = majority(Extract::Number, &["41", "So it is 42.0", "42", "no idea"]);
    assert_eq!((got.winner, got.why.as_str()), (1, "2 of 4 answers agree on 42"));
    assert_eq!(got.scores[3], None, "it abstains");
    let got = majority(Extract::Number, &["", "none", "nothing"]);
    assert_eq!((got.winner, got.why.as_str()), (1, "no answer holds a number: the first good answer was taken"));
}

#[test]
fn the_last_single_letter_is_the_vote() {
    for (text, letter) in [
        ("B", "B"),
        ("(b).", "B"),
        ("The answer is C", "C"),
        ("A is wrong, so **D**.", "D"),
        ("It is B, I think", "B"),
        ("B. I'm sure", "B"),
        ("I", "I"),
        ("Answer: I.", "I"),
        ("C) because of vitamin K", "C"),
    ] {
        assert_eq!(last_choice(text).as_deref(), Some(letter), "{text}");
    }
    for text in ["", "none of a kind", "ABC", "K", "é", "I think not"] {
        assert_eq!(last_choice(text), None, "{text}");
    }
    let got = majority(Extract::Choice, &["A", "the answer: B", "b"]);
    assert_eq!((got.winner, got.why.as_str()), (1, "2 of 3 answers agree on B"));
}

#[test]
fn the_likeliest_wins_and_members_without_figures_do_not() {
    let with = |logprob| Some(Ballot { text: "x", logprob, verdict: None });
    let got = pick(&Pick::Logprob, &[with(None), with(Some(-0.5)), with(Some(-0.25))]).unwrap();
    assert_eq!(got.winner, 2);
    assert_eq!(got.scores, [None, Some(Score::Mean(-0.5)), Some(Score::Mean(-0.25))]);
    assert_eq!(got.why, "the highest mean log-probability of a token: -0.2500");
    let got = pick(&Pick::Logprob, &[None, with(None), with(None)]).unwrap();
    assert_eq!(
        (got.winner, got.why.as_str()),
        (1, "no upstream gave log-probabilities: the first good answer was taken")
    );
}

#[test]
fn the_best_score_wins_and_an_answer_without_one_does_not() {
    let verdicts = [4, 8, 8].map(|score| Verdict { score, reason: "neat".to_owned() });
    let with = |verdict| Some(Ballot { text: "x", logprob: None, verdict });
    let got =
        pick(&judge(), &[with(None), with(Some(&verdicts[0])), with(Some(&verdicts[1])), with(Some(&verdicts[2]))]);
    let got = got.unwrap();
    assert_eq!((got.winner, got.why.as_str()), (2, "j gave it 8 of 10: neat"));
    let got = pick(&judge(), &[None, with(None), with(None)]).unwrap();
    assert_eq!(
        (got.winner, got.why.as_str()),
        (1, "the judge gave no verdict that can be read: the first good answer was taken")
    );
}

#[test]
fn what_is_repeated_has_an_end() {
    let verdict = Verdict { score: 1, reason: "ü".repeat(5_000) };
    let got = pick(&judge(), &[Some(Ballot { text: "x", logprob: None, verdict: Some(&verdict) })]).unwrap();
    assert_eq!(got.why.chars().filter(|c| *c == 'ü').count(), SHOWN_CHARS);
    let long = majority(Extract::Number, &[&"1".repeat(5_000), &"1".repeat(5_000)]);
    assert!(long.why.len() < 2 * SHOWN_CHARS, "{}", long.why);
}
