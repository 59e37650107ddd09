//! Prints comparisons as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::comparison::{Comparison, Round};
use crate::cpu::Cost;
use crate::serve::Options;
use crate::statistics::Spread;

struct Contestant {
    /// The name in JSON.
    key: &'static str,
    /// The name in the table.
    title: &'static str,
    cost: fn(&Round) -> Cost,
}

const CONTESTANTS: [Contestant; 3] = [
    Contestant { key: "bare", title: "(a) bare transport", cost: |round| round.bare },
    Contestant { key: "codec", title: "(b) codec alone", cost: |round| round.codec },
    Contestant { key: "client", title: "(c) Client::post", cost: |round| round.client },
];

/// Prints a table, the ratios, and a note on the gateway.
pub(crate) fn to_text(benchmark: &str, comparisons: &[Comparison], gateway: Options) -> String {
    let mut text = format!(
        "{benchmark}{}: medians of {} rounds\n\n\
         {:<20} requests                         requests/s   CPU us/request  (min - max)\n\
         {:<20}  a round\n",
        if gateway.has_tls { " over TLS" } else { "" },
        rounds(comparisons),
        "request",
        "",
    );
    for comparison in comparisons {
        for Contestant { title, cost, .. } in &CONTESTANTS {
            let Comparison { name, requests, .. } = comparison;
            let (rate, cpu) = (comparison.rate(cost).median, comparison.cpu(cost));
            let spread = format!("({:.1} - {:.1})", cpu.min, cpu.max);
            line(
                &mut text,
                format_args!(
                    "{name:<20} {requests:>8}   {title:<19} {rate:>12.0}   {:>14.1}  {spread}",
                    cpu.median
                ),
            );
        }
    }
    text.push('\n');
    for comparison in comparisons {
        let Spread { min, median, max } = comparison.ratio();
        let name = &comparison.name;
        line(
            &mut text,
            format_args!("CPU c / (a + b), {name:<21} {median:.3}  ({min:.3} - {max:.3})"),
        );
    }
    text.push('\n');
    text.push_str(legend(gateway));
    text
}

fn legend(gateway: Options) -> &'static str {
    if gateway.awake {
        "The gateway never slept: no contestant paid for waking it, so each paid for its own work\n\
         alone. (A gateway that may sleep is woken by (c) for nearly every request, while (a) keeps\n\
         it too busy to sleep. Waking is not the client's work, but takes the client's time.)\n"
    } else {
        "The gateway slept when it had no work. Waking it counts for the contestant that had to,\n\
         which is (c) more often than (a). With --awake no contestant has to.\n"
    }
}

/// Prints the same numbers as one JSON object.
pub(crate) fn to_json(benchmark: &str, comparisons: &[Comparison], gateway: Options) -> Value {
    let sizes: Vec<Value> = comparisons.iter().map(size).collect();
    json!({
        "benchmark": benchmark,
        "rounds": rounds(comparisons),
        "awake": gateway.awake,
        "tls": gateway.has_tls,
        "sizes": sizes,
    })
}

fn size(comparison: &Comparison) -> Value {
    let mut size = json!({
        "request": comparison.name,
        "documents_per_request": comparison.documents,
        "requests": comparison.requests,
        "ratio": comparison.ratio().to_json(),
    });
    for Contestant { key, cost, .. } in &CONTESTANTS {
        size[key] = json!({
            "requests_per_s": comparison.rate(cost).to_json(),
            "cpu_us_per_request": comparison.cpu(cost).to_json(),
        });
    }
    size
}

fn rounds(comparisons: &[Comparison]) -> usize {
    comparisons.first().map_or(0, |comparison| comparison.rounds.len())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::tests::comparison;

    #[test]
    fn table_has_a_line_for_each_contestant_and_a_ratio_for_each_size() {
        let asleep = Options::default();
        let text = to_text("http", &[comparison(1), comparison(100)], asleep);
        let expected = "\
http: medians of 3 rounds

request              requests                         requests/s   CPU us/request  (min - max)
                      a round
texts: 1                   10   (a) bare transport          6250             80.0  (70.0 - 800.0)
texts: 1                   10   (b) codec alone            16667             30.0  (20.0 - 200.0)
texts: 1                   10   (c) Client::post            4167            120.0  (110.0 - 1300.0)
texts: 100                 10   (a) bare transport          6250             80.0  (70.0 - 800.0)
texts: 100                 10   (b) codec alone            16667             30.0  (20.0 - 200.0)
texts: 100                 10   (c) Client::post            4167            120.0  (110.0 - 1300.0)

CPU c / (a + b), texts: 1              1.200  (1.100 - 1.300)
CPU c / (a + b), texts: 100            1.200  (1.100 - 1.300)

The gateway slept when it had no work. Waking it counts for the contestant that had to,
which is (c) more often than (a). With --awake no contestant has to.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn json_says_the_same() {
        let json = to_json("http", &[comparison(1)], Options { awake: true, ..Options::default() });
        assert_eq!(json["rounds"], 3);
        assert_eq!((&json["awake"], &json["tls"]), (&json!(true), &json!(false)));
        assert_eq!(json["sizes"][0]["documents_per_request"], 1);
        assert_eq!(json["sizes"][0]["ratio"], json!({"min": 1.1, "median": 1.2, "max": 1.3}));
        assert_eq!(json["sizes"][0]["codec"]["cpu_us_per_request"]["median"], 30.0);
    }
}
