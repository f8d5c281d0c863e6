use jiff::civil::date;
use ledger::GpuUpstream;
use provider::PicoUsd;

use super::{columns::COLUMNS, *};

/// What the specification says that a dataset of costs and usage must have, whoever makes it.
const MANDATORY: [&str; 21] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
];
/// What it recommends, and what it wants of whoever has prices per unit, sub-accounts, measured usage, resources and tags.
const CONDITIONAL: [&str; 18] = [
    "ChargeFrequency",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedUnitPrice",
    "InvoiceId",
    "ListUnitPrice",
    "PricingCategory",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
];
/// Those that may be NULL, of a charge for usage that is no correction.
const NULLABLE: [&str; 15] = [
    "ChargeClass",
    "InvoiceId",
    "RegionId",
    "RegionName",
    "SkuPriceDetails",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_AllocatedCalls",
    "x_AllocatedListCost",
    "x_AllocatedTokens",
    "x_Key",
    "x_Model",
    "x_PriceSince",
    "x_UsageSource",
];

fn group(upstream: &str, price_version: Option<&str>, spend: Spend) -> Group {
    Group {
        day: date(2026, 10, 31),
        team: Some("search".to_owned()),
        key: Some("web".to_owned()),
        model: Some("llama".to_owned()),
        upstream: upstream.to_owned(),
        usage_source: Some("reported".to_owned()),
        price_version: price_version.map(str::to_owned),
        tags: Some("env=prod,feature=search".to_owned()),
        spend,
    }
}

/// Two calls whose costs were rounded: the ledger has a nano-dollar more than price times quantity.
fn spend() -> Spend {
    Spend {
        calls: 2,
        prompt_tokens: 1_000_001,
        cached_tokens: 1,
        completion_tokens: 10,
        reasoning_tokens: 4,
        cost_nano_usd: 100_001_351,
        ..Spend::default()
    }
}

const PRICE: &str = "2026-10-01:100000,50000,200000,300";

fn config() -> Config {
    let text = r#"
        [auth]
        mode = "none"
        [[upstreams]]
        id = "fast"
        provider = "cerebras"
        model = "llama3.1-8b"
        cost = { kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }
        [[upstreams]]
        id = "pod"
        provider = "runpod"
        endpoint_id = "abc"
        model = "llama"
        cost = { kind = "gpu_seconds", usd_per_second = "0.00019", list_usd_per_million = "0.02" }
        [[upstreams]]
        id = "other"
        provider = "openai"
        base_url = "https://llm.example.com/v1"
        api_key_env = "KEY"
        model = "x"
        [[models]]
        name = "llama"
        strategy = "weighted"
        targets = [{ upstream = "fast" }, { upstream = "pod" }, { upstream = "other" }]
    "#;
    settings::parse_with(text, "x.toml", &|_| None, settings::Secrets::Ignored)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A row of the export, by the names of columns.
type Row = BTreeMap<&'static str, String>;

fn row(charge: &Charge<'_>) -> Row {
    COLUMNS.iter().map(|(name, value)| (*name, value(charge))).collect()
}

/// Nothing is on record of the workers of these upstreams but that they were counted.
fn workers(counted: &[&str]) -> GpuReport {
    let counted = counted.iter().map(|name| GpuUpstream { name: (*name).to_owned(), first_hour: 0, last_hour: 0 });
    GpuReport { upstreams: counted.collect(), tariffs: tariffs(Some(&config())), ..GpuReport::default() }
}

/// The rows of tokens.
fn rows(groups: &[Group]) -> Vec<Row> {
    let services = services(&config(), groups.iter());
    export(groups, &workers(&[]), &services).charges.iter().map(row).collect()
}

/// An exact amount, in pico-dollars.
fn pico(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<12}").parse().expect("a decimal")
}

#[test]
fn the_columns_are_those_of_the_specification() {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    for column in MANDATORY.iter().chain(&CONDITIONAL) {
        assert!(names.contains(column), "{column} is missing");
    }
    let (focus, own): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| !name.starts_with("x_"));
    assert!(focus.is_sorted() && names.ends_with(&own), "the router's own columns come last");
    let known: Vec<_> = MANDATORY.iter().chain(&CONDITIONAL).chain(&["RegionId", "RegionName"]).copied().collect();
    assert_eq!(focus.iter().filter(|name| !known.contains(name)).count(), 0, "none is made up");
}

