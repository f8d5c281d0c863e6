//! Words of a text, to decide whether a prompt mentions something.

/// The words of a text in lower case: runs of letters and digits, split where a capital follows a small letter, so that
/// `getWeather`, `get_weather` and "Get weather" have the same words.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut was_small) = (String::new(), false);
    for letter in text.chars() {
        if (!letter.is_alphanumeric() || (was_small && letter.is_uppercase())) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        was_small = letter.is_lowercase() || letter.is_numeric();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether the words of `part` stand in `text` one after the other.
pub(crate) fn mentions(text: &[String], part: &[String]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_their_words() {
        for name in ["getWeather2", "get_weather2", "Get weather2!"] {
            assert_eq!(words(name), ["get", "weather2"], "{name}");
        }
        assert!(words("…").is_empty());
    }

    #[test]
    fn only_whole_words_in_a_row_are_a_mention() {
        let text = words("Call get_weather for Rome");
        assert!(mentions(&text, &words("getWeather")) && mentions(&text, &words("rome")));
        assert!(!mentions(&text, &words("weather get")) && !mentions(&text, &words("Rom")) && !mentions(&text, &[]));
    }
}
