//! How deeply a text is nested, told from its tokens before it is parsed.
//!
//! Parser, planner and executor are recursive, and a stack is 2 MiB by Rust's default. So what would
//! nest deeper than [`DEPTH_MAX`] is refused with the words PostgreSQL has for its own limit
//! (`check_stack_depth`). It is counted in units of about 5 KiB of the deepest of those stacks,
//! without optimisation: a parenthesis or a call is one, and so is each operator of a chain
//! (`a || b || c`) that leans to one side; a join, an operand of UNION and a query within an
//! expression are several. AND and OR are none, for of them there is one list. What is counted is
//! an upper bound: sums along the brackets that are open.

use squawk_lexer::{Token, TokenKind as T, tokenize};

use crate::error::{PgError, SqlState};

/// The sum at which a text is nested too deeply: 300 parentheses, 300 operators in a chain, 60
/// queries within each other, 150 joins in a row, 150 operands of UNION.
pub(crate) const DEPTH_MAX: usize = 300;

const SUBQUERY: usize = 4;
const JOIN: usize = 2;
const SET_OPERATION: usize = 2;
const CASE: usize = 1;

/// A bracket that is open, or a CASE.
struct Level {
    /// What closes it.
    closing: Closing,
    /// What it and its queries are worth.
    own: usize,
    joins: usize,
    set_operations: usize,
    /// Operators since the last comma or clause.
    chain: usize,
    /// AND is the other half of BETWEEN.
    between: bool,
}

#[derive(PartialEq, Eq)]
enum Closing {
    Paren,
    Bracket,
    End,
    Nothing,
}

impl Level {
    fn new(closing: Closing, own: usize) -> Level {
        Level {
            closing,
            own,
            joins: 0,
            set_operations: 0,
            chain: 0,
            between: false,
        }
    }

    fn depth(&self) -> usize {
        self.own + self.joins + self.set_operations + self.chain
    }
}

/// What PostgreSQL says when its stack ends (`check_stack_depth`).
pub(crate) fn too_deep() -> PgError {
    PgError::new(
        SqlState::STATEMENT_TOO_COMPLEX,
        "stack depth limit exceeded",
    )
    .with_hint(
        "Increase the configuration parameter \"max_stack_depth\" (currently 2048kB), after \
         ensuring the platform's stack depth limit is adequate.",
    )
}

/// Refuses what is nested too deeply.
pub(super) fn check(text: &str) -> Result<(), PgError> {
    // Each unit takes a byte, except those of words.
    if text.len() <= DEPTH_MAX / 2 {
        return Ok(());
    }
    match depth(text) > DEPTH_MAX {
        true => Err(too_deep()),
        false => Ok(()),
    }
}

/// The sum where the text is nested most deeply; above [`DEPTH_MAX`] it may be more.
pub(crate) fn depth(text: &str) -> usize {
    let mut scan = Scan {
        levels: vec![Level::new(Closing::Nothing, 0)],
        deepest: 0,
    };
    let (mut at, mut operator_before, mut closed_before, mut dots) = (0, false, false, 0);
    for Token { kind, len } in tokenize(text) {
        let end = at + len as usize;
        let spelled = &text[at..end];
        at = end;
        let operator = matches!(
            kind,
            T::Slash
                | T::Colon
                | T::Eq
                | T::Gt
                | T::And
                | T::Lt
                | T::Bang
                | T::Tilde
                | T::Pound
                | T::Question
                | T::Or
                | T::Percent
                | T::Caret
                | T::Star
                | T::Backtick
                | T::At
        );
        match kind {
            T::Whitespace | T::LineComment | T::BlockComment { .. } => {
                operator_before = false;
                continue;
            }
            T::OpenParen | T::OpenBracket => {
                // A subscript of a subscript, a call of a call.
                if closed_before {
                    scan.add(1);
                }
                let closing = match kind {
                    T::OpenParen => Closing::Paren,
                    _ => Closing::Bracket,
                };
                scan.open(Level::new(closing, 1));
            }
            T::CloseParen => scan.close(&Closing::Paren),
            T::CloseBracket => scan.close(&Closing::Bracket),
            T::Comma => scan.part(),
            T::Semi if scan.levels.len() == 1 => {
                scan.levels = vec![Level::new(Closing::Nothing, 0)];
            }
            T::Plus | T::Minus => scan.add(1),
            _ if operator && !operator_before => scan.add(1),
            T::Dot if dots > 0 => scan.add(1),
            T::Ident => scan.word(spelled),
            _ => {}
        }
        operator_before = operator;
        closed_before = matches!(kind, T::CloseParen | T::CloseBracket);
        dots = match kind {
            T::Dot => dots + 1,
            T::Ident | T::QuotedIdent { .. } => dots,
            _ => 0,
        };
    }
    scan.deepest
}

