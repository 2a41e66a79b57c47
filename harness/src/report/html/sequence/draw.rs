//! The drawing: where each row of a story stands, as SVG.
//!
//! Everything stands on whole pixels, and text is monospaced, so that what fits can be counted.
//! Colours come from the page's style sheet.

use maud::{Markup, html};

use super::story::{Lifeline, Shape, Story};
use crate::report::describe::{Lane, milliseconds};

/// How wide a character is, in tenths of a pixel; monospaced fonts at this size are at most that wide.
const CHAR_TENTHS: usize = 67;
/// From one line of text to the next.
const LINE: i32 = 15;
/// Where the times end.
const GUTTER: i32 = 46;
/// From the times to the first lifeline.
const MARGIN: i32 = 42;
/// The heads of the lifelines.
const HEAD: i32 = 30;
/// The bar of a COMMIT.
const BAR: i32 = 10;

/// Draws a story.
pub(super) fn svg(story: &Story, id: &str, title: &str, description: &str) -> Markup {
    let plan = Layout::of(story);
    let (width, height) = (plan.width, plan.height);
    html! {
        svg class="sequence" role="img" aria-labelledby={ (id) ".title " (id) ".desc" }
            viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
            {
            title id={ (id) ".title" } { (title) }
            desc id={ (id) ".desc" } { (description) }
            g class="lives" {
                @for life in &plan.lives {
                    line x1=(life.x) y1=(life.from) x2=(life.x) y2=(life.to) {}
                }
            }
            g class="bars" {
                @for bar in &plan.bars {
                    rect x=(bar.x - BAR / 2) y=(bar.from) width=(BAR) height=(bar.to - bar.from) rx="2" {}
                }
            }
            @for (index, lifeline) in story.lifelines.iter().enumerate() {
                (head(lifeline, plan.x(index), plan.spacing))
            }
            @for placed in &plan.placed {
                (plan.row(placed))
            }
        }
    }
}

fn head(lifeline: &Lifeline, x: i32, spacing: i32) -> Markup {
    let class = match lifeline.lane {
        Lane::Process => "head process",
        Lane::Server => "head server",
        Lane::Broker => "head broker",
    };
    let width = (text_width(&lifeline.title) + 24).min(spacing - 8).max(64);
    html! {
        g class=(class) {
            rect x=(x - width / 2) y="2" width=(width) height=(HEAD - 6) rx="5" {}
            text x=(x) y=(HEAD - 12) text-anchor="middle" { (lifeline.title) }
        }
    }
}

/// A row and where it stands.
struct Placed<'s> {
    shape: &'s Shape,
    /// The time, where it differs from that of the row above.
    at: Option<String>,
    y: i32,
    /// Its text, in lines.
    lines: Vec<String>,
    /// Whether steps of the same COMMIT stand above.
    goes_on: bool,
}

/// A stretch of a vertical line.
struct Stretch {
    x: i32,
    from: i32,
    to: i32,
}

struct Layout<'s> {
    spacing: i32,
    width: i32,
    height: i32,
    placed: Vec<Placed<'s>>,
    lives: Vec<Stretch>,
    bars: Vec<Stretch>,
}

