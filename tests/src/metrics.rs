//! Metrics in Prometheus' text format, as numbers.

use std::collections::BTreeMap;

/// The samples of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Samples {
    /// Reads the text format; label values with commas or braces in them are not expected.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Self(lines.map(|line| Sample::parse(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect())
    }

    /// The sum of all series of that name with these labels; 0 if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
        };
        self.0.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.0.len()
    }

    /// Whether there is a series of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|sample| sample.name == name)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let pair = |pair: &str| {
            let (label, value) = pair.split_once('=')?;
            Some((label.to_owned(), value.trim_matches('"').to_owned()))
        };
        let labels = labels.strip_suffix('}')?.split(',').filter(|part| !part.is_empty()).map(pair);
        Some(Self { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
    }
}
