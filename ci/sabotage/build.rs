//! Writes each remedy once more for each edit, with that edit made.
//!
//! The edited files are modules of the crate, so an edit that the compiler rejects fails the build,
//! as one does whose text is not in its file exactly once. What an edit is stands in `src/edit.rs`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

// The library uses all of it, and shows it.
#[allow(unreachable_pub, dead_code)]
#[path = "src/edit.rs"]
mod edit;

const REMEDIES: &str = "../../scenarios/src/remedy";

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=edits.txt");
    println!("cargo::rerun-if-changed=src/edit.rs");
    println!("cargo::rerun-if-changed={REMEDIES}");
    // Returned errors are shown by their `Debug`, a text on many lines in one.
    if let Err(error) = write_edited() {
        eprintln!("{error}");
        std::process::exit(1);
    }
    Ok(())
}

fn write_edited() -> Result<(), Box<dyn Error>> {
    let folder = env::var("OUT_DIR")?;
    let (mut modules, mut arms) = (String::new(), String::new());
    for edit in edit::parse(&fs::read_to_string("edits.txt")?)? {
        let remedy = Path::new(REMEDIES).join(&edit.file);
        let source = fs::read_to_string(&remedy)
            .map_err(|error| format!("edit {}: {}: {error}", edit.name, remedy.display()))?;
        let edited = Path::new(&folder).join(format!("{}.rs", edit.name));
        fs::write(&edited, edit.apply(&source)?)?;
        // An edit may leave something unused, or written as nobody would.
        writeln!(modules, "#[allow(warnings, clippy::all)]")?;
        writeln!(modules, "#[path = {edited:?}]\nmod {};", edit.name)?;
        writeln!(arms, "        {0:?} => {0}::scenarios(),", edit.name)?;
    }
    let index = format!(
        "{modules}\nfn scenarios(edit: &str) -> Vec<midcommit::Scenario> {{\n    match edit {{\n{arms}        \
         _ => unreachable!(\"no edit is called {{edit}}\"),\n    }}\n}}\n"
    );
    fs::write(Path::new(&folder).join("edited.rs"), index)?;
    Ok(())
}
