//! What an edit is, and how it is made.
//!
//! Invariant: an edit replaces text that is in its file exactly once. So it cannot miss, or hit
//! something else, after the remedy was changed. The list is `edits.txt`; the build script reads it
//! by this same file.

use std::collections::BTreeSet;

/// One guard less in one remedy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// What it is called: a name that a module may have.
    pub name: String,
    /// The remedy's file, in `scenarios/src/remedy/`.
    pub file: String,
    /// The scenario of that file which is explored.
    pub scenario: String,
    /// What the guard is, and what it is there for.
    pub guard: String,
    /// The faults that show its absence: a class, `several`, or `none` where no fault is needed.
    pub caught: String,
    /// The point at which each COMMIT stays for a while, in the remedy as well; mostly none.
    pub dwell: String,
    /// Instead: why nothing shows it.
    pub survives: String,
    /// Whole lines of the file.
    pub before: String,
    /// What stands there afterwards.
    pub after: String,
}

/// Reads a list: an edit is a block of lines, its head in `word: text`, then the change as a diff has it.
///
/// # Errors
///
/// Something is missing, unknown or there twice; with the number of the line.
pub fn parse(list: &str) -> Result<Vec<Edit>, String> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut names = BTreeSet::new();
    let mut open = false;
    for (number, line) in (1..).zip(list.lines()) {
        let wrong = |what: &str| format!("edits.txt, line {number}: {what}: `{line}`");
        if line.starts_with('#') {
            continue;
        }
        if line.is_empty() {
            open = false;
            continue;
        }
        if !open {
            let name = line.strip_prefix("edit: ");
            let name = name.ok_or_else(|| wrong("a block begins with `edit: NAME`"))?;
            if !names.insert(name.to_owned()) {
                return Err(wrong("there is another of this name"));
            }
            edits.push(Edit {
                name: name.to_owned(),
                ..Edit::default()
            });
            open = true;
            continue;
        }
        let edit = edits.last_mut().expect("a block is open");
        edit.take(line).map_err(|what| wrong(&what))?;
    }
    match edits.iter().find(|edit| !edit.is_whole()) {
        Some(edit) => Err(format!(
            "edits.txt: {} needs file, scenario, guard, either caught or survives, and lines that change",
            edit.name
        )),
        None => Ok(edits),
    }
}

impl Edit {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let (mark, text) = line.split_at_checked(1).ok_or("not a line of an edit")?;
        let mut sides = match mark {
            " " => vec![&mut self.before, &mut self.after],
            "-" => vec![&mut self.before],
            "+" => vec![&mut self.after],
            _ => return self.take_head(line),
        };
        for side in &mut sides {
            side.push_str(text);
            side.push('\n');
        }
        Ok(())
    }

    fn take_head(&mut self, line: &str) -> Result<(), String> {
        let field = line.split_once(": ");
        let (word, text) = field.ok_or("neither `word: text` nor a line of a diff")?;
        let field = match word {
            "file" => &mut self.file,
            "scenario" => &mut self.scenario,
            "caught" => &mut self.caught,
            "guard" => &mut self.guard,
            "dwell" => &mut self.dwell,
            "survives" => &mut self.survives,
            _ => {
                let known = "edit, file, scenario, guard, caught, dwell, survives";
                return Err(format!("no such word; there are {known}"));
            }
        };
        // What is a sentence may take several lines.
        if !field.is_empty() && !["guard", "survives"].contains(&word) {
            return Err("this is said twice".into());
        }
        if !field.is_empty() {
            field.push(' ');
        }
        field.push_str(text);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        let head = [&self.file, &self.scenario, &self.guard];
        head.iter().all(|text| !text.is_empty())
            && self.caught.is_empty() != self.survives.is_empty()
            && !self.before.is_empty()
            && self.before != self.after
    }

    /// Whether nothing is expected to show it.
    pub fn is_redundant(&self) -> bool {
        !self.survives.is_empty()
    }

    /// The remedy's text without the guard.
    ///
    /// # Errors
    ///
    /// The lines to replace are not there exactly once.
    pub fn apply(&self, source: &str) -> Result<String, String> {
        // Whole lines: what is found begins where a line does.
        let source = format!("\n{source}");
        let before = format!("\n{}", self.before);
        match source.matches(&before).count() {
            1 => Ok(source.replacen(&before, &format!("\n{}", self.after), 1)[1..].to_owned()),
            n => Err(format!(
                "edit {} of ci/sabotage/edits.txt must find its lines in {} exactly once, and finds them {n} times:\n{}",
                self.name, self.file, self.before
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# A comment.\n\nedit: a\nfile: x.rs\nscenario: x\nguard: one\nguard: two\ncaught: kill\n \
                        fn f() {\n-    1\n+    2\n+    3\n";

    fn edit() -> Edit {
        parse(LIST).expect("the list is right").remove(0)
    }

    #[test]
    fn a_block_is_an_edit() {
        let edit = edit();
        assert_eq!(edit.guard, "one two");
        assert_eq!(edit.before, "fn f() {\n    1\n");
        assert_eq!(edit.after, "fn f() {\n    2\n    3\n");
    }

    #[test]
    fn an_edit_changes_its_lines_and_no_others() {
        let source = "    1\nfn f() {\n    1\n}\n";
        assert_eq!(
            edit().apply(source).as_deref(),
            Ok("    1\nfn f() {\n    2\n    3\n}\n")
        );
    }

    #[test]
    fn an_edit_that_finds_its_lines_never_or_twice_is_refused() {
        for (source, times) in [
            ("fn g() {\n    1\n}\n", 0),
            ("    fn f() {\n    1\n}\n", 0),
            ("fn f() {\n    1\n}\nfn f() {\n    1\n}\n", 2),
        ] {
            let error = edit().apply(source).expect_err("not once");
            assert_eq!(
                error,
                format!(
                    "edit a of ci/sabotage/edits.txt must find its lines in x.rs exactly once, and finds them {times} \
                     times:\nfn f() {{\n    1\n"
                )
            );
        }
    }

    #[test]
    fn a_list_that_is_wrong_says_where() {
        for (list, error) in [
            (
                "file: x.rs\n",
                "line 1: a block begins with `edit: NAME`: `file: x.rs`",
            ),
            ("edit: a\ncolour: red\n", "line 2: no such word"),
            (
                "edit: a\nfile: x.rs\nfile: y.rs\n",
                "line 3: this is said twice",
            ),
            (
                "edit: a\nwhat\n",
                "line 2: neither `word: text` nor a line of a diff",
            ),
            ("edit: a\nfile: x.rs\n", "a needs file"),
            (&format!("{LIST}\n{LIST}"), "there is another of this name"),
        ] {
            let seen = parse(list).expect_err("the list is wrong");
            assert!(seen.contains(error), "{seen}");
        }
    }
}