impl<'s> Layout<'s> {
    fn of(story: &'s Story) -> Layout<'s> {
        let count = story.lifelines.len().max(1) as i32;
        let spacing = match count {
            ..=3 => 270,
            // All of it is to be seen at once on a wide screen.
            count => (1060 / count).max(148),
        };
        let mut layout = Layout {
            spacing,
            width: GUTTER + MARGIN + spacing * count,
            height: 0,
            placed: Vec::new(),
            lives: Vec::new(),
            bars: Vec::new(),
        };
        let mut y = HEAD + 12;
        let mut last = None;
        let mut commits: Vec<(usize, u64)> = Vec::new();
        for row in &story.rows {
            let goes_on = matches!(&row.what, Shape::Steps { on, commit, .. } if commits.contains(&(*on, *commit)));
            if let Shape::Steps { on, commit, .. } = &row.what {
                commits.push((*on, *commit));
            }
            let at = row.at.filter(|at| last != Some(*at));
            last = row.at.or(last);
            // A little air where time goes on.
            if at.is_some() && !layout.placed.is_empty() {
                y += 5;
            }
            let lines = layout.lines(&row.what);
            let height = height(&row.what, lines.len(), goes_on);
            layout.placed.push(Placed {
                shape: &row.what,
                at: at.map(milliseconds),
                y,
                lines,
                goes_on,
            });
            y += height;
        }
        layout.height = y + 10;
        layout.lives = layout.lives(story);
        layout.bars = layout.bars();
        layout
    }

    /// Where a lifeline stands.
    fn x(&self, index: usize) -> i32 {
        GUTTER + MARGIN + self.spacing * index as i32
    }

    /// A row's text, in lines that fit beside its lifeline.
    fn lines(&self, shape: &Shape) -> Vec<String> {
        let beside = chars(self.spacing - 22);
        match shape {
            Shape::Note { text, verdict, .. } => match verdict {
                Some(verdict) => {
                    let mut lines = wrapped(text, beside);
                    lines.push(verdict.to_uppercase());
                    lines
                }
                None => wrapped(text, beside),
            },
            Shape::Start { text, .. } | Shape::End { text, .. } | Shape::Unreached { text, .. } => {
                wrapped(text, beside)
            }
            Shape::Message { text, .. } => vec![text.clone()],
            Shape::Steps { steps, .. } => steps.iter().map(ToString::to_string).collect(),
            Shape::Strike { kind, point, .. } => vec![kind.clone(), format!("@{point}")],
            Shape::Across(text) => vec![text.clone()],
        }
    }

    /// The stretches in which lifelines live.
    fn lives(&self, story: &Story) -> Vec<Stretch> {
        let mut lives = Vec::new();
        for index in 0..story.lifelines.len() {
            let x = self.x(index);
            let begins_here = |placed: &&Placed<'_>| match placed.shape {
                Shape::Start { on, .. } => Some(*on == index),
                Shape::End { on, .. } if *on == index => Some(false),
                _ => None,
            } == Some(true);
            let first = self.placed.iter().find(|placed| {
                matches!(placed.shape, Shape::Start { on, .. } | Shape::End { on, .. } if *on == index)
            });
            // It was there before, unless it is seen to begin.
            let mut from = match first.filter(begins_here) {
                Some(_) => None,
                None => Some(HEAD - 4),
            };
            for placed in &self.placed {
                match placed.shape {
                    Shape::Start { on, .. } if *on == index => from = from.or(Some(placed.y + 6)),
                    Shape::End { on, .. } if *on == index => {
                        if let Some(from) = from.take() {
                            lives.push(Stretch {
                                x,
                                from,
                                to: placed.y + 9,
                            });
                        }
                    }
                    _ => {}
                }
            }
            if let Some(from) = from {
                lives.push(Stretch {
                    x,
                    from,
                    to: self.height - 4,
                });
            }
        }
        lives
    }

    /// The bars of COMMITs: from the first step to the last.
    fn bars(&self) -> Vec<Stretch> {
        let mut bars: Vec<((usize, u64), Stretch)> = Vec::new();
        for placed in &self.placed {
            let Shape::Steps { on, commit, .. } = placed.shape else {
                continue;
            };
            let from = placed.y;
            let to = placed.y + height(placed.shape, placed.lines.len(), placed.goes_on) - 3;
            match bars.iter_mut().find(|(of, _)| *of == (*on, *commit)) {
                Some((_, bar)) => bar.to = to,
                None => bars.push((
                    (*on, *commit),
                    Stretch {
                        x: self.x(*on),
                        from,
                        to,
                    },
                )),
            }
        }
        bars.into_iter().map(|(_, bar)| bar).collect()
    }

