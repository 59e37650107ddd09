//! Makes foreign text safe for messages: a gateway, a proxy or a document may contain any text of
//! any length.

use std::fmt::Display;

/// The maximum number of characters of foreign text that a message repeats.
pub(crate) const MOST_CHARACTERS: usize = 300;

/// The maximum number of characters in a message.
pub(crate) const MOST_OF_A_MESSAGE: usize = 4096;

/// Shortens foreign text to one line of at most [`MOST_CHARACTERS`], with control characters
/// escaped.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(text, MOST_CHARACTERS)
}

/// Shortens another crate's message, which may repeat foreign text of any length.
pub(crate) fn told(what: &impl Display) -> String {
    shorten(&what.to_string())
}

/// Shortens text to `most` characters, not counting the characters of escapes.
pub(crate) fn shorten_to(text: &str, most: usize) -> String {
    let text = text.trim();
    let mut characters = text.chars();
    let mut short = String::with_capacity(text.len().min(most));
    characters.by_ref().take(most).for_each(|character| put(character, &mut short));
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

/// Lists as many foreign names as fit.
pub(crate) fn listed(names: &[String]) -> String {
    let mut shown = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            shown.push_str(", ");
        }
        if shown.len() >= MOST_OF_A_LIST {
            shown.push_str(&format!("and {} more", names.len() - index));
            break;
        }
        shown.push_str(&shorten(name));
    }
    shown
}

/// The size in bytes at which a list takes no more names.
const MOST_OF_A_LIST: usize = 1000;

/// Puts a message on one line. At most [`MOST_OF_A_MESSAGE`] of its characters are kept; escapes
/// make the line longer.
pub(crate) fn one_line(text: String) -> String {
    if text.len() <= MOST_OF_A_MESSAGE && !text.contains(is_unruly) {
        return text;
    }
    shorten_to(&text, MOST_OF_A_MESSAGE)
}

fn put(character: char, out: &mut String) {
    match character {
        '\n' | '\r' | '\t' => out.push(' '),
        unruly if is_unruly(unruly) => out.extend(unruly.escape_unicode()),
        plain => out.push(plain),
    }
}

/// Whether a terminal would act on the character instead of showing it: control characters,
/// Unicode's line ends, and characters that are invisible or change the direction of the text after
/// them.
fn is_unruly(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_cut_kept_on_one_line_and_does_nothing_to_a_terminal() {
        let table = [
            (" plain \n", "plain"),
            ("two\r\nlines\tand a tab", "two  lines and a tab"),
            ("\u{1b}[31mred\u{7}\u{9b}0m", "\\u{1b}[31mred\\u{7}\\u{9b}0m"),
            ("turned \u{202e}round\u{2069}", "turned \\u{202e}round\\u{2069}"),
            ("in\u{200b}visible\u{feff}", "in\\u{200b}visible\\u{feff}"),
            ("문서 → é", "문서 → é"),
        ];
        for (text, expected) in table {
            assert_eq!(shorten(text), expected);
        }
        let long = shorten(&"é".repeat(MOST_CHARACTERS + 1));
        assert_eq!(long, format!("{}…", "é".repeat(MOST_CHARACTERS)));
        let whole = "é".repeat(MOST_CHARACTERS);
        assert_eq!(shorten(&whole), whole);
    }

    #[test]
    fn a_long_list_of_names_is_cut_and_says_how_many_are_left() {
        let names =
            |count: usize| -> Vec<String> { (0..count).map(|n| format!("/{n:04}")).collect() };
        assert_eq!(listed(&names(3)), "/0000, /0001, /0002");
        let long = listed(&names(100_000));
        assert!(long.len() < 1100 && long.ends_with(", and 99857 more"), "{long}");
        assert!(listed(&["x".repeat(1 << 20), "\u{1b}".into()]).len() < 400);
    }

    #[test]
    fn the_length_of_a_message_is_bounded() {
        let long = one_line("x".repeat(10 << 20));
        assert_eq!(long.chars().count(), MOST_OF_A_MESSAGE + 1);
        assert_eq!(one_line("as it was".to_owned()), "as it was");
        assert_eq!(one_line("a\u{1b}b".to_owned()), "a\\u{1b}b");
    }
}
