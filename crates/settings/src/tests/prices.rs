//! Prices of upstreams: what is charged for, and from when on.

use provider::PicoUsd;

use super::{VALID, env};
use crate::{parse, recorded_price};

const DECEMBER_MS: i64 = 1_796_083_200_000;

/// `VALID` with a price for `fast` from December 2026 on, and one from January.
fn with_prices() -> String {
    let tokens = |usd| {
        format!("cost = {{ kind = \"tokens\", input_usd_per_million = \"{usd}\", output_usd_per_million = \"{usd}\" }}")
    };
    let (january, december) = (tokens("0.40"), tokens("0.30"));
    let prices = format!(
        "[[upstreams.prices]]\nfrom = \"2027-01-01\"\n{january}\n[[upstreams.prices]]\nfrom = \"2026-12-01\"\n{december}\n"
    );
    VALID.replace("[[models]]", &format!("{prices}[[models]]"))
}

#[test]
fn an_upstream_may_charge_by_the_call_or_by_the_second_of_a_recording() {
    let read = |cost: &str| {
        let supports = if cost.contains("audio_seconds") { "transcriptions" } else { "rerank" };
        let text = with_prices().replace("supports = [\"chat\"]", &format!("supports = [\"{supports}\"]"));
        let text = text.replace(
            "cost = { kind = \"gpu_seconds\", usd_per_second = \"0.00019\", kept_workers = 1, list_usd_per_million = \"0.02\" }",
            cost,
        );
        let mut config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
        config.set_prices(0);
        let spec = config.upstreams[0].spec();
        let version = spec.price_version.expect("a version").to_string();
        assert_eq!(
            recorded_price(&version).expect("a price").1,
            spec.tariff.expect("a tariff").list_price().expect("a price")
        );
        (version, config.upstreams[0].tariff.clone().and_then(|tariff| tariff.list_price()).expect("a price"))
    };
    let (version, price) = read("cost = { kind = \"requests\", usd_per_request = \"0.002\" }");
    assert_eq!((version.as_str(), price.request), (":0,0,0,0,2000000000,0", PicoUsd(2_000_000_000)));
    let (version, price) = read("cost = { kind = \"audio_seconds\", usd_per_second = \"0.0001\" }");
    assert_eq!((version.as_str(), price.audio_second), (":0,0,0,0,0,100000000", PicoUsd(100_000_000)));
}

#[test]
fn a_price_is_in_force_from_the_beginning_of_its_day() {
    let mut config = parse(&with_prices(), "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    let day_ms = 24 * 60 * 60 * 1000;
    let mut input = |now_ms| {
        config.set_prices(now_ms);
        let upstream = config.upstreams.last().expect("an upstream");
        let price = upstream.spec().tariff.and_then(|tariff| tariff.list_price()).expect("a price");
        (price.input.0, upstream.spec().price_version.expect("a version").to_string(), config.next_price_ms(now_ms))
    };
    let first = input(DECEMBER_MS - 1);
    assert_eq!((first.0, first.2), (100_000, Some(DECEMBER_MS)));
    let december = input(DECEMBER_MS);
    assert_eq!(december.1, "2026-12-01:300000,300000,300000,300000");
    assert_eq!((december.0, december.2), (300_000, Some(DECEMBER_MS + 31 * day_ms)));
    assert_eq!(input(DECEMBER_MS + 31 * day_ms), (400_000, "2027-01-01:400000,400000,400000,400000".to_owned(), None));
    assert_eq!(input(0), first, "a clock that is set back");
}
