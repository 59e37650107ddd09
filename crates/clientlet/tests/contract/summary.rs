//! The page about the cases that run on each gateway, and the cases that are skipped, with the
//! reason.

use std::fmt::Write;
use std::path::Path;

use crate::{CASES, ROWS};

#[test]
fn the_page_of_the_contract_lists_the_cases_that_run_and_why_others_are_skipped() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/expected/contract.md");
    let page = page();
    if std::env::var_os("CLIENTLET_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "CLIENTLET_BLESS=1 cargo test -p clientlet --test contract the_page_of");
}

fn page() -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let mut skipped = 0;
    let mut table = line("case", ROWS.iter().zip(1..).map(|(_, number)| number.to_string()));
    table += &line("---", ROWS.iter().map(|_| "---".to_owned()));
    for (case, needs) in CASES {
        let cells = ROWS.iter().map(|row| {
            let Some(reason) = row.why_not(needs) else { return "ran".to_owned() };
            skipped += 1;
            let known = reasons.iter().position(|known| *known == reason);
            let place = known.unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            });
            letter(place).to_string()
        });
        table += &line(&case.replace('_', " "), cells);
    }
    let all = CASES.len() * ROWS.len();
    let mut page = format!(
        "# The contract\n\n\
         {} cases on {} gateways: {} of {all} run, {skipped} are skipped for the reasons below.\n\
         Real gateways that are not installed are left out, which their tests say.\n\n",
        CASES.len(),
        ROWS.len(),
        all - skipped,
    );
    for (row, number) in ROWS.iter().zip(1..) {
        let _ = writeln!(page, "{number}. {}", row.name);
    }
    let _ = writeln!(page, "\n{table}\nSkipped, since\n");
    for (place, reason) in reasons.iter().enumerate() {
        let _ = writeln!(page, "* **{}**: {reason}", letter(place));
    }
    page
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {first} | {} |\n", cells.join(" | "))
}

/// Returns the letter of a reason; there are fewer reasons than letters.
fn letter(place: usize) -> char {
    ('a'..='z').nth(place).unwrap()
}
