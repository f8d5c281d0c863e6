//! What was billed for serverless endpoints: the records of the settings, by day.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::settings::Billed;

/// The answer to `GET /v2/billing/serverless`, or what is wrong with the query.
pub(super) fn answer(bill: &[Billed], query: &str) -> Result<Value, String> {
    let given = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.replace("%3A", ":"))
    };
    let (since, until, endpoint) = (given("startTime"), given("endTime"), given("serverlessId"));
    let size = given("bucketSize").unwrap_or_else(|| "day".to_owned());
    if size != "day" {
        return Err(format!("bucketSize: the emulator has day alone, not {size}"));
    }
    let of_query = |billed: &&Billed| {
        let begin = begin(&billed.day);
        since.as_ref().is_none_or(|since| begin >= *since)
            && until.as_ref().is_none_or(|until| begin < *until)
            && endpoint.as_ref().is_none_or(|endpoint| billed.endpoint == *endpoint)
    };
    let billed: Vec<&Billed> = bill.iter().filter(of_query).collect();
    let amounts = |gpu: f64, disk: f64| json!({"gpuAmount": gpu, "diskAmount": disk, "cpuAmount": 0, "feeAmount": 0, "totalAmount": gpu + disk});
    let record = |billed: &&Billed| {
        let mut record = amounts(billed.gpu_usd, billed.disk_usd);
        record["serverlessId"] = billed.endpoint.clone().into();
        record["startTime"] = begin(&billed.day).into();
        record["endTime"] = format!("{}T23:59:59Z", billed.day).into();
        record
    };
    let sum = |of: fn(&Billed) -> f64| billed.iter().map(|billed| of(billed)).sum();
    let endpoints: BTreeSet<&str> = billed.iter().map(|billed| billed.endpoint.as_str()).collect();
    Ok(json!({
        "records": billed.iter().map(record).collect::<Vec<_>>(),
        "metadata": {
            "query": {"startTime": since, "endTime": until, "bucketSize": size, "serverlessId": endpoint},
            "recordCount": billed.len(),
            "uniqueServerlessCount": endpoints.len(),
            "totals": amounts(sum(|billed| billed.gpu_usd), sum(|billed| billed.disk_usd)),
        },
    }))
}

fn begin(day: &str) -> String {
    format!("{day}T00:00:00Z")
}