    fn row(&self, placed: &Placed<'_>) -> Markup {
        let y = placed.y;
        html! {
            @if let Some(at) = &placed.at {
                @let middle = if matches!(placed.shape, Shape::Message { .. }) { y + 24 } else { y + 11 };
                text class="time" x=(GUTTER) y=(middle) text-anchor="end" { (at) }
            }
            @match placed.shape {
                Shape::Message { from, to, answer, lost, .. } => {
                    (self.message(placed, (*from, *to), *answer, *lost))
                }
                Shape::Note { on, verdict, .. } => {
                    (note(placed, self.x(*on), verdict.is_some()))
                }
                Shape::Start { on, .. } => {
                    g class="start" {
                        circle cx=(self.x(*on)) cy=(y + 6) r="3.5" {}
                        (words(placed, self.x(*on) + 11, 0))
                    }
                }
                Shape::End { on, .. } => {
                    g class="end" {
                        (cross(self.x(*on), y + 8, 5))
                        (words(placed, self.x(*on) + 11, 0))
                    }
                }
                Shape::Unreached { on, .. } => {
                    g class="unreached" { (words(placed, self.x(*on) + 14, 0)) }
                }
                Shape::Steps { on, commit, .. } => {
                    (steps(placed, self.x(*on), *commit))
                }
                Shape::Strike { on, and, .. } => {
                    (self.strike(placed, *on, *and))
                }
                Shape::Across(text) => {
                    text class="across" x=(GUTTER + MARGIN + 11) y=(y + 12) { (text) }
                }
            }
        }
    }

    fn message(
        &self,
        placed: &Placed<'_>,
        (from, to): (usize, usize),
        answer: bool,
        lost: bool,
    ) -> Markup {
        let (start, end) = (self.x(from), self.x(to));
        let way = (end - start).signum();
        let y = placed.y + 20;
        // A lost message ends in the gap next to where it began.
        let tip = match lost {
            true => start + way * (self.spacing * 11 / 20),
            false => end - way,
        };
        // The words stand in the gap next to the process, so that they cross no lifeline.
        let near = if answer { (end, -way) } else { (start, way) };
        let middle = near.0 + near.1 * self.spacing / 2;
        let class = match (answer, lost) {
            (false, false) => "message",
            (true, false) => "message answer",
            (false, true) => "message broken",
            (true, true) => "message answer broken",
        };
        html! {
            g class=(class) {
                line x1=(start + way * 2) y1=(y) x2=(tip - way * 6) y2=(y) {}
                @if lost {
                    (cross(tip - way * 2, y, 4))
                } @else {
                    path d={ "M" (tip) " " (y) "l" (-8 * way) " -4v8z" } {}
                }
                text x=(middle) y=(y - 5) text-anchor="middle" { (placed.lines[0]) }
            }
        }
    }

    /// A fault: a mark where it strikes, its name, and its point.
    fn strike(&self, placed: &Placed<'_>, on: usize, and: Option<usize>) -> Markup {
        let y = placed.y;
        let widths = placed.lines.iter().map(|line| text_width(line));
        let width = widths.max().unwrap_or(0);
        let x = match and {
            // In the middle of the gap next to the process.
            Some(and) => {
                let (a, b) = (self.x(on), self.x(and));
                a + (b - a).signum() * self.spacing / 2 - (width + 16) / 2
            }
            None => self.x(on),
        };
        // To the right of its mark, or to the left where the page ends.
        let left = match x + 16 + width + 10 > self.width {
            true => (self.width - width - 12).max(4),
            false => x + 16,
        };
        html! {
            g class="strike" {
                rect x=(left - 5) y=(y + 1) width=(width + 10) height="34" rx="4" {}
                circle cx=(x) cy=(y + 12) r="8" {}
                (cross(x, y + 12, 4))
                text class="kind" x=(left) y=(y + 15) { (placed.lines[0]) }
                text x=(left) y=(y + 29) { (placed.lines[1]) }
            }
        }
    }
}

