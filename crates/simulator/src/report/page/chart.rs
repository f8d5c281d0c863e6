//! Axes and lines in SVG.

use std::fmt::Write;

/// The size of a figure, and where its plot lies in it.
pub(super) const SIZE: (f64, f64) = (560.0, 320.0);
const LEFT: f64 = 52.0;
const RIGHT: f64 = 545.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 274.0;

/// Values along one side of a plot.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
    title: &'static str,
}

/// A plot: two axes and what is drawn between them.
#[derive(Debug)]
pub(super) struct Chart {
    x: Axis,
    y: Axis,
    body: String,
}

impl Axis {
    /// From the least to the greatest of `values`, with some air; `most` is never passed.
    pub(super) fn around(values: impl IntoIterator<Item = f64>, most: f64, title: &'static str) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let (least, greatest) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| {
            (least.min(*value), greatest.max(*value))
        });
        if values.is_empty() {
            return Self { from: 0.0, to: 1.0, logarithmic: false, title };
        }
        let air = ((greatest - least) * 0.08).max(greatest.abs() * 1e-3).max(1e-6);
        let from = if least > 0.0 { (least - air).max(0.0) } else { least };
        Self { from, to: (greatest + air).min(most.max(from + 1e-9)), logarithmic: false, title }
    }

    pub(super) const fn linear(from: f64, to: f64, title: &'static str) -> Self {
        Self { from, to, logarithmic: false, title }
    }

    pub(super) const fn logarithmic(from: f64, to: f64, title: &'static str) -> Self {
        Self { from, to, logarithmic: true, title }
    }

    /// Where a value lies, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value.max(1e-9) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        part.clamp(0.0, 1.0)
    }

    /// Round values along it.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let ticks = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
            return ticks.into_iter().filter(|tick| (self.from..=self.to).contains(tick)).collect();
        }
        let rough = (self.to - self.from) / 5.0;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * magnitude).find(|step| *step >= rough).unwrap_or(rough);
        let first = (self.from / step).ceil() * step;
        let ticks = (0..12_u32).map(|n| first + f64::from(n) * step);
        ticks.take_while(|tick| *tick <= self.to + step * 1e-6).collect()
    }
}

impl Chart {
    pub(super) const fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, body: String::new() }
    }

    /// The point of a pair of values.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + (RIGHT - LEFT) * self.x.part(x), BOTTOM - (BOTTOM - TOP) * self.y.part(y))
    }

    /// Adds SVG.
    pub(super) fn add(&mut self, svg: &str) {
        self.body.push_str(svg);
        self.body.push('\n');
    }

    /// Joins points with a line.
    pub(super) fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, attributes: &str, name: &str) {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        self.add(&format!("<path d=\"{path}\" fill=\"none\" {attributes}><title>{name}</title></path>"));
    }

    /// A figure with a caption, which may hold markup.
    pub(super) fn figure(self, caption: &str) -> String {
        let mut svg =
            format!("<figure>\n<svg viewBox=\"0 0 {} {}\" role=\"img\">\n<title>{caption}</title>\n", SIZE.0, SIZE.1);
        for tick in self.x.ticks() {
            let (x, _) = self.at(tick, self.y.from);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                BOTTOM + 16.0,
                short(tick)
            );
        }
        for tick in self.y.ticks() {
            let (_, y) = self.at(self.x.from, tick);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                short(tick)
            );
        }
        let middle = f64::midpoint(TOP, BOTTOM);
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(12 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n{}</svg>\n\
             <figcaption>{caption}</figcaption>\n</figure>\n",
            f64::midpoint(LEFT, RIGHT),
            SIZE.1 - 8.0,
            self.x.title,
            self.y.title,
            self.body
        );
        svg
    }
}

/// A number without needless digits.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
