//! One page that stands alone: no script, no font, no image from elsewhere.

use std::fmt::Write;

use crate::{
    bound::Bound,
    experiment::{PolicyResult, Results, ScenarioResult},
    report::{change_in_a_sentence, table::cells},
};

mod chart;
mod figures;

use figures::{cost_against_slo, distribution, share_over_time};

const STYLE: &str = include_str!("page/style.css");

/// The results as a page of HTML. `compared` are two policies, before and after, that the page is about; without them all are alike.
pub fn page(results: &Results, compared: Option<(&str, &str)>) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<h1>{title}</h1>\n",
        title = format_args!("Simulated: {}", escaped(&results.trace)),
    );
    if let Some((before, after)) = compared
        && let Some(sentence) = change_in_a_sentence(results, before, after)
    {
        let _ = writeln!(text, "<p class=\"change\">{}</p>", escaped(&sentence));
    }
    let runs = if results.seeds == 1 { "one run".to_owned() } else { format!("{} runs", results.seeds) };
    let _ = writeln!(
        text,
        "<p>Each figure is the mean of {runs}; ± is half a confidence interval of 95 %. A request is within the SLO when its \
         first token comes within {} s; one without a whole answer is not. Simulated providers: the figures rank policies, \
         they do not predict a bill.</p>",
        results.slo_ttft_s
    );
    for scenario in &results.scenarios {
        section(&mut text, results, scenario, compared);
    }
    text.push_str("</body>\n</html>\n");
    text
}

fn section(text: &mut String, results: &Results, scenario: &ScenarioResult, compared: Option<(&str, &str)>) {
    let _ = writeln!(text, "<section>\n<h2>{}</h2>", escaped(&scenario.scenario));
    if let Some(bound) = &scenario.bound {
        let _ = writeln!(text, "<p>{}</p>", limit(bound));
    }
    if let Some(reason) = &scenario.no_bound {
        let _ = writeln!(text, "<p>{}</p>", escaped(reason));
    }
    let looks: Vec<Appearance> =
        scenario.policies.iter().enumerate().map(|(n, policy)| Appearance::of(n, policy, compared)).collect();
    let mut shown: Vec<(&PolicyResult, &Appearance)> = scenario.policies.iter().zip(&looks).collect();
    // What is drawn last lies in front.
    shown.sort_by_key(|(_, look)| look.is_prominent);
    text.push_str("<div class=\"figures\">\n");
    text.push_str(&cost_against_slo(&shown, scenario.bound.as_ref()));
    text.push_str(&distribution(&shown, results.slo_ttft_s));
    if let Some(first) = results.upstreams.first() {
        text.push_str(&share_over_time(&shown, first));
    }
    text.push_str("</div>\n");
    rows(text, results, scenario, &looks);
    text.push_str("</section>\n");
}

fn limit(bound: &Bound) -> String {
    let mut text = format!(
        "No router can bring more than <b>{:.2} %</b> of these requests within the SLO, nor do that for less than <b>${:.4}</b> a \
         million tokens",
        bound.slo_percent, bound.cheapest.usd_per_million
    );
    if let Some(within) = &bound.within_share {
        let _ = write!(text, " (${:.4} when the first upstream keeps to its share)", within.usd_per_million);
    }
    text + "."
}

fn rows(text: &mut String, results: &Results, scenario: &ScenarioResult, looks: &[Appearance]) {
    let mut rows = cells(results, scenario).into_iter();
    text.push_str("<div class=\"scroll\"><table>\n<thead><tr><th></th>");
    for heading in rows.next().unwrap_or_default() {
        let _ = write!(text, "<th>{}</th>", escaped(&heading));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (row, look) in rows.zip(looks) {
        let class = if look.is_compared { " class=\"compared\"" } else { "" };
        let _ =
            write!(text, "<tr{class}><td><svg class=\"dot\" viewBox=\"0 0 10 10\"><circle cx=\"5\" cy=\"5\" r=\"4\" ");
        let _ = write!(text, "fill=\"{}\"/></svg></td>", look.color);
        for cell in row {
            let _ = write!(text, "<td>{}</td>", escaped(&cell));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table></div>\n");
}

/// How a policy looks in all figures of a page.
#[derive(Debug, Clone)]
struct Appearance {
    color: &'static str,
    /// One of the two that the page is about.
    is_compared: bool,
    /// Drawn in front and in full.
    is_prominent: bool,
}

/// Colours that can be distinguished, also by those who do not see red and green, on white as on black. The first two
/// are those of the compared.
const COLORS: [&str; 16] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d", "#7f8c8d", "#c0392b",
    "#66a61e", "#1b7f9c", "#b8a500", "#ff8fab", "#4d648d", "#2e8b57",
];

impl Appearance {
    fn of(number: usize, policy: &PolicyResult, compared: Option<(&str, &str)>) -> Self {
        let color = |number: usize| COLORS[number % COLORS.len()];
        let Some((before, after)) = compared else {
            return Self { color: color(number), is_compared: false, is_prominent: true };
        };
        let color = match policy.policy.as_str() {
            name if name == before => COLORS[0],
            name if name == after => COLORS[1],
            _ => COLORS[2 + number % (COLORS.len() - 2)],
        };
        let is_compared = policy.policy == before || policy.policy == after;
        Self { color, is_compared, is_prominent: is_compared }
    }
}

/// Text that means nothing to a browser.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
