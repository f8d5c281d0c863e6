//! When a budget begins anew.

use jiff::{Timestamp, ToSpan as _, civil::Weekday, tz::TimeZone};

/// How long a budget lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// A day, from midnight.
    Day,
    /// A week, from Monday.
    Week,
    /// A month, from its first day.
    Month,
}

impl Period {
    /// The name in the configuration, in metrics and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The window of this period around a moment, in the days of a time zone. Where a day begins without midnight, because
    /// clocks are put forward then, it begins with its first moment.
    pub(crate) fn window(self, zone: &TimeZone, now_ms: i64) -> Window {
        let moment = Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let day = zone.to_datetime(moment).date();
        let first = match self {
            Self::Day => day,
            Self::Week => day.saturating_sub(i64::from(day.weekday().since(Weekday::Monday)).days()),
            Self::Month => day.first_of_month(),
        };
        let next = match self {
            Self::Day => first.saturating_add(1.day()),
            Self::Week => first.saturating_add(1.week()),
            Self::Month => first.saturating_add(1.month()),
        };
        let begins = |day: jiff::civil::Date| {
            let midnight = zone.to_ambiguous_zoned_datetime(day.at(0, 0, 0, 0)).compatible();
            midnight.map_or(i64::MAX, |midnight| midnight.timestamp().as_millisecond())
        };
        Window { from_ms: begins(first), until_ms: begins(next) }
    }
}

/// From a moment to another, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from_ms: i64,
    /// The first moment after it.
    pub(crate) until_ms: i64,
}
