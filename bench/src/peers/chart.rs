//! Draws the CPU time for a request as bars, for the README.

use std::fmt::Write as _;

use super::report::Row;

const WIDTH: f64 = 760.0;
/// The left end of all bars, and the space for the number after the longest bar.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 150.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const GAP: f64 = 12.0;
const TOP: f64 = 44.0;

/// The text is in a grey that is readable on white, and in a lighter grey if the reader's system
/// prefers dark.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#57606a}.t{font-weight:600}\
    .p{fill:#8c959f}.c{fill:#1a7f37}\
    @media(prefers-color-scheme:dark){text{fill:#c9d1d9}.p{fill:#6e7681}.c{fill:#3fb950}}";

/// Draws one group for each protocol. A group has each of Jina's releases, and our client measured
/// beside the release.
pub(super) fn draw(rows: &[Row]) -> String {
    let mut protocols: Vec<&str> = Vec::new();
    for row in rows {
        if !protocols.contains(&row.protocol) {
            protocols.push(row.protocol);
        }
    }
    let most = rows.iter().map(|row| row.theirs.cpu()).fold(1.0, f64::max);
    let mut body = String::new();
    let mut y = TOP;
    for protocol in protocols {
        for row in rows.iter().filter(|row| row.protocol == protocol) {
            let behind = format!(", {:.0} times less", row.ratio());
            for (run, class, behind) in [(&row.theirs, "p", ""), (&row.ours, "c", &*behind)] {
                let length = (run.cpu() / most * (WIDTH - LEFT - RIGHT)).max(1.0);
                let (middle, x) = (y + 12.5, LEFT + length + 6.0);
                writeln!(
                    body,
                    "<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{protocol}, {}</text>\
                     <rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" \
                     height=\"{BAR:.0}\"/>\
                     <text x=\"{x:.1}\" y=\"{middle:.1}\">{}{behind}</text>",
                    LEFT - 8.0,
                    run.client,
                    number(run.cpu()),
                )
                .expect("writing to a string cannot fail");
                y += STEP;
            }
        }
        y += GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {y:.0}\" role=\"img\" \
         aria-label=\"CPU time of the client for a request of one document\">\n\
         <style>{STYLE}</style>\n\
         <text class=\"t\" x=\"8\" y=\"22\">CPU time of the client for a request of one document, \
         in microseconds</text>\n{body}</svg>\n"
    )
}

/// Prints small numbers with a digit after the point, large numbers with commas.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::row;
    use super::*;

    #[test]
    fn every_client_has_a_bar_and_a_number() {
        let svg = draw(&[row("HTTP", "3.14.1", 250.0), row("HTTP", "3.33.1", 2.0)]);
        assert_eq!(svg.matches("<rect").count(), 4);
        assert!(svg.contains(">2,500<"), "{svg}");
        assert!(svg.contains(">10.0, 250 times less<"), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
