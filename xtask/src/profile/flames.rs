//! A flame graph as a picture that needs no program to be looked at: what a frame is called stands in it
//! where there is room, and in the title that browsers show.
//!
//! What always holds: a frame is as wide as its share of all samples, and lies on the one that called it.

use super::stacks::{Frame, Stacks};

const WIDTH: f64 = 1200.0;
const ROW: f64 = 15.0;
const HEAD: f64 = 26.0;
/// Of a letter.
const LETTER: f64 = 5.6;
/// Names are not cut shorter than so many letters.
const LETTERS_MIN: usize = 3;
/// Frames with a smaller share are left out.
const SHARE_MIN: f64 = 0.002;

/// Draws all samples.
pub(super) fn svg(title: &str, stacks: &Stacks) -> String {
    let all = stacks.samples().max(1) as f64;
    let rows = depth(&stacks.root, all);
    let height = HEAD + ROW * rows as f64;
    let mut out = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"10\"><rect width=\"100%\" height=\"100%\" \
             fill=\"#ffffff\"/>"
        ),
        format!(
            "<text x=\"4\" y=\"16\" font-size=\"13\">{}; blue: in the kernel</text>",
            escaped(title)
        ),
    ];
    draw(&stacks.root, (0.0, 0), (all, height), &mut out);
    out.push("</svg>\n".to_owned());
    out.join("\n")
}

/// Rows of what is drawn above a frame.
fn depth(frame: &Frame, all: f64) -> usize {
    let callees = frame.callees.values().filter(|one| is_drawn(one, all));
    callees.map(|one| depth(one, all) + 1).max().unwrap_or(0)
}

fn is_drawn(frame: &Frame, all: f64) -> bool {
    frame.count as f64 / all >= SHARE_MIN
}

/// Draws what lies on a frame that begins at `x`, in row `row` from below.
fn draw(frame: &Frame, (x, row): (f64, usize), (all, height): (f64, f64), out: &mut Vec<String>) {
    let mut x = x;
    for (name, callee) in &frame.callees {
        let width = callee.count as f64 / all * WIDTH;
        if is_drawn(callee, all) {
            let y = height - ROW * (row + 1) as f64;
            let percent = callee.count as f64 / all * 100.0;
            let fill = fill(name, callee.is_kernel);
            out.push(format!(
                "<g><title>{}: {percent:.1} %</title><rect x=\"{x:.1}\" y=\"{y:.1}\" \
                 width=\"{width:.1}\" height=\"14\" fill=\"{fill}\"/>{}</g>",
                escaped(name),
                label(name, (x, y), width)
            ));
            draw(callee, (x, row + 1), (all, height), out);
        }
        x += width;
    }
}

/// The kernel's, the product's, and what it is built on.
fn fill(name: &str, is_kernel: bool) -> &'static str {
    match (is_kernel, name.contains("millrace")) {
        (true, _) => "#9ecae1",
        (false, true) => "#fdae6b",
        (false, false) => "#e5d8bd",
    }
}

/// As much of a name as there is room for, the beginning of its path left out first.
fn label(name: &str, (x, y): (f64, f64), width: f64) -> String {
    let room = ((width - 4.0) / LETTER).max(0.0) as usize;
    if room < LETTERS_MIN {
        return String::new();
    }
    let mut name = name;
    while name.chars().count() > room
        && let Some((_, rest)) = name.split_once("::")
    {
        name = rest;
    }
    let shown: String = name.chars().take(room).collect();
    let (x, y) = (x + 2.0, y + 11.0);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(&shown))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_wide_as_its_share_and_lies_on_its_caller() {
        let script = "data 1 1: 1 e: \n\t 1 <a>::leaf+0x1 (x)\n\t 2 run+0x2 (x)\n\n\
                      data 1 1: 1 e: \n\t 2 run+0x2 (x)\n";
        let drawn = svg("one & two", &Stacks::read(script));
        assert!(drawn.contains("one &amp; two"));
        for (name, width, y) in [
            ("data: 100.0", "1200.0", "56.0"),
            ("run: 100.0", "1200.0", "41.0"),
            ("&lt;a&gt;::leaf: 50.0", "600.0", "26.0"),
        ] {
            let of = drawn.lines().find(|line| line.contains(name)).unwrap();
            assert!(of.contains(&format!("width=\"{width}\"")), "{of}");
            assert!(of.contains(&format!("y=\"{y}\"")), "{of}");
        }
    }
}
