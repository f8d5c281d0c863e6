//! The value of a header with parameters, such as `form-data; name="file"; filename="a.wav"`.

/// A value and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    /// What precedes the parameters.
    pub(super) kind: &'a str,
    list: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// The value of the parameter, whose name is in lower case.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.list.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Reads `header`. `None` if parsers differ in how they read it: a parameter that appears twice, an escape, a blank around `=`, or
/// a name with `*` (RFC 2231), but for `filename*`, which several libraries write beside `filename`.
pub(super) fn parameters(header: &str) -> Option<Parameters<'_>> {
    let (kind, mut rest) = header.split_at(header.find(';').unwrap_or(header.len()));
    let mut list: Vec<(&str, &str)> = Vec::new();
    while let Some(parameter) = rest.strip_prefix(';') {
        let (key, after) = parameter.trim_start_matches(BLANKS).split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find([';', ' ', '\t']).unwrap_or(after.len())),
        };
        let is_key = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let is_known = is_key && !key.is_empty() || key.eq_ignore_ascii_case("filename*");
        let is_twice = list.iter().any(|(other, _)| other.eq_ignore_ascii_case(key));
        if !is_known || is_twice || value.contains(['\\', '"']) {
            return None;
        }
        list.push((key, value));
        rest = next.trim_start_matches(BLANKS);
    }
    rest.is_empty().then_some(Parameters { kind: kind.trim_matches(BLANKS), list })
}

const BLANKS: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_libraries_write_them() {
        for (header, list) in [
            ("form-data", vec![]),
            (" form-data; name=\"a b\"", vec![("name", "a b")]),
            ("form-data;name=a ; FileName=\"b; name=c.wav\"", vec![("name", "a"), ("FileName", "b; name=c.wav")]),
            (
                "form-data; name=file; filename=a.wav; filename*=utf-8''a.wav",
                vec![("name", "file"), ("filename", "a.wav"), ("filename*", "utf-8''a.wav")],
            ),
            ("form-data; filename=\"\u{e9}.wav\"", vec![("filename", "\u{e9}.wav")]),
        ] {
            assert_eq!(parameters(header), Some(Parameters { kind: "form-data", list }), "{header}");
        }
        assert_eq!(parameters("a; B=c").and_then(|parameters| parameters.value("b")), Some("c"));
    }

    #[test]
    fn what_parsers_read_differently_is_not_read() {
        for header in [
            "a; name=b; name=c",
            "a; name=b; NAME=c",
            "a; name=\"b\\c\"",
            "a; name=b\\c",
            "a; name=b\"c",
            "a; filename=\"\\\"; name=\"b\"",
            "a; name=\"b",
            "a; name=\"b\"c",
            "a; name = b",
            "a; name= b",
            "a; name=b c",
            "a; name*=utf-8''b",
            "a; name*0=b; name*1=c",
            "a; filename*0=b",
            "a; =b",
            "a; b",
            "a;",
            "a, b; c=d;",
        ] {
            assert_eq!(parameters(header), None, "{header}");
        }
    }
}
