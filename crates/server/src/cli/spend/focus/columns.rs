//! The columns of FOCUS 1.2 that the router can fill, in alphabetical order, and behind them those of its own (`x_`).
//!
//! Left out are those that the specification wants only of providers with availability zones, reserved capacity, commitments,
//! several kinds of accounts or several currencies. An empty field is NULL.

use std::iter::once;

use jiff::civil::Date;
use serde_json::{Map, Value};
use settings::tag_pairs;

use super::{super::figures::csv, charge::Charge, gpu::allocated};

/// A column's name, and what stands in it.
type Column = (&'static str, fn(&Charge<'_>) -> String);

const USD: &str = "USD";
/// The decimals of a number of pico-dollars.
const PICO: u32 = 12;
/// The same of nano-dollars.
const NANO: u32 = 9;
/// The columns.
pub(super) const COLUMNS: [Column; 48] = [
    ("BilledCost", |charge| usd(charge.billed_pico)),
    // The router does not know the number of the account: there is one for each who sends an invoice.
    ("BillingAccountId", |charge| charge.service.provider.to_lowercase()),
    ("BillingAccountName", |charge| charge.service.provider.clone()),
    ("BillingCurrency", |_| USD.to_owned()),
    ("BillingPeriodEnd", |charge| moment(charge.day().last_of_month().tomorrow().ok())),
    ("BillingPeriodStart", |charge| moment(Some(charge.day().first_of_month()))),
    ("ChargeCategory", |_| "Usage".to_owned()),
    // Only a correction of an earlier period has one.
    ("ChargeClass", |_| String::new()),
    ("ChargeDescription", |charge| {
        format!("{} of {} at {}", charge.meter.name, charge.service.model, charge.service.provider)
    }),
    ("ChargeFrequency", |_| "Usage-Based".to_owned()),
    ("ChargePeriodEnd", |charge| moment(charge.day().tomorrow().ok())),
    ("ChargePeriodStart", |charge| moment(Some(charge.day()))),
    ("ConsumedQuantity", |charge| decimal(charge.quantity.into(), charge.meter.decimals())),
    ("ConsumedUnit", |charge| charge.meter.unit.to_owned()),
    // The list price is the price: discounts are not known here.
    ("ContractedCost", list_cost),
    ("ContractedUnitPrice", unit_price),
    ("EffectiveCost", |charge| usd(charge.billed_pico)),
    ("InvoiceId", |_| String::new()),
    ("InvoiceIssuerName", |charge| charge.service.provider.clone()),
    ("ListCost", list_cost),
    ("ListUnitPrice", unit_price),
    ("PricingCategory", |_| "Standard".to_owned()),
    ("PricingQuantity", |charge| decimal(charge.quantity.into(), charge.meter.priced_decimals())),
    ("PricingUnit", |charge| match charge.meter.priced_units {
        1 => charge.meter.unit.to_owned(),
        many => format!("{many} {}", charge.meter.unit),
    }),
    ("ProviderName", |charge| charge.service.provider.clone()),
    ("PublisherName", |charge| charge.service.provider.clone()),
    ("RegionId", |_| String::new()),
    ("RegionName", |_| String::new()),
    ("ResourceId", |charge| charge.group.upstream.clone()),
    ("ResourceName", |charge| charge.group.upstream.clone()),
    ("ResourceType", |_| "Inference endpoint".to_owned()),
    ("ServiceCategory", |_| "AI and Machine Learning".to_owned()),
    ("ServiceName", |charge| charge.service.name.clone()),
    ("ServiceSubcategory", |_| "Generative AI".to_owned()),
    ("SkuId", |charge| {
        format!("{}/{}/{}", charge.service.provider.to_lowercase(), charge.service.model, charge.meter.id)
    }),
    ("SkuMeter", |charge| charge.meter.name.to_owned()),
    // They would have to be the same for a SKU at all times.
    ("SkuPriceDetails", |_| String::new()),
    // Without the price and its date, which would make another SKU of it.
    ("SkuPriceId", |charge| format!("{}/{}", charge.group.upstream, charge.meter.id)),
    ("SubAccountId", |charge| charge.group.team.clone().unwrap_or_default()),
    ("SubAccountName", |charge| charge.group.team.clone().unwrap_or_default()),
    ("Tags", |charge| charge.group.tags.as_deref().map(|tags| object(tag_pairs(tags))).unwrap_or_default()),
    // What the calls used that share a charge of GPU seconds: an allocation, and on no invoice.
    ("x_AllocatedCalls", |charge| allocated(charge).map(|group| group.spend.calls.to_string()).unwrap_or_default()),
    ("x_AllocatedListCost", |charge| {
        allocated(charge).map(|group| decimal(u128::from(group.spend.cost_nano_usd), NANO)).unwrap_or_default()
    }),
    ("x_AllocatedTokens", |charge| allocated(charge).map(|group| group.tokens().to_string()).unwrap_or_default()),
    ("x_Key", |charge| charge.group.key.clone().unwrap_or_default()),
    ("x_Model", |charge| charge.group.model.clone().unwrap_or_default()),
    ("x_PriceSince", |charge| charge.price_since.unwrap_or_default().to_owned()),
    ("x_UsageSource", |charge| charge.group.usage_source.clone().unwrap_or_default()),
];

/// A header, and a row for each charge.
pub(super) fn text(charges: &[Charge<'_>]) -> String {
    let header = COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let row = |charge: &Charge<'_>| COLUMNS.iter().map(|(_, value)| value(charge)).collect();
    csv(once(header).chain(charges.iter().map(row)))
}

/// For as many units as a price is for.
fn unit_price(charge: &Charge<'_>) -> String {
    decimal(u128::from(charge.rate.0) * u128::from(charge.meter.priced_units), PICO)
}

/// Price times quantity.
fn list_cost(charge: &Charge<'_>) -> String {
    decimal(charge.list_parts(), PICO + charge.meter.decimals())
}

fn usd(pico: i128) -> String {
    let sign = if pico < 0 { "-" } else { "" };
    format!("{sign}{}", decimal(pico.unsigned_abs(), PICO))
}

/// `number` / 10^`digits`, exactly, without zeros at the end.
fn decimal(number: u128, digits: u32) -> String {
    let one = 10_u128.pow(digits);
    let width = digits as usize;
    let text = format!("{}.{:0width$}", number / one, number % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The beginning of a day in UTC.
fn moment(day: Option<Date>) -> String {
    day.map(|day| format!("{day}T00:00:00Z")).unwrap_or_default()
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Map<_, _> = pairs.map(|(name, value)| (name.to_owned(), value.into())).collect();
    Value::Object(pairs).to_string()
}
