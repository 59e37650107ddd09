//! The command's input: every line that is not blank is a document or an error with the line's number,
//! whatever the other lines are.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/clientlet-cli/src/foreign.rs"]
mod foreign;
#[path = "../../crates/clientlet-cli/src/lines.rs"]
mod lines;

/// Short, so that the fuzzer's small inputs exceed it.
const LONGEST_LINE: usize = 64;

fuzz_target!(|input: &[u8]| {
    // The input comes in two blocks.
    let mut lines = lines::Lines::new(LONGEST_LINE);
    let (first, second) = input.split_at(input.len() / 2);
    let mut read = lines.push(first);
    if !read.iter().any(lines::Line::is_end) {
        read.extend(lines.push(second));
    }
    if !read.iter().any(lines::Line::is_end) {
        read.extend(lines.finish());
    }
    if read.iter().any(lines::Line::is_end) {
        // The input is not text.
        return;
    }
    assert!(read.is_sorted_by(|a, b| a.number < b.number));
    let input = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
    let given: Vec<_> = input.split(|&byte| byte == b'\n').collect();
    for line in &read {
        let text = given[usize::try_from(line.number - 1).expect("few lines")];
        // The command accepts a form feed around a document; JSON does not.
        let trimmed = text.trim_ascii();
        match &line.content {
            Ok(document) => {
                let read =
                    serde_json::from_slice::<serde_json::Value>(trimmed).expect("a document");
                assert!(read.is_object() && read == *document);
            }
            Err(bad) => {
                assert!(!bad.is_last && !bad.what.contains(char::is_control), "{}", bad.what);
                assert!(bad.column.is_none_or(|column| (1..=text.len() + 1).contains(&column)));
            }
        }
    }
    let blank = given.iter().filter(|line| line.trim_ascii().is_empty()).count();
    assert!(read.len() + blank >= given.len(), "no line is lost");
});
