use jiff::civil::date;
use serde_json::json;

use super::*;

fn of(endpoint: &str, day: Date, nano_usd: i128, other_nano_usd: i128) -> Line {
    Line { endpoint: endpoint.to_owned(), day, nano_usd, other_nano_usd }
}

fn refused(text: &str) -> String {
    format!("{:#}", parse(text).expect_err(text))
}

#[test]
fn runpods_answer_is_read_in_every_form() {
    let records = json!([
        {"serverlessId": "ab", "startTime": "2026-10-01T00:00:00Z", "endTime": "2026-10-02T00:00:00Z",
            "totalAmount": 0.570_998_924_202_285_7, "gpuAmount": 0.57, "cpuAmount": 0, "diskAmount": 0.000_998_924_202_285_7, "feeAmount": 0},
        {"serverlessId": "cd", "startTime": "2026-10-02T23:00:00Z", "endTime": "2026-10-03T00:00:00Z",
            "totalAmount": 1e-7, "gpuAmount": null},
    ]);
    let lines = [of("ab", date(2026, 10, 1), 570_000_000, 998_924), of("cd", date(2026, 10, 2), 100, 0)];
    assert_eq!(parse(&json!({"records": records, "metadata": {"recordCount": 2}}).to_string()).expect("a bill"), lines);
    assert_eq!(parse(&records.to_string()).expect("a bill"), lines);
    let first = json!([{"endpointId": "ab", "time": "2026-10-01 00:00:00", "amount": 2, "timeBilledMs": 3_404_045}]);
    assert_eq!(parse(&first.to_string()).expect("a bill"), [of("ab", date(2026, 10, 1), 2_000_000_000, 0)]);
    assert_eq!(parse("{\"records\": []}").expect("a bill"), []);
}

#[test]
fn csv_is_read_by_its_header() {
    let text = "\u{feff}Day,Upstream,Note,Amount\r\n2026-10-01,cerebras,\"one, \"\"two\"\"\",$1.25\r\n\r\n2026-10-02,cerebras,,-0.25\r\n";
    let lines =
        [of("cerebras", date(2026, 10, 1), 1_250_000_000, 0), of("cerebras", date(2026, 10, 2), -250_000_000, 0)];
    assert_eq!(parse(text).expect("a bill"), lines);
}

#[test]
fn what_is_no_bill_is_refused_with_the_reason() {
    for (text, says) in [
        ("  \n", "empty"),
        ("{\"records\": 1}", "a list \"records\""),
        ("{\"records\"", "begins like JSON"),
        ("[7]", "record 1: expected an object"),
        ("[{\"serverlessId\": \"a\", \"totalAmount\": 1}]", "record 1: no field starttime"),
        ("[{\"startTime\": \"2026-10-01\", \"totalAmount\": 1}]", "no field serverlessid or endpointid"),
        ("[{\"serverlessId\": \"a\", \"startTime\": \"soon\", \"totalAmount\": 1}]", "\"soon\" is no day"),
        (
            "[{\"serverlessId\": \"a\", \"startTime\": \"2026-10-01\", \"totalAmount\": \"much\"}]",
            "\"much\" is no amount",
        ),
        (
            "[{\"serverlessId\": \"a\", \"startTime\": \"2026-10-01T00:00:00Z\", \"endTime\": \"2026-11-01T00:00:00Z\", \"totalAmount\": 1}]",
            "bucketSize=day",
        ),
        ("hello\nworld", "no column for the endpoint"),
        ("endpoint,day\na,2026-10-01", "no column for the amount"),
        ("endpoint,day,amount\na,2026-10-01", "line 2: 2 fields, but 3 columns"),
        ("endpoint,day,amount\na,2026-10-01,", "line 2: no field totalamount"),
        ("\u{0}\u{1}\u{2}", "no column"),
    ] {
        assert!(refused(text).contains(says), "{text:?}: {}", refused(text));
    }
}

#[test]
fn amounts_are_exact_and_rounded_half_to_even() {
    for (text, nano) in [
        ("0", Some(0)),
        ("1.000000001", Some(1_000_000_001)),
        ("0.0000000005", Some(0)),
        ("0.0000000015", Some(2)),
        ("-2.5", Some(-2_500_000_000)),
        ("$3", Some(3_000_000_000)),
        ("1.5E-3", Some(1_500_000)),
        ("1e400", None),
        ("1,5", None),
        ("", None),
        ("-", None),
        ("NaN", None),
    ] {
        assert_eq!(nano_usd(text), nano, "{text}");
    }
}
