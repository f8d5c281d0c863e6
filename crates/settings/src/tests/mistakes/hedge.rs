//! Mistakes in `hedge`.

use super::*;

/// A cap on what second calls cost can be kept only where every call has a price, and it takes a strategy that predicts
/// which of at least two targets would be in time.
#[test]
fn mistakes_in_hedges_are_reported() {
    let early = "baseline = \"fast\"";
    let percent = "models[0].hedge.max_extra_cost_percent";
    check(&[
        (early, "baseline = \"fast\"\nhedge = { after_ms = 800 }", percent, "missing", ""),
        (early, "baseline = \"fast\"\nhedge = { max_extra_cost_percent = 0 }", percent, "0 is no such percentage", ""),
        (
            early,
            "baseline = \"fast\"\nhedge = { max_extra_cost_percent = 101 }",
            percent,
            "101 is no such percentage",
            "",
        ),
        (
            early,
            "baseline = \"fast\"\nhedge = { max_extra_cost_percent = \"2\" }",
            percent,
            "\"2\" is no such percentage",
            "",
        ),
        (
            early,
            "baseline = \"fast\"\nhedge = { max_extra_cost_percent = 2, after_ms = 0 }",
            "models[0].hedge.after_ms",
            "0 is out of range",
            "",
        ),
        (
            early,
            "baseline = \"fast\"\nhedge = { max_extra_cost_percent = 2, after_ms = 10000 }",
            "models[0].hedge.after_ms",
            "10000 is too late: a first call has failed after 10000 ms, while another target can be called",
            "",
        ),
        (
            early,
            "baseline = \"fast\"\ndeadline_ms = 4000\nhedge = { max_extra_cost_percent = 2, after_ms = 2000 }",
            "models[0].hedge.after_ms",
            "2000 is too late: a first call has failed after 2000 ms, while another target can be called",
            "",
        ),
        (
            early,
            "baseline = \"fast\"\nhedge = { max_extra_cost_percent = 2, afer_ms = 800 }",
            "models[0].hedge.afer_ms",
            "unknown key",
            "did you mean \"after_ms\"?",
        ),
        (early, "baseline = \"fast\"\nhedge = true", "models[0].hedge", "true is not a table", ""),
    ]);
    let unpriced = "cost = { kind = \"tokens\", input_usd_per_million = \"0.10\", cached_input_usd_per_million = \"0.05\", output_usd_per_million = \"0.20\", reasoning_usd_per_million = \"0.30\" }";
    let text = VALID
        .replace(early, "hedge = { max_extra_cost_percent = 2 }")
        .replace("\"balanced\"", "\"weighted\"")
        .replace(unpriced, "")
        .replace(
            "{ upstream = \"pod\", share = 0.8 }, { upstream = \"fast\", share = 0.2 }",
            "{ upstream = \"fast\" }",
        );
    let problems = parse(&text, "x.toml", &env).expect_err("three mistakes").list;
    let told: Vec<_> = problems.iter().map(|problem| (problem.path.as_str(), problem.fault.as_str())).collect();
    let expected = [
        ("models[0].hedge", "does not go with strategy = \"weighted\""),
        ("models[0].hedge", "is set for a model with one target"),
        ("models[0].hedge", "is set although the upstream \"fast\" has no price"),
    ];
    assert_eq!(told, expected, "all at once");
}
