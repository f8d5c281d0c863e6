//! Fits that are robust against outliers: medians, and a line through the medians of groups.

use crate::providers::Lognormal;

/// Groups that a line is laid through.
const GROUPS: usize = 40;
/// Fewest values in a group.
const LEAST_IN_GROUP: usize = 8;
/// The standard normal distribution's quantile at 84.1 %: one standard deviation.
const ONE_SIGMA: f64 = 0.841_345;

/// A value below which a part of `values` lies; `None` of no values.
pub(super) fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 values")]
    let place = part * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    Some(sorted[low] + (sorted[high] - sorted[low]) * place.fract())
}

/// The median of `values`; `None` of no values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The lognormal distribution that values above zero seem to come from.
pub(super) fn lognormal(values: &[f64]) -> Option<Lognormal> {
    let logs: Vec<f64> = values.iter().filter(|value| **value > 0.0).map(|value| value.ln()).collect();
    let (low, high) = (quantile(&logs, 1.0 - ONE_SIGMA)?, quantile(&logs, ONE_SIGMA)?);
    Some(Lognormal { median: median(&logs)?.exp(), sigma: (high - low) / 2.0 })
}

/// A line: what y is at x = 0, and how much it rises with x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) at_zero: f64,
    pub(super) slope: f64,
}

/// The line through the medians of points that are grouped by their x; `None` of too few points, or if all have one x.
pub(super) fn line(points: &[(f64, f64)]) -> Option<Line> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = sorted.len().div_ceil(GROUPS).max(LEAST_IN_GROUP);
    let middle = |group: &[(f64, f64)]| {
        let (xs, ys): (Vec<f64>, Vec<f64>) = group.iter().copied().unzip();
        Some((median(&xs)?, median(&ys)?))
    };
    let middles: Vec<(f64, f64)> = sorted.chunks_exact(size).filter_map(middle).collect();
    if middles.len() < 3 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "few groups")]
    let n = middles.len() as f64;
    let mean_x = middles.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = middles.iter().map(|(_, y)| y).sum::<f64>() / n;
    let spread: f64 = middles.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if spread <= 0.0 {
        return None;
    }
    let slope = middles.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    Some(Line { at_zero: mean_y - slope * mean_x, slope })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::{Chance, Purpose};

    #[test]
    fn a_line_is_found_beside_wild_values() {
        let chance = Chance::new(1, 0);
        let noise = |k: u64| chance.lognormal((0.3, 0.2), Purpose::Choice, k, 0);
        let points: Vec<(f64, f64)> = (0..4000_u32)
            .map(|k| (f64::from(k), if k % 20 == 0 { 60.0 } else { noise(k.into()) + f64::from(k) / 10_000.0 }))
            .collect();
        let found = line(&points).expect("a line");
        assert!((found.at_zero / 0.3 - 1.0).abs() < 0.08, "{found:?}");
        assert!((found.slope * 10_000.0 - 1.0).abs() < 0.08, "{found:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_not() {
        assert_eq!(line(&[(1.0, 2.0); 100]), None, "one x");
        assert_eq!(line(&[(1.0, 2.0), (2.0, 3.0)]), None, "too few");
        assert_eq!(median(&[]), None);
        assert_eq!(lognormal(&[]), None);
    }

    #[test]
    fn a_lognormal_distribution_is_found() {
        let chance = Chance::new(2, 0);
        let values: Vec<f64> = (0..20_000).map(|k| chance.lognormal((14.0, 0.6), Purpose::Choice, k, 0)).collect();
        let found = lognormal(&values).expect("a distribution");
        assert!((found.median / 14.0 - 1.0).abs() < 0.03 && (found.sigma / 0.6 - 1.0).abs() < 0.03, "{found:?}");
    }
}
