//! The columns of `gpu_hours`, and how a later row of the same hour and process replaces an earlier one.

use super::columns::{
    Column,
    Kind::{self, Number, Text},
};
use crate::gpu::GpuHour;

pub(super) const GPU_HOURS: [(&str, Kind); 10] = [
    ("hour", Number),
    ("upstream", Text),
    ("writer", Number),
    ("observed_ms", Number),
    ("start_ms", Number),
    ("busy_ms", Number),
    ("idle_ms", Number),
    ("starts", Number),
    ("cost_nano_usd", Number),
    ("pico_usd_per_second", Number),
];
/// How many of them are the key.
const KEY: usize = 3;

/// The columns, in order.
pub(super) fn gpu_hour<'a>(row: &GpuHour<'a>) -> [Column<'a>; 10] {
    [
        row.hour.into(),
        row.upstream.into(),
        row.writer.into(),
        row.observed_ms.into(),
        row.start_ms.into(),
        row.busy_ms.into(),
        row.idle_ms.into(),
        row.starts.into(),
        row.cost_nano_usd.into(),
        row.pico_usd_per_second.into(),
    ]
}

/// What ends an insertion: figures only grow, so the row with the higher ones is the later one, in whatever order they come.
pub(super) fn keep_the_latest() -> String {
    let (key, figures) = GPU_HOURS.split_at(KEY);
    let key = super::columns::names(key);
    let set: Vec<_> = figures.iter().map(|(name, _)| format!("{name} = excluded.{name}")).collect();
    let age = |row: &str| format!("{row}.observed_ms + {row}.starts + {row}.cost_nano_usd");
    let (new, old, set) = (age("excluded"), age("gpu_hours"), set.join(", "));
    format!("ON CONFLICT ({key}) DO UPDATE SET {set} WHERE {new} >= {old}")
}
