//! Texts that match a regular expression, for the simple ones that schemas hold: literals, classes, groups, alternatives
//! (the first is taken), repetitions and anchors. Looking around, back references and classes by property are not
//! understood, and then there is no text.

use std::{iter::Peekable, str::Chars};

/// Most repetitions of one part.
const MOST_REPEATED: usize = 4096;
/// Longest patterns, and nested groups, that are read.
const LONGEST_PATTERN: usize = 1000;
const DEEPEST: usize = 32;

/// A matching text between two lengths, or the shortest one if none of those tried is; `None` if the pattern is not
/// understood.
pub(super) fn matching(pattern: &str, least: usize, most: usize) -> Option<String> {
    let shortest = text(pattern, 0)?;
    let is_long = |text: &String| text.chars().count() >= least;
    let longer = (0..=least.min(MOST_REPEATED)).filter_map(|more| text(pattern, more)).find(is_long);
    Some(longer.filter(|text| text.chars().count() <= most).unwrap_or(shortest))
}

/// A matching text in which what may be repeated is repeated `more` times more than needed.
fn text(pattern: &str, more: usize) -> Option<String> {
    if pattern.len() > LONGEST_PATTERN {
        return None;
    }
    let mut reader = Reader { left: pattern.chars().peekable(), more };
    let text = reader.alternatives(0)?;
    reader.left.next().is_none().then_some(text)
}

struct Reader<'a> {
    left: Peekable<Chars<'a>>,
    more: usize,
}

type Ranges = Vec<(char, char)>;

impl Reader<'_> {
    fn alternatives(&mut self, depth: usize) -> Option<String> {
        if depth > DEEPEST {
            return None;
        }
        let first = self.sequence(depth)?;
        while self.left.next_if_eq(&'|').is_some() {
            self.sequence(depth)?;
        }
        Some(first)
    }

    fn sequence(&mut self, depth: usize) -> Option<String> {
        let mut text = String::new();
        while let Some(letter) = self.left.next_if(|letter| !matches!(letter, '|' | ')')) {
            let part = match letter {
                '^' | '$' => continue,
                '(' => self.group(depth)?,
                '[' => self.class()?.to_string(),
                '.' => "a".to_owned(),
                '\\' => match self.left.next()? {
                    'b' => continue,
                    escaped => choose(&ranges_of(escaped)?, false)?.to_string(),
                },
                '*' | '+' | '?' | '{' => return None,
                literal => literal.to_string(),
            };
            let times = self.repetitions()?;
            text.push_str(&part.repeat(times));
        }
        Some(text)
    }

    fn group(&mut self, depth: usize) -> Option<String> {
        if self.left.next_if_eq(&'?').is_some() {
            match self.left.next()? {
                ':' => {}
                'P' if self.left.next() == Some('<') => self.left.find(|letter| *letter == '>').map(drop)?,
                '<' if self.left.peek().is_some_and(|letter| letter.is_alphabetic()) => {
                    self.left.find(|letter| *letter == '>').map(drop)?;
                }
                _ => return None,
            }
        }
        let text = self.alternatives(depth + 1)?;
        self.left.next_if_eq(&')').map(|_| text)
    }

    fn class(&mut self) -> Option<char> {
        let is_negated = self.left.next_if_eq(&'^').is_some();
        let mut ranges = Ranges::new();
        loop {
            let first = match self.left.next()? {
                ']' if !ranges.is_empty() => return choose(&ranges, is_negated),
                '\\' => {
                    let mut escaped = ranges_of(self.left.next()?)?;
                    if escaped.len() > 1 || escaped[0].0 != escaped[0].1 {
                        ranges.append(&mut escaped);
                        continue;
                    }
                    escaped[0].0
                }
                letter => letter,
            };
            let mut ahead = self.left.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|letter| letter != ']');
            if !is_range {
                ranges.push((first, first));
                continue;
            }
            self.left.next();
            let last = match self.left.next()? {
                '\\' => self.left.next()?,
                letter => letter,
            };
            ranges.push((first, last));
        }
    }

    /// How often the part before is to stand there.
    fn repetitions(&mut self) -> Option<usize> {
        let (least, most) = match self.left.peek() {
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('?') => (0, 1),
            Some('{') => return self.counted(),
            _ => return Some(1),
        };
        self.left.next();
        Some(self.times(least, most))
    }

    fn counted(&mut self) -> Option<usize> {
        self.left.next();
        let inside: String = self.left.by_ref().take_while(|letter| *letter != '}').collect();
        let (least, most) = match inside.split_once(',') {
            None => (inside.parse().ok()?, inside.parse().ok()?),
            Some((least, "")) => (least.parse().ok()?, usize::MAX),
            Some((least, most)) => (least.parse().ok()?, most.parse().ok()?),
        };
        Some(self.times(least, most))
    }

    fn times(&mut self, least: usize, most: usize) -> usize {
        // Lazy or possessive: the same texts match.
        let _ = self.left.next_if(|letter| matches!(letter, '?' | '+'));
        least.saturating_add(self.more).min(most).clamp(least.min(MOST_REPEATED), MOST_REPEATED)
    }
}

/// The characters that an escape stands for.
fn ranges_of(escaped: char) -> Option<Ranges> {
    Some(match escaped {
        'd' => vec![('0', '9')],
        'w' => vec![('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')],
        's' => vec![(' ', ' '), ('\t', '\r')],
        'D' => vec![(' ', '/'), (':', '~')],
        'S' => vec![('!', '~')],
        'W' => vec![(' ', '/'), (':', '@')],
        'n' => vec![('\n', '\n')],
        't' => vec![('\t', '\t')],
        'r' => vec![('\r', '\r')],
        letter if !letter.is_alphanumeric() => vec![(letter, letter)],
        _ => return None,
    })
}

/// One of the characters in the ranges, or outside of them; rather a letter or a digit.
fn choose(ranges: &Ranges, is_negated: bool) -> Option<char> {
    let is_in = |letter: &char| ranges.iter().any(|(first, last)| (first..=last).contains(&letter));
    let usual = "a1AbcXYZ0 _-.,".chars().find(|letter| is_in(letter) != is_negated);
    usual.or_else(|| ranges.first().map(|(first, _)| *first).filter(|_| !is_negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_match_their_patterns() {
        for (pattern, expected) in [
            ("^[A-Z]{3}-\\d{4}$", "AAA-1111"),
            ("^(?:red|green)s?$", "red"),
            ("a+b*c?", "a"),
            ("[^a-z0-9]+", "A"),
            ("^\\+?[1-9]\\d{1,14}$", "11"),
            ("(?P<year>\\d{4})/(?<month>\\d{2})", "1111/11"),
            ("^[\\w.-]+@x\\.org$", "a@x.org"),
            ("[-x]{2}", "--"),
            ("", ""),
        ] {
            assert_eq!(matching(pattern, 0, 100).as_deref(), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn lengths_are_kept_where_the_pattern_allows() {
        assert_eq!(matching("^[a-z]*$", 3, 5).as_deref(), Some("aaa"));
        assert_eq!(matching("^[a-z]{2,4}$", 9, 9).as_deref(), Some("aa"));
    }

    #[test]
    fn what_is_not_understood_gives_no_text() {
        for pattern in ["(?=a)b", "(?<!a)b", "\\1", "\\p{L}", "(a", "a)", "[a", "+a", "a{x}"] {
            assert_eq!(matching(pattern, 0, 9), None, "{pattern}");
        }
        assert_eq!(matching(&"(".repeat(900), 0, 9), None);
    }
}
