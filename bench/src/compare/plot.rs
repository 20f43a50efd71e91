//! Curves as SVG, written by hand: a few lines, two axes and a legend need no library.
//!
//! What always holds: every point is inside the frame; what can't be drawn on a logarithmic axis is
//! left out.

use super::run::Curve;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 50.0;
/// One for each line, then over again: told apart without red and green.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000",
];
/// What the greatest latency is drawn at: nothing is above it, and its logarithm has no end.
const LAST_QUANTILE: f64 = 0.999_99;

/// A line with its name.
pub(super) type Line = (String, Curve);

/// One axis: where a value lies between 0 and 1, and what is written beside it.
struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

/// Draws lines of one kind; nothing when there is no point to draw.
pub(super) fn svg(title: &str, lines: &[Line]) -> Option<String> {
    let (_, first) = lines.first()?;
    let is_latency = first.x == "quantile";
    let mapped: Vec<(&str, Vec<(f64, f64)>)> = lines
        .iter()
        .map(|(name, curve)| (&**name, mapped(curve, is_latency)))
        .collect();
    let all = || mapped.iter().flat_map(|(_, points)| points);
    let extent = |value: fn(&(f64, f64)) -> f64| {
        let values = all().map(value);
        values.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(least, most), value| (least.min(value), most.max(value)),
        )
    };
    all().next()?;
    let (x, y) = (extent(|point| point.0), extent(|point| point.1));
    let (x, y) = if is_latency {
        (quantiles(x.1), decades(y))
    } else {
        (linear((0.0, x.1)), linear((0.0, y.1)))
    };
    let (what, unit) = if is_latency {
        ("share of the requests", format!("latency, {}", first.unit))
    } else {
        ("seconds", first.unit.clone())
    };
    let mut out = Vec::new();
    frame(&mut out, title, (&x, what), (&y, &unit));
    for (at, (name, points)) in mapped.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points: Vec<String> = points
            .iter()
            .map(|(px, py)| format!("{:.1},{:.1}", across(x.place(*px)), up(y.place(*py))))
            .collect();
        out.push(format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>",
            points.join(" ")
        ));
        let (lx, ly) = (WIDTH - RIGHT + 14.0, TOP + 14.0 + 20.0 * at as f64);
        out.push(format!(
            "<rect x=\"{lx}\" y=\"{:.1}\" width=\"16\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{ly:.1}\">{}</text>",
            ly - 5.0,
            lx + 22.0,
            escaped(name)
        ));
    }
    out.push("</svg>\n".to_owned());
    Some(out.join("\n"))
}

/// The points as they lie on the axes: quantiles by how rare what is above them is, both logarithmic.
fn mapped(curve: &Curve, is_latency: bool) -> Vec<(f64, f64)> {
    let points = curve.points.iter().copied();
    if !is_latency {
        return points
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect();
    }
    let rare = |quantile: f64| -(1.0 - quantile.clamp(0.0, LAST_QUANTILE)).log10();
    points
        .filter(|(_, ms)| *ms > 0.0)
        .map(|(quantile, ms)| (rare(quantile), ms.log10()))
        .collect()
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let span = (self.to - self.from).max(1e-12);
        ((value - self.from) / span).clamp(0.0, 1.0)
    }
}