struct Scan {
    levels: Vec<Level>,
    deepest: usize,
}

impl Scan {
    fn top(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::new(Closing::Nothing, 0));
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    /// The depth of all levels changed.
    fn measure(&mut self) {
        // Levels are few: what is too deep already is not measured on.
        if self.deepest <= DEPTH_MAX {
            let depth = self.levels.iter().map(Level::depth).sum();
            self.deepest = self.deepest.max(depth);
        }
    }

    fn add(&mut self, units: usize) {
        self.top().chain += units;
        self.measure();
    }

    fn open(&mut self, level: Level) {
        self.levels.push(level);
        self.measure();
    }

    /// Closes what is open, and any CASE without END within.
    fn close(&mut self, closing: &Closing) {
        let open = self
            .levels
            .iter()
            .rposition(|level| level.closing != Closing::End);
        if let Some(place) = open
            && self.levels[place].closing == *closing
        {
            self.levels.truncate(place);
        }
    }

    /// Another expression begins.
    fn part(&mut self) {
        let top = self.top();
        top.chain = 0;
        top.between = false;
    }

    fn word(&mut self, word: &str) {
        // The longest that counts.
        if word.len() > 9 {
            return;
        }
        match word.to_ascii_lowercase().as_str() {
            "and" => {
                let top = self.top();
                if !std::mem::take(&mut top.between) {
                    top.chain = 0;
                }
            }
            "or" | "where" | "from" | "when" | "then" | "else" | "on" | "group" | "order"
            | "having" | "limit" | "offset" | "set" | "returning" => self.part(),
            "between" => {
                self.top().between = true;
                self.add(1);
            }
            "not" | "is" | "in" | "like" | "ilike" | "similar" | "collate" | "escape" | "at"
            | "isnull" | "notnull" | "overlaps" | "operator" | "explain" | "prepare" | "create"
            | "do" | "array" | "coalesce" | "greatest" | "least" | "nullif" => self.add(1),
            "select" | "values" | "table" | "with" => {
                self.part();
                let top = self.top();
                top.own = top.own.max(SUBQUERY);
                top.joins = 0;
                self.measure();
            }
            "union" | "intersect" | "except" => {
                self.part();
                self.top().set_operations += SET_OPERATION;
                self.measure();
            }
            "join" => {
                self.part();
                self.top().joins += JOIN;
                self.measure();
            }
            "case" => self.open(Level::new(Closing::End, CASE)),
            "end"
                if self
                    .levels
                    .last()
                    .is_some_and(|top| top.closing == Closing::End) =>
            {
                self.levels.pop();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, check, depth};

    #[test]
    fn counts_what_nests_and_nothing_else() {
        assert_eq!(depth("((1))"), 2);
        assert_eq!(depth("a || b || c, d || e"), 2);
        assert_eq!(depth("'((((' || \"((((\" || $$((($$ /* ((( */ -- (((\n"), 2);
        assert_eq!(depth("case when 1 then case 2 when 3 then 4 end end"), 2);
        assert_eq!(depth("- - -1 + not not 1"), 6);
        assert_eq!(depth("x between 1 and 2 and y between 3 and 4"), 1);
        // What does not close anything hides nothing.
        assert_eq!(depth("(](](]("), 7);
        let ten_thousand = ["a = 1"; 10_000].join(" and ");
        assert_eq!(depth(&ten_thousand), 1);
        assert!(check(&"(".repeat(DEPTH_MAX + 1)).is_err());
    }
}
