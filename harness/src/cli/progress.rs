//! Progress on standard error, where that is a terminal; nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::explore::Progress;

/// A bar for so many scenarios, each with its schedules.
pub(super) struct Bar {
    bar: ProgressBar,
    scenarios: usize,
}

impl Bar {
    pub(super) fn new(scenarios: usize) -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(
            "{prefix}{wide_bar:.dim}  {human_pos} of {human_len} {msg}",
        );
        // A template that does not parse would be ours, and plain progress does as well.
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Bar { bar, scenarios }
    }

    /// The turn of the scenario with this index.
    pub(super) fn begin(&self, index: usize, name: &str) {
        if self.scenarios > 1 {
            self.bar
                .set_prefix(format!("{}/{} ", index + 1, self.scenarios));
        }
        self.bar.set_message(name.to_owned());
        self.bar.set_length(0);
        self.bar.set_position(0);
    }

    pub(super) fn show(&self, progress: Progress) {
        self.bar.set_message(progress.stage);
        self.bar.set_length(progress.total as u64);
        self.bar.set_position(progress.done as u64);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
