//! Which answer wins. Pure: its only input is the members' answers and the judge's verdicts.

use std::fmt::Write as _;

use router::{Extract, Judge, Pick};
use serde::Serialize;

use super::judge::Verdict;

/// Punctuation that is ignored when two answers are compared. Signs of arithmetic are not ignored.
const PUNCTUATION: &str = ".,;:!?\"'()[]{}*_`~…“”„‘’«»–—";
/// As much of a vote or of a judge's reason as is repeated.
const SHOWN_CHARS: usize = 200;

/// An answer as the pick sees it.
pub(super) struct Ballot<'a> {
    pub(super) text: &'a str,
    /// Mean log-probability of its tokens.
    pub(super) logprob: Option<f64>,
    pub(super) verdict: Option<&'a Verdict>,
}

/// The result.
#[derive(Debug, PartialEq)]
pub(super) struct Picked {
    /// The member's index.
    pub(super) winner: usize,
    /// By member; more is better.
    pub(super) scores: Vec<Option<Score>>,
    pub(super) why: String,
}

/// The score of an answer; within one pick all are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub(super) enum Score {
    Count(usize),
    Mean(f64),
}

impl Picked {
    /// Of `count` members, `winner` was first.
    pub(super) fn first(winner: usize, count: usize) -> Self {
        Self { winner, scores: vec![None; count], why: "the first good answer".to_owned() }
    }
}