fn note(placed: &Placed<'_>, x: i32, found: bool) -> Markup {
    html! {
        @if found {
            @let width = placed.lines.iter().map(|line| text_width(line)).max().unwrap_or(0);
            g class="finding" {
                rect x=(x + 8) y=(placed.y) width=(width + 24) height=(placed.lines.len() as i32 * LINE + 5) rx="4" {}
                path d={ "M" (x) " " (placed.y + 8) "l8 -4v8z" } {}
                (words(placed, x + 20, 2))
            }
        } @else {
            g class="note" {
                circle cx=(x) cy=(placed.y + 7) r="2.5" {}
                (words(placed, x + 11, 0))
            }
        }
    }
}

/// Steps of a COMMIT, each with its tick; the first ones below the COMMIT's name.
fn steps(placed: &Placed<'_>, x: i32, commit: u64) -> Markup {
    let top = placed.y + if placed.goes_on { 0 } else { LINE };
    html! {
        g class="steps" {
            @if !placed.goes_on {
                text class="commit" x=(x + 14) y=(placed.y + 11) { "COMMIT " (commit) }
            }
            @for (index, step) in placed.lines.iter().enumerate() {
                @let y = top + index as i32 * 13;
                @let class = if matches!(&**step, "flushed" | "visible") { "step turn" } else { "step" };
                line x1=(x - BAR / 2) y1=(y + 7) x2=(x + BAR / 2 + 4) y2=(y + 7) {}
                text class=(class) x=(x + 14) y=(y + 11) { (step) }
            }
        }
    }
}

fn words(placed: &Placed<'_>, x: i32, down: i32) -> Markup {
    html! {
        @for (index, line) in placed.lines.iter().enumerate() {
            text x=(x) y=(placed.y + down + 11 + index as i32 * LINE) { (line) }
        }
    }
}

fn cross(x: i32, y: i32, half: i32) -> Markup {
    let whole = 2 * half;
    html! {
        path class="cross" d={ "M" (x - half) " " (y - half) "l" (whole) " " (whole) "m" (-whole) " 0l" (whole) " " (-whole) } {}
    }
}

fn height(shape: &Shape, lines: usize, goes_on: bool) -> i32 {
    let lines = lines as i32;
    match shape {
        Shape::Message { .. } => 27,
        Shape::Note {
            verdict: Some(_), ..
        } => lines * LINE + 12,
        Shape::Note { .. } | Shape::Start { .. } | Shape::End { .. } | Shape::Unreached { .. } => {
            lines * LINE + 4
        }
        Shape::Steps { .. } => lines * 13 + if goes_on { 5 } else { LINE + 5 },
        Shape::Strike { .. } => 42,
        Shape::Across(_) => 24,
    }
}

fn text_width(text: &str) -> i32 {
    (text.chars().count() * CHAR_TENTHS / 10) as i32 + 1
}

/// How many characters fit.
fn chars(width: i32) -> usize {
    width.max(0) as usize * 10 / CHAR_TENTHS
}

/// So many lines of a note are shown.
const LINES_MAX: usize = 3;

/// A text in lines of so many characters, of which a few are shown.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        // A word longer than a line is broken where it must be.
        let letters: Vec<char> = word.chars().collect();
        for part in letters.chunks(width.max(1)) {
            let part: String = part.iter().collect();
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + part.chars().count() <= width => {
                    line.push(' ');
                    line.push_str(&part);
                }
                _ => lines.push(part),
            }
        }
    }
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        if let Some(last) = lines.last_mut() {
            let kept: String = last.chars().take(width.saturating_sub(1)).collect();
            *last = format!("{kept}…");
        }
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_long_ones_broken() {
        for (text, width, lines) in [
            ("commit 1 of job 1", 9, &["commit 1", "of job 1"][..]),
            ("abcdefghij k", 4, &["abcd", "efgh", "ij k"]),
            ("a b c d e f g h", 3, &["a b", "c d", "e …"]),
            ("", 9, &[""]),
        ] {
            assert_eq!(wrapped(text, width), lines, "{text}");
        }
    }
}
