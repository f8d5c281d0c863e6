//! A refusal that a client can cause at an OpenAI-compatible upstream never counts against the upstream.

#[cfg(test)]
#[path = "../../provider/tests/support/property.rs"]
mod property;
#[cfg(test)]
#[path = "support/refusals.rs"]
mod refusals;

use openai::{OpenAiDialect, blame::ErrorFormat};

#[test]
fn no_refusal_of_a_request_is_taken_for_the_upstreams_fault() {
    property::hold(2_000, &refusals::refusals(ErrorFormat::OpenAi), |refusal| {
        refusals::leaves_health_alone(&refusal, &OpenAiDialect)
    });
}