#[test]
fn a_charge_has_one_price_and_all_of_them_are_what_the_ledger_has() {
    let rows = rows(&[group("fast", Some(PRICE), spend())]);
    assert_eq!(rows.len(), 4, "input, cached input, output, reasoning");
    for row in &rows {
        for (name, value) in row {
            assert!(!value.is_empty() || NULLABLE.contains(name), "{name} is NULL");
        }
        for (cost, price) in [("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")] {
            let product = pico(&row[price]) * pico(&row["PricingQuantity"]) / 1_000_000_000_000;
            assert_eq!(product, pico(&row[cost]), "{row:?}");
        }
        assert_eq!(row["BilledCost"], row["EffectiveCost"]);
    }
    let billed: i128 = rows.iter().map(|row| pico(&row["BilledCost"])).sum();
    assert_eq!(billed, 100_001_351_000, "to the nano-dollar, though each call was rounded");
    let listed: i128 = rows.iter().map(|row| pico(&row["ListCost"])).sum();
    assert_eq!(listed, 100_001_251_200, "price times quantity");
    let input = &rows[0];
    for (column, value) in [
        ("ConsumedQuantity", "1000000"),
        ("ConsumedUnit", "Tokens"),
        ("PricingQuantity", "1"),
        ("PricingUnit", "1000000 Tokens"),
        ("ListUnitPrice", "0.1"),
        ("ListCost", "0.1"),
        ("BillingPeriodStart", "2026-10-01T00:00:00Z"),
        ("BillingPeriodEnd", "2026-11-01T00:00:00Z"),
        ("ChargePeriodStart", "2026-10-31T00:00:00Z"),
        ("ChargePeriodEnd", "2026-11-01T00:00:00Z"),
        ("ProviderName", "Cerebras"),
        ("ServiceName", "Cerebras Inference"),
        ("SkuId", "cerebras/llama3.1-8b/input-tokens"),
        ("SkuPriceId", "fast/input-tokens"),
        ("SubAccountId", "search"),
        ("Tags", r#"{"env":"prod","feature":"search"}"#),
        ("x_PriceSince", "2026-10-01"),
    ] {
        assert_eq!(input[column], value, "{column}");
    }
    assert_eq!(rows[2]["PricingQuantity"], "0.000006");
}

#[test]
fn calls_and_recordings_are_charged_by_what_they_came_to() {
    let cost = |cost_nano_usd| Spend { calls: 3, prompt_tokens: 70, cost_nano_usd, ..Spend::default() };
    // $0.002 a call, of which one failed; $0.0001 a second.
    let by_call = group("fast", Some("2026-10-01:0,0,0,0,2000000000,0"), cost(4_000_000));
    let by_second = group("fast", Some(":0,0,0,0,0,100000000"), cost(250_100));
    let rows = rows(&[by_call, by_second]);
    let seen =
        |row: &Row| ["SkuMeter", "ConsumedQuantity", "ConsumedUnit", "BilledCost"].map(|column| row[column].clone());
    assert_eq!(
        rows.iter().map(seen).collect::<Vec<_>>(),
        [["Requests", "2", "Requests", "0.004"], ["Audio", "2.501", "Seconds", "0.0002501"],]
    );
}

#[test]
fn what_has_no_cost_yet_is_in_the_second_file_and_never_a_zero() {
    let unpriced = Spend { unpriced_calls: 2, cost_nano_usd: 0, ..spend() };
    let groups = [
        group("other", None, unpriced.clone()),
        group("other", Some(":"), unpriced),
        group("pod", Some(":20000,20000,20000,20000"), spend()),
        Group { usage_source: None, ..group("fast", Some(PRICE), Spend { calls: 9, ..Spend::default() }) },
    ];
    assert!(rows(&groups).is_empty());
    let services = services(&config(), groups.iter());
    let text = missing_text(&export(&groups, &workers(&[]), &services).missing);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "a header, and no line for what used nothing: {text}");
    assert_eq!(lines[1], lines[2]);
    let of = "2026-10-31,search,web,llama";
    assert_eq!(
        lines[1],
        format!("{of},other,\"env=prod,feature=search\",reported,2,1000011,,no_price"),
        "without an amount"
    );
    assert_eq!(
        lines[3],
        format!("{of},pod,\"env=prod,feature=search\",reported,2,1000011,0.100001351,gpu_seconds_unknown")
    );
    let counted = export(&groups, &workers(&["pod"]), &services);
    assert_eq!(counted.missing.len(), 2, "of an upstream whose workers were counted, seconds are told");
    assert_eq!(beside(Path::new("a/october.csv")), Path::new("a/october.unpriced.csv"));
}

#[test]
fn who_sends_the_invoice_is_named_also_for_upstreams_that_are_gone() {
    let groups = ["other", "gone"].map(|upstream| group(upstream, Some(PRICE), spend()));
    let providers: BTreeSet<_> = rows(&groups).into_iter().map(|row| row["InvoiceIssuerName"].clone()).collect();
    assert_eq!(providers.into_iter().collect::<Vec<_>>(), ["gone", "llm.example.com"]);
}

