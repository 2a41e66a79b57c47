//! `sabotage`: removes each guard of each remedy, and says how that was noticed.

use std::process::ExitCode;

use clap::Parser;

/// Removes the guards of the remedies, one at a time, and prints how each was noticed.
#[derive(Parser)]
struct Arguments {
    /// Only edits whose name, or whose scenario's, contains this; they are shown in full.
    name: Option<String>,
}

fn main() -> ExitCode {
    let Arguments { name } = Arguments::parse();
    let mut edits = sabotage::edits();
    if let Some(name) = &name {
        edits.retain(|edit| edit.name.contains(name) || edit.scenario.contains(name));
    }
    if edits.is_empty() {
        let names: Vec<_> = sabotage::edits()
            .into_iter()
            .map(|edit| edit.name)
            .collect();
        eprintln!("no edit is called so; there are {}", names.join(", "));
        return ExitCode::from(64);
    }
    let (mut caught, mut redundant, mut wrong) = (0, 0, 0);
    for edit in edits {
        if name.is_some() {
            println!("{}", shown(&edit));
        }
        let result = match edit.is_redundant() {
            true => sabotage::survive(&edit).map(|()| {
                redundant += 1;
                format!(
                    "{} ({}): redundant: {}",
                    edit.name, edit.scenario, edit.survives
                )
            }),
            false => sabotage::spare(&edit).and_then(|()| {
                let example = sabotage::catch(&edit)?;
                caught += 1;
                Ok(match name {
                    Some(_) => format!("{example}\n\n{}", example.timeline()?),
                    None => example.to_string(),
                })
            }),
        };
        println!(
            "{}",
            result.unwrap_or_else(|error| {
                wrong += 1;
                format!("WRONG: {error}")
            })
        );
    }
    println!("{caught} edits caught, {redundant} guards redundant, {wrong} not as listed");
    match wrong {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The guard, and the change as in the list.
fn shown(edit: &sabotage::Edit) -> String {
    let side = |mark: char, text: &str| -> String {
        text.lines().map(|line| format!("{mark}{line}\n")).collect()
    };
    format!(
        "\n{}: {}\n{}{}",
        edit.file,
        edit.guard,
        side('-', &edit.before),
        side('+', &edit.after)
    )
}