/// 0, 50 %, 90 %, 99 % and so on, up to the rarest that is drawn.
fn quantiles(rarest: f64) -> Axis {
    let named = [
        (0.0, "0"),
        (0.5, "50 %"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
        (0.99999, "max"),
    ];
    let to = rarest.max(1.0);
    let ticks = named
        .iter()
        .map(|(quantile, name)| (-(1.0_f64 - quantile).log10(), (*name).to_owned()));
    Axis {
        from: 0.0,
        to,
        ticks: ticks.filter(|(at, _)| *at <= to + 1e-9).collect(),
    }
}

/// Whole powers of ten around the values.
fn decades((least, most): (f64, f64)) -> Axis {
    let (from, to) = (least.floor(), most.ceil().max(least.floor() + 1.0));
    let ticks = (from as i32..=to as i32).map(|power| {
        let value = 10_f64.powi(power);
        let digits = usize::try_from(-power).unwrap_or(0);
        (f64::from(power), format!("{value:.digits$}"))
    });
    Axis {
        from,
        to,
        ticks: ticks.collect(),
    }
}

/// Five or so round steps.
fn linear((from, most): (f64, f64)) -> Axis {
    let span = (most - from).max(1e-9);
    let power = 10_f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| span / step <= 6.0)
        .unwrap_or(span);
    let steps = (span / step).ceil() as u32;
    let ticks = (0..=steps).map(|at| {
        let value = from + f64::from(at) * step;
        let shown = match value {
            value if value >= 1e6 => format!("{} M", value / 1e6),
            value if value >= 1e4 => format!("{} k", value / 1e3),
            value => format!("{value}"),
        };
        (value, shown)
    });
    Axis {
        from,
        to: from + f64::from(steps) * step,
        ticks: ticks.collect(),
    }
}

fn frame(out: &mut Vec<String>, title: &str, (x, what): (&Axis, &str), (y, unit): (&Axis, &str)) {
    out.push(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>",
        escaped(title)
    ));
    for (value, name) in &x.ticks {
        let at = across(x.place(*value));
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        out.push(format!(
            "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            bottom + 18.0
        ));
    }
    for (value, name) in &y.ticks {
        let at = up(y.place(*value));
        let (left, right) = (LEFT, WIDTH - RIGHT);
        out.push(format!(
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            left - 6.0,
            at + 4.0
        ));
    }
    out.push(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
         <text x=\"14\" y=\"{:.1}\" transform=\"rotate(-90 14 {:.1})\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 12.0,
        escaped(what),
        f64::midpoint(TOP, HEIGHT - BOTTOM),
        f64::midpoint(TOP, HEIGHT - BOTTOM),
        escaped(unit)
    ));
}

fn across(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn up(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(x: &str, points: &[(f64, f64)]) -> Curve {
        Curve {
            x: x.to_owned(),
            unit: "ms".to_owned(),
            points: points.to_vec(),
        }
    }

    /// The coordinates of all lines that were drawn.
    fn drawn(svg: &str) -> Vec<(f64, f64)> {
        let lines = svg.lines().filter(|line| line.starts_with("<polyline"));
        let points = lines.filter_map(|line| line.split("points=\"").nth(1)?.split('"').next());
        let pairs = points.flat_map(|points| points.split_ascii_whitespace());
        let number = |text: &str| text.parse::<f64>().unwrap();
        pairs
            .map(|pair| pair.split_once(',').unwrap())
            .map(|(x, y)| (number(x), number(y)))
            .collect()
    }

    #[test]
    fn every_point_lies_within_the_frame_and_zero_is_left_out_of_logarithms() {
        let latencies = curve(
            "quantile",
            &[(0.0, 0.0), (0.5, 0.2), (0.99, 7.0), (1.0, 900.0)],
        );
        let svg = svg("a & b", &[("one".to_owned(), latencies)]).unwrap();
        let points = drawn(&svg);
        assert_eq!(points.len(), 3);
        for (x, y) in points {
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y));
        }
        assert!(svg.contains("a &amp; b"));
    }

    #[test]
    fn a_greater_value_is_drawn_higher() {
        let rate = curve("s", &[(0.0, 10.0), (0.1, 2e6)]);
        let points = drawn(&svg("rate", &[("one".to_owned(), rate)]).unwrap());
        assert!(points[1].1 < points[0].1 && points[1].0 > points[0].0);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(svg("none", &[]), None);
        assert_eq!(svg("none", &[("one".to_owned(), curve("s", &[]))]), None);
    }
}