#[test]
fn an_upstream_that_changed_how_it_bills_is_charged_as_it_did_then() {
    let before = "cost = { kind = \"tokens\", input_usd_per_million = \"0.10\", output_usd_per_million = \"0.10\" }";
    let after = "[[upstreams.prices]]\nfrom = \"2026-10-01\"\n\
                 cost = { kind = \"gpu_seconds\", usd_per_second = \"0.00019\", list_usd_per_million = \"0.02\" }";
    let text = format!(
        "[auth]\nmode = \"none\"\n[[upstreams]]\nid = \"pod\"\nprovider = \"runpod\"\nendpoint_id = \"a\"\n\
         model = \"m\"\n{before}\n{after}\n[[models]]\nname = \"m\"\nstrategy = \"weighted\"\n\
         targets = [{{ upstream = \"pod\" }}]\n"
    );
    let config = settings::parse_with(&text, "x.toml", &|_| None, settings::Secrets::Ignored);
    let tariffs = tariffs(Some(&config.unwrap_or_else(|error| panic!("{error}"))));
    let report = GpuReport { tariffs, ..GpuReport::default() };
    let bills = |version: &str| report.is_of_workers("pod", Some(version));
    assert!(!bills(":100000,100000,100000,100000") && bills("2026-10-01:20000,20000,20000,20000"));
    assert!(bills("2025-01-01:1,1,1,1") && report.is_of_workers("pod", None), "as it does now");
}

/// The amount of a row, in parts of a pico-dollar that no price is finer than.
fn exact(text: &str) -> u128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<21}").parse().expect("a decimal")
}

#[test]
fn a_share_of_workers_time_is_a_charge_of_seconds_with_what_was_used_for_it() {
    let of = group("pod", None, Spend { calls: 3, prompt_tokens: 5_000, cost_nano_usd: 100_000, ..Spend::default() });
    let services = services(&config(), [&of].into_iter());
    let rate = PicoUsd(190_000_000);
    let seconds = gpu::Seconds { rate, nano_usd: 1_900_000, quantity: 10_000_000_000 };
    let charge = charge::of_seconds(&of, &services["pod"], seconds).expect("a charge");
    let found = row(&charge);
    for (column, value) in [
        ("BilledCost", "0.0019"),
        ("EffectiveCost", "0.0019"),
        ("ListCost", "0.0019"),
        ("ConsumedQuantity", "10"),
        ("ConsumedUnit", "Seconds"),
        ("PricingQuantity", "10"),
        ("PricingUnit", "Seconds"),
        ("ListUnitPrice", "0.00019"),
        ("ChargeDescription", "GPU time of llama at RunPod"),
        ("SkuId", "runpod/llama/gpu-seconds"),
        ("SkuPriceId", "pod/gpu-seconds"),
        ("x_AllocatedCalls", "3"),
        ("x_AllocatedTokens", "5000"),
        ("x_AllocatedListCost", "0.0001"),
    ] {
        assert_eq!(found[column], value, "{column}");
    }
    // A share that is no whole number of anything: price times quantity is exact.
    let seconds = gpu::Seconds { rate: PicoUsd(1_160_000_007), nano_usd: 333_333_333, quantity: 287_356_320_105 };
    let odd = row(&charge::of_seconds(&of, &services["pod"], seconds).expect("a charge"));
    let product = exact(&odd["ListUnitPrice"]) / 1_000_000_000 * exact(&odd["PricingQuantity"]) / 1_000_000_000_000;
    assert_eq!(product, exact(&odd["ListCost"]), "{odd:?}");
    assert_eq!(odd["BilledCost"], "0.333333333");
    let nothing = gpu::Seconds { rate, nano_usd: 0, quantity: 0 };
    assert!(charge::of_seconds(&of, &services["pod"], nothing).is_none(), "who used nothing is charged nothing");
    let tokens = rows(&[group("fast", Some(PRICE), spend())]);
    assert!(tokens.iter().all(|row| row["x_AllocatedTokens"].is_empty()));
    // Tokens of hours in which no worker was seen are not free; calls without any are no charge.
    let zero = |spend| [gpu::GpuGroup { group: group("pod", None, spend), seconds: Some(nothing) }];
    for (spend, missing) in [(spend(), 1), (Spend { calls: 2, ..Spend::default() }, 0)] {
        let (groups, mut export) = (zero(spend), Export::default());
        gpu::export(&groups, &services, &mut export);
        assert_eq!((export.charges.len(), export.missing.len()), (0, missing));
    }
}

#[test]
fn the_file_of_what_has_no_cost_yet_is_never_of_an_earlier_export() {
    let folder = std::env::temp_dir().join(format!("llm-router-focus-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (out, file) = (folder.join("october.csv"), folder.join("october.unpriced.csv"));
    std::fs::write(&file, "stale").expect("written");
    write_missing((None, Some(&out)), &[]).expect("written");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(text, format!("{}\n", MISSING.join(",")));
    let error = check_targets(Some(Path::new("october.csv")), Some(Path::new("./october.csv"))).expect_err("the same");
    assert!(error.to_string().contains("both october.csv"), "{error}");
    check_targets(Some(&file), Some(&out)).expect("two files");
}
