//! A run as a sequence diagram: time runs downwards, messages across.
//!
//! `facts` says what arrived and whose it was, `story` what there is to draw, `draw` where it stands.

mod facts;
mod story;
mod draw;

use maud::Markup;

use crate::replay::Trace;
use story::Story;

/// The diagram of a run; `id` is what its title and its description are called after.
pub(super) fn diagram(trace: &Trace, id: &str, title: &str, description: &str) -> Markup {
    draw::svg(&Story::of(trace), id, title, description)
}
