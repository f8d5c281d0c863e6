//! `cost`: how an upstream charges.

use std::time::Duration;

use provider::{ParsePriceError, PicoUsd, Price, Tariff};

use crate::{problem::Problem, reader::Table};

#[derive(Clone, Copy)]
enum Kind {
    Tokens,
    GpuSeconds,
    Requests,
    AudioSeconds,
}

pub(crate) fn read(mut table: Table<'_>) -> Option<Tariff> {
    let kinds = [
        ("tokens", Kind::Tokens),
        ("gpu_seconds", Kind::GpuSeconds),
        ("requests", Kind::Requests),
        ("audio_seconds", Kind::AudioSeconds),
    ];
    let expected = "tokens, gpu_seconds, requests or audio_seconds";
    let kind = table.required("kind", expected)?.choice("a kind of cost", &kinds)?;
    let tariff = match kind {
        Kind::Tokens => {
            let input = required(&mut table, "input_usd_per_million", PicoUsd::from_usd_per_million);
            let output = required(&mut table, "output_usd_per_million", PicoUsd::from_usd_per_million);
            let cached_input = amount(&mut table, "cached_input_usd_per_million", PicoUsd::from_usd_per_million);
            let reasoning = amount(&mut table, "reasoning_usd_per_million", PicoUsd::from_usd_per_million);
            input.zip(output).map(|(input, output)| {
                let (cached_input, reasoning) = (cached_input.unwrap_or(input), reasoning.unwrap_or(output));
                Tariff::Tokens(Price { cached_input, reasoning, ..Price::new(input, output) })
            })
        }
        Kind::GpuSeconds => {
            let per_second = required(&mut table, "usd_per_second", PicoUsd::from_usd_per_unit);
            let idle_timeout = table.seconds("idle_timeout_s", 0).unwrap_or(Duration::from_secs(5));
            let kept_workers = table.int("kept_workers", 0..=10_000).unwrap_or(0);
            let list = amount(&mut table, "list_usd_per_million", PicoUsd::from_usd_per_million)
                .map(|rate| Price::new(rate, rate));
            per_second.map(|per_second| Tariff::GpuSeconds { per_second, idle_timeout, kept_workers, list })
        }
        Kind::Requests => {
            let request = required(&mut table, "usd_per_request", PicoUsd::from_usd_per_unit);
            request.map(|request| Tariff::Tokens(Price { request, ..Price::default() }))
        }
        Kind::AudioSeconds => {
            let audio_second = required(&mut table, "usd_per_second", PicoUsd::from_usd_per_unit);
            audio_second.map(|audio_second| Tariff::Tokens(Price { audio_second, ..Price::default() }))
        }
    };
    table.finish();
    tariff
}

const UNKNOWN: &str = "leave out the whole cost if it is not known: unknown is better than zero";

type Parse<T> = fn(&str) -> Result<T, ParsePriceError>;

fn required(table: &mut Table<'_>, key: &'static str, parse: Parse<PicoUsd>) -> Option<PicoUsd> {
    if !table.has(key) {
        table.context.report(Problem::new(table.at(key), "missing", "US dollars, such as \"0.10\"").hint(UNKNOWN));
    }
    amount(table, key, parse)
}

/// US dollars, as `parse` reads them.
pub(crate) fn amount<T: Copy + Default + PartialEq>(
    table: &mut Table<'_>,
    key: &'static str,
    parse: Parse<T>,
) -> Option<T> {
    let text = table.take(key)?.amount()?;
    match parse(&text.value) {
        Ok(amount) if matches!(key, "usd_per_second" | "usd_per_request") && amount == T::default() => {
            text.refuse("is zero", "a price above zero", Some(UNKNOWN.to_owned()))
        }
        Ok(amount) => Some(amount),
        Err(error) => {
            let (fault, expected) = match error {
                ParsePriceError::NotDecimal => ("is not a price", "US dollars as a plain decimal, such as \"0.10\""),
                ParsePriceError::TooFine => ("is finer than a pico-dollar", "fewer decimals"),
                ParsePriceError::TooLarge => ("is too large for a price", "a smaller number of US dollars"),
            };
            text.refuse(fault, expected, None)
        }
    }
}
