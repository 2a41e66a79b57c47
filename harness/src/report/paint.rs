//! Colours, for text that is finished: the words of verdicts and what is made of them.

use owo_colors::OwoColorize;

use crate::oracle::Verdict;

/// Paints each word that is a verdict, and what the scenario did not foresee.
pub(crate) fn verdicts(text: &str) -> String {
    let mut painted = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(in_word) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !in_word(c)).unwrap_or(from.len()));
        painted.push_str(before);
        painted.push_str(&paint(word));
        rest = after;
    }
    painted.push_str(rest);
    painted
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+')
}

fn paint(word: &str) -> String {
    let failing = || {
        Verdict::ALL
            .into_iter()
            .find(|verdict| verdict.name().to_uppercase() == word)
    };
    match word {
        "ok" => word.green().to_string(),
        "unexpected" => word.red().bold().to_string(),
        word => match failing() {
            Some(Verdict::Ok) | None => word.to_owned(),
            Some(verdict) if verdict.is_liveness() => word.yellow().to_string(),
            Some(_) => word.red().to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_painted() {
        assert_eq!(
            verdicts("ok 3, LOST 2, FALSE-OK 1; token_ok kill@ok.start+1 WEDGED"),
            "\u{1b}[32mok\u{1b}[39m 3, \u{1b}[31mLOST\u{1b}[39m 2, \u{1b}[31mFALSE-OK\u{1b}[39m 1; \
             token_ok kill@ok.start+1 \u{1b}[33mWEDGED\u{1b}[39m"
        );
    }
}
