//! Reads the links and anchors of a Markdown file.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use pulldown_cmark::{BrokenLink, Event, LinkType, Options, Parser, Tag, TagEnd};

/// The links and anchors of one file.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) links: Vec<Link>,
    /// What a link may name after `#`.
    pub(crate) anchors: HashSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The line of the link, from 1.
    pub(crate) line: usize,
    pub(crate) target: Target,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The address as it is written.
    Address(String),
    /// `[text][label]` with an undefined label, so that readers see the brackets.
    Undefined { label: String },
}

pub(crate) fn read(text: &str) -> Document {
    let mut undefined = Vec::new();
    let mut note_undefined = |link: BrokenLink<'_>| {
        // A single word in brackets need not be a link.
        if link.link_type == LinkType::Reference {
            undefined.push((link.span, link.reference.into_string()));
        }
        None
    };
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_GFM;
    let parser = Parser::new_with_broken_link_callback(text, options, Some(&mut note_undefined));

    let mut reader = Reader { text, document: Document::default(), slugs: Slugs::default() };
    reader.read(parser.into_offset_iter());
    let Reader { mut document, .. } = reader;
    document.links.extend(undefined.into_iter().map(|(span, label)| Link {
        line: line_of(text, span.start),
        target: Target::Undefined { label },
    }));
    document
}

struct Reader<'a> {
    text: &'a str,
    document: Document,
    slugs: Slugs,
}

impl<'a> Reader<'a> {
    fn read(&mut self, events: impl Iterator<Item = (Event<'a>, Range<usize>)>) {
        // The text so far of the heading that is being read.
        let mut heading: Option<String> = None;
        for (event, span) in events {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let words = heading.take().unwrap_or_default();
                    self.document.anchors.insert(self.slugs.next(&words));
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    self.link(&span, &dest_url);
                }
                Event::Html(html) | Event::InlineHtml(html) => self.html(&span, &html),
                _ => {}
            }
        }
    }

    fn html(&mut self, span: &Range<usize>, html: &str) {
        for name in ["href", "src"] {
            for address in attributes(html, name) {
                self.link(span, address);
            }
        }
        for name in ["id", "name"] {
            self.document.anchors.extend(attributes(html, name).map(str::to_owned));
        }
    }

    fn link(&mut self, span: &Range<usize>, address: &str) {
        let line = line_of(self.text, span.start);
        self.document.links.push(Link { line, target: Target::Address(address.to_owned()) });
    }
}

/// The values of an attribute in double quotes.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let opening = format!(" {name}=\"");
    let mut rest = html;
    std::iter::from_fn(move || {
        let begin = rest.find(&opening)? + opening.len();
        let (value, after) = rest[begin..].split_once('"')?;
        rest = after;
        Some(value)
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

/// Makes the anchors of headings as GitHub does.
#[derive(Debug, Default)]
struct Slugs {
    /// The number of times that each anchor was made.
    made: HashMap<String, usize>,
}

impl Slugs {
    fn next(&mut self, heading: &str) -> String {
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|letter| match letter {
                ' ' | '-' => Some('-'),
                letter => (letter.is_alphanumeric() || letter == '_').then_some(letter),
            })
            .collect();
        let before = self.made.entry(slug.clone()).or_default();
        *before += 1;
        match *before - 1 {
            0 => slug,
            again => format!("{slug}-{again}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<(usize, String)> {
        let address = |Link { line, target }| match target {
            Target::Address(address) => (line, address),
            Target::Undefined { label } => (line, format!("undefined {label}")),
        };
        read(text).links.into_iter().map(address).collect()
    }

    #[test]
    fn links_of_every_form_are_found_with_their_lines() {
        let text = "\
[one](a.md) and ![two](b.png)
and [three][label], [label], <https://example.org/>

[label]: c.md#part \"title\"

<a href=\"d.md\">four</a>

| table |
| ----- |
| [five](e.md) |
";
        let expected = [
            (1, "a.md"),
            (1, "b.png"),
            (2, "c.md#part"),
            (2, "c.md#part"),
            (2, "https://example.org/"),
            (6, "d.md"),
            (10, "e.md"),
        ];
        let expected = expected.map(|(line, address)| (line, address.to_owned()));
        assert_eq!(addresses(text), expected);
    }

    #[test]
    fn text_that_only_looks_like_a_link_is_not_one() {
        for text in [
            "`[code](a.md)`",
            "```\n[code](a.md)\n```",
            "bench [ARGS]",
            "an array: [1, 2] (two)",
            "- [x] done",
        ] {
            assert_eq!(addresses(text), [], "{text}");
        }
    }

    #[test]
    fn undefined_label_is_reported() {
        assert_eq!(addresses("\n[words][labl]"), [(2, "undefined labl".to_owned())]);
    }

    #[test]
    fn headings_become_anchors_as_on_github() {
        for (heading, anchor) in [
            ("# Try it", "try-it"),
            ("## What is *guaranteed*?", "what-is-guaranteed"),
            ("### `Client::post`, v2_x", "clientpost-v2_x"),
            ("# A - b", "a---b"),
            ("Über\n===", "über"),
            ("# [Linked](a.md) heading", "linked-heading"),
            ("text <a id=\"here\"></a>", "here"),
        ] {
            let anchors = read(heading).anchors;
            assert!(anchors.contains(anchor), "{heading}: {anchors:?}");
        }
    }

    #[test]
    fn headings_of_one_name_are_numbered() {
        let anchors = read("# Same\n# Same\n# Same\n").anchors;
        let expected = ["same", "same-1", "same-2"].map(str::to_owned);
        assert_eq!(anchors, HashSet::from(expected));
    }
}