/// Picks one of the answers, in order of the members; `None` stands for a member that has none. Ties go to the earliest.
pub(super) fn pick(pick: &Pick, ballots: &[Option<Ballot<'_>>]) -> Option<Picked> {
    let votes = match pick {
        Pick::Majority(extract) => votes(*extract, ballots),
        Pick::First | Pick::Longest | Pick::Logprob | Pick::Judge(_) => Vec::new(),
    };
    let score = |(at, ballot): (usize, &Option<Ballot<'_>>)| {
        let ballot = ballot.as_ref().filter(|ballot| !ballot.text.trim().is_empty())?;
        match pick {
            Pick::First => None,
            Pick::Longest => Some(Score::Count(ballot.text.chars().count())),
            Pick::Majority(_) => agreeing(&votes, at).map(Score::Count),
            Pick::Logprob => ballot.logprob.map(Score::Mean),
            Pick::Judge(_) => ballot.verdict.map(|verdict| Score::Count(verdict.score.into())),
        }
    };
    let scores: Vec<_> = ballots.iter().enumerate().map(score).collect();
    let Some(winner) = best(&scores) else {
        let winner = first_good(ballots)?;
        let why = format!("{}: the first good answer was taken", without_scores(pick));
        return Some(Picked { winner, scores, why });
    };
    let why = reason(pick, winner, &scores, &votes, ballots);
    Some(Picked { winner, scores, why })
}

/// The earliest of the best.
fn best(scores: &[Option<Score>]) -> Option<usize> {
    let mut best: Option<(usize, Score)> = None;
    for (at, score) in scores.iter().enumerate() {
        let Some(score) = *score else { continue };
        if best.is_none_or(|(_, known)| score > known) {
            best = Some((at, score));
        }
    }
    best.map(|(at, _)| at)
}

/// The earliest with any text, or else the earliest.
fn first_good(ballots: &[Option<Ballot<'_>>]) -> Option<usize> {
    let has_text = |ballot: &Option<Ballot<'_>>| ballot.as_ref().is_some_and(|it| !it.text.trim().is_empty());
    ballots.iter().position(has_text).or_else(|| ballots.iter().position(Option::is_some))
}

fn without_scores(pick: &Pick) -> &'static str {
    match pick {
        Pick::First => "nothing was compared",
        Pick::Longest | Pick::Majority(Extract::Text) => "every answer is empty",
        Pick::Majority(Extract::Number) => "no answer holds a number",
        Pick::Majority(Extract::Choice) => "no answer holds a single letter from A to J",
        Pick::Logprob => "no upstream gave log-probabilities",
        Pick::Judge(_) => "the judge gave no verdict that can be read",
    }
}

fn reason(
    pick: &Pick,
    winner: usize,
    scores: &[Option<Score>],
    votes: &[Option<String>],
    ballots: &[Option<Ballot<'_>>],
) -> String {
    let ballot = ballots.get(winner).and_then(Option::as_ref);
    let answers = ballots.iter().flatten().count();
    match (pick, scores.get(winner).copied().flatten()) {
        (Pick::Longest, Some(Score::Count(characters))) => {
            format!("the longest of {answers} answers: {characters} characters")
        }
        (Pick::Majority(_), Some(Score::Count(1))) => {
            "no two answers agree: the first good answer was taken".to_owned()
        }
        (Pick::Majority(extract), Some(Score::Count(agreeing))) => {
            let mut why = format!("{agreeing} of {answers} answers agree");
            if let (Extract::Number | Extract::Choice, Some(Some(vote))) = (extract, votes.get(winner)) {
                // Writing to a text always succeeds.
                let _ = write!(why, " on {}", shown(vote));
            }
            why
        }
        (Pick::Logprob, Some(Score::Mean(mean))) => {
            format!("the highest mean log-probability of a token: {mean:.4}")
        }
        (Pick::Judge(Judge { model, .. }), Some(Score::Count(score))) => {
            let reason = ballot.and_then(|ballot| ballot.verdict).map_or("", |verdict| verdict.reason.as_str());
            let reason = if reason.is_empty() { String::new() } else { format!(": {}", shown(reason)) };
            format!("{model} gave it {score} of 10{reason}")
        }
        _ => String::new(),
    }
}

fn shown(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// What each answer votes for; `None` abstains.
fn votes(extract: Extract, ballots: &[Option<Ballot<'_>>]) -> Vec<Option<String>> {
    let vote = |ballot: &Option<Ballot<'_>>| {
        let text = ballot.as_ref()?.text;
        match extract {
            Extract::Text => normalised(text),
            Extract::Number => last_number(text),
            Extract::Choice => last_choice(text),
        }
    };
    ballots.iter().map(vote).collect()
}

/// How many vote as this one does, itself included.
fn agreeing(votes: &[Option<String>], at: usize) -> Option<usize> {
    let own = votes.get(at)?.as_ref()?;
    Some(votes.iter().flatten().filter(|vote| *vote == own).count())
}

/// `text` without case, white space and punctuation; `None` if nothing is left.
fn normalised(text: &str) -> Option<String> {
    let is_punctuation = |c: char| PUNCTUATION.contains(c);
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| word.trim_matches(is_punctuation).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    let all = if words.is_empty() { text.trim().to_owned() } else { words.join(" ") };
    (!all.is_empty()).then_some(all)
}

/// The last number in `text` in one normal form: no sign if it is positive, no separators, no superfluous zeros.
fn last_number(text: &str) -> Option<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut last = None;
    let mut at = 0;
    while at < letters.len() {
        if !letters[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let (number, end) = number(&letters, at);
        // Digits that end a word, as in "step2", are its name.
        if !before(&letters, at).is_some_and(|c| c.is_alphanumeric() || c == '_') {
            last = Some(number);
        }
        at = end;
    }
    last
}

fn before(letters: &[char], at: usize) -> Option<char> {
    at.checked_sub(1).and_then(|before| letters.get(before)).copied()
}

/// The number whose first digit is at `start`, and where it ends.
fn number(letters: &[char], start: usize) -> (String, usize) {
    let digit = |at: usize| letters.get(at).is_some_and(char::is_ascii_digit);
    let is = |at: usize, any: &[char]| letters.get(at).is_some_and(|c| any.contains(c));
    let mut at = start;
    let (mut whole, mut fraction) = (String::new(), String::new());
    loop {
        if digit(at) {
            whole.push(letters[at]);
            at += 1;
        } else if is(at, &[',']) && (1..=3).all(|next| digit(at + next)) && !digit(at + 4) {
            at += 1;
        } else {
            break;
        }
    }
    if is(at, &['.']) && digit(at + 1) {
        at += 1;
        while digit(at) {
            fraction.push(letters[at]);
            at += 1;
        }
    }
    let mut exponent = String::new();
    let signed = usize::from(is(at + 1, &['-', '+']));
    if is(at, &['e', 'E']) && digit(at + 1 + signed) {
        exponent.extend(&letters[at + 1..=at + signed]);
        at += 1 + signed;
        while digit(at) {
            exponent.push(letters[at]);
            at += 1;
        }
    }
    // A dash after a word or a number joins; anywhere else it is a sign.
    let is_negative = start > 0
        && is(start - 1, &['-', '−'])
        && !before(letters, start - 1).is_some_and(|c| c.is_alphanumeric() || c == ')');
    (written(is_negative, &whole, &fraction, &exponent), at)
}

fn written(is_negative: bool, whole: &str, fraction: &str, exponent: &str) -> String {
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let mut number = if is_negative && !(whole == "0" && fraction.is_empty()) { "-" } else { "" }.to_owned();
    number.push_str(whole);
    if !fraction.is_empty() {
        number.push('.');
        number.push_str(fraction);
    }
    if !exponent.is_empty() {
        number.push('e');
        number.push_str(exponent.trim_start_matches('+'));
    }
    number
}

/// The last single letter from A to J in `text`. In a sentence it must be a capital, and "I" is a letter only where it is
/// no pronoun.
fn last_choice(text: &str) -> Option<String> {
    let alone = text.trim_matches(|c: char| c.is_whitespace() || PUNCTUATION.contains(c));
    if let [letter @ (b'a'..=b'j' | b'A'..=b'J')] = alone.as_bytes() {
        return Some(char::from(letter.to_ascii_uppercase()).to_string());
    }
    let letters: Vec<char> = text.chars().collect();
    let is_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let is_choice = |at: &usize| {
        let (letter, next) = (letters[*at], letters.get(at + 1));
        let stands_alone = !is_word(at.checked_sub(1).and_then(|at| letters.get(at))) && !is_word(next);
        let is_pronoun = letter == 'I'
            && match next {
                Some('\'' | '’') => true,
                Some(' ') => letters.get(at + 2).is_some_and(|c| c.is_lowercase()),
                _ => false,
            };
        ('A'..='J').contains(&letter) && stands_alone && !is_pronoun
    };
    (0..letters.len()).rev().find(is_choice).map(|at| letters[at].to_string())
}

#[cfg(test)]
mod tests;
