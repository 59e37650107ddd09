//! A URL, alone and with a password between its two halves. A zero byte separates the halves.
#![no_main]

use clientlet::clientlets::{ClientletOptions, HttpClientlet};
use clientlet::{Client, Error};
use clientlet_fuzz::check_error;
use libfuzzer_sys::fuzz_target;

const PASSWORD: &str = "pass-w0rd";

fuzz_target!(|input: &str| {
    show(input);
    let Some((before, behind)) = input.split_once('\0') else { return };
    // After a slash the text would be part of the path and not a password.
    let authority = before.split_once("://").map_or(before, |(_, authority)| authority);
    if !authority.contains(['/', '?', '#']) {
        let shown = show(&format!("{before}{PASSWORD}@{behind}"));
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
});

/// All texts that show a URL.
fn show(url: &str) -> String {
    let clientlet = HttpClientlet::new(url, &ClientletOptions::new())
        .map(|clientlet| format!("{} {clientlet:?}", clientlet.url()));
    let client = Client::builder(url).build().map(|client| format!("{client:?}"));
    let builder = format!("{:?}", Client::builder(url));
    format!("{} {} {builder}", told(clientlet), told(client))
}

fn told(result: Result<String, Error>) -> String {
    result.unwrap_or_else(|error| {
        check_error(&error);
        format!("{error} {error:?}")
    })
}
