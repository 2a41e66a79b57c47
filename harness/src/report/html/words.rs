//! Small words of a page: numbers, marks of verdicts, and paragraphs of Markdown.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::oracle::Verdict;

/// A verdict as one letter, for those who cannot tell colours apart.
pub(super) fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "✓",
        Verdict::Leaked => "K",
        Verdict::Wedged => "W",
        Verdict::Repeated => "R",
        Verdict::Early => "E",
        Verdict::Duplicated => "D",
        Verdict::FalseOk => "F",
        Verdict::Phantom => "P",
        Verdict::Lost => "L",
        Verdict::Undurable => "U",
        Verdict::Undead => "Z",
    }
}

/// `68,247`.
pub(super) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Markdown as an author writes it about a scenario: paragraphs, lists, code, emphasis. Markup in it is shown,
/// not obeyed, and links and images are their text.
pub(super) fn markdown(text: &str) -> Markup {
    let mut html = String::new();
    for event in Parser::new(text) {
        match event {
            Event::Start(tag) => html.push_str(&tagged("<", element(&tag))),
            Event::End(tag) => html.push_str(&tagged("</", element_end(&tag))),
            Event::Code(code) => {
                html.push_str("<code>");
                escape(&mut html, &code);
                html.push_str("</code>");
            }
            Event::SoftBreak | Event::HardBreak => html.push(' '),
            Event::Rule => html.push_str("<hr/>"),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                escape(&mut html, &text);
            }
            // What needs an extension that is not asked for.
            _ => {}
        }
    }
    PreEscaped(html)
}

fn tagged(open: &str, name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!("{open}{name}>"))
}

fn element(tag: &Tag<'_>) -> Option<&'static str> {
    element_end(&tag.to_end())
}

fn element_end(tag: &TagEnd) -> Option<&'static str> {
    Some(match tag {
        TagEnd::Paragraph | TagEnd::HtmlBlock => "p",
        // The page has headings of its own.
        TagEnd::Heading(_) => "h4",
        TagEnd::BlockQuote(_) => "blockquote",
        TagEnd::CodeBlock => "pre",
        TagEnd::List(true) => "ol",
        TagEnd::List(false) => "ul",
        TagEnd::Item => "li",
        TagEnd::Emphasis => "em",
        TagEnd::Strong => "strong",
        _ => return None,
    })
}

fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups_of_three() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(thousands(n), text);
        }
    }

    #[test]
    fn markdown_is_read_and_markup_is_shown() {
        for (text, html) in [
            (
                "**Holds** for `a < b`.\nOnce.",
                "<p><strong>Holds</strong> for <code>a &lt; b</code>. Once.</p>",
            ),
            (
                "a <b onclick=\"x\">c</b>",
                "<p>a &lt;b onclick=&quot;x&quot;&gt;c&lt;/b&gt;</p>",
            ),
            (
                "<script>alert(1)</script>",
                "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
            ),
            ("[there](https://example.org) ![i](x.png)", "<p>there i</p>"),
            ("- one\n- two", "<ul><li>one</li><li>two</li></ul>"),
        ] {
            assert_eq!(markdown(text).into_string(), html);
        }
    }

    #[test]
    fn no_two_verdicts_have_the_same_mark() {
        let mut marks = Verdict::ALL.map(mark);
        marks.sort_unstable();
        assert!(marks.windows(2).all(|pair| pair[0] != pair[1]), "{marks:?}");
    }
}
