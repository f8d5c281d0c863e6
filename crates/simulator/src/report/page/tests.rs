use super::*;
use crate::{
    baselines::{PEAK_EWMA, STATIC_SHARES},
    report::samples::results,
};

#[test]
fn the_page_stands_alone_and_shows_every_policy_and_the_limit() {
    let results = results();
    let page = page(&results, Some((STATIC_SHARES, PEAK_EWMA)));
    for policy in &results.scenarios[0].policies {
        assert!(page.contains(&escaped(&policy.policy)), "{}", policy.policy);
    }
    assert!(page.contains("No router can bring more than <b>100.00 %</b>"), "the limit is told");
    assert!(page.contains("<p class=\"change\">In steady, "), "the change is told");
    for outside in ["http:", "https:", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside} leads elsewhere");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "a number that cannot be drawn");
}

#[test]
fn the_two_that_are_compared_have_colours_of_their_own() {
    let results = results();
    for (before, after) in [(STATIC_SHARES, PEAK_EWMA), ("clairvoyant greedy", "all on runpod-8b")] {
        let looks = results.scenarios[0].policies.iter().enumerate();
        let looks = looks.map(|(number, policy)| Appearance::of(number, policy, Some((before, after))));
        let (compared, others): (Vec<Appearance>, Vec<Appearance>) = looks.partition(|look| look.is_compared);
        assert!(compared.len() == 2 && compared[0].color != compared[1].color);
        assert!(others.iter().all(|other| compared.iter().all(|look| look.color != other.color)));
    }
}

#[test]
fn names_are_text_and_no_markup() {
    let mut results = results();
    results.scenarios[0].policies[0].policy = "<b onload='x'>&".to_owned();
    results.trace = "a<b".to_owned();
    let page = page(&results, None);
    assert!(page.contains("&lt;b onload=&#39;x&#39;&gt;&amp;") && !page.contains("<b onload"));
    assert!(page.contains("a&lt;b"));
}

#[test]
fn every_tag_that_is_opened_is_closed() {
    let page = page(&results(), None);
    for tag in ["svg", "figure", "g", "table", "section", "div", "title", "text", "path", "circle", "td", "tr"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        let closed = page.matches(&format!("</{tag}>")).count();
        // Some paths and circles close themselves.
        let itself = page.split('<').filter(|part| part.starts_with(&format!("{tag} ")) && part.contains("/>")).count();
        assert_eq!(opened, closed + itself, "{tag}");
    }
}
