//! The command line: check, record, verify, list.

use std::fs;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use conformance::check::{check, compare};
use conformance::divergences::Divergences;
use conformance::host::run;
use conformance::random::{Mix, Plan, compare as compare_programs, show};
use conformance::real::Real;
use conformance::script::{self, Script};
use conformance::tables::{page, tables};
use conformance::{breadth, pages, program};

/// Holds fake-pg to transcripts recorded from a real PostgreSQL 15.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compares fake-pg with what was recorded.
    Check {
        /// Part of a script's name.
        #[arg(default_value = "")]
        filter: String,
    },
    /// Writes what a real server answers into the scripts.
    Record {
        /// Part of a script's name.
        #[arg(default_value = "")]
        filter: String,
    },
    /// Records again and compares: a script differs if it does three times.
    Verify {
        /// Part of a script's name.
        #[arg(default_value = "")]
        filter: String,
    },
    /// Runs random programs on fake-pg and on a real server, and compares.
    Random {
        /// How many.
        #[arg(long, default_value_t = 500)]
        programs: usize,
        /// Where they come from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The number of the first, to repeat one.
        #[arg(long, default_value_t = 0)]
        first: usize,
        /// Stop after so many differences.
        #[arg(long, default_value_t = 5)]
        differences: usize,
        /// Print the first as fake-pg runs it, and run nothing else.
        #[arg(long)]
        show: bool,
        /// Use these features in each program, with commas between them.
        #[arg(long, value_delimiter = ',')]
        features: Vec<String>,
        /// On so many servers at once.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
        /// How many smaller programs are tried when one shows a difference.
        #[arg(long, default_value_t = 120)]
        shrinks: usize,
    },
    /// Writes docs/fidelity.md.
    Tables,
    /// Writes what a real server answers to the SQL on pages into them.
    Pages {
        /// Compare what it answers with what they show.
        #[arg(long)]
        verify: bool,
        /// Compare what fake-pg answers.
        #[arg(long, conflicts_with = "verify")]
        check: bool,
    },
    /// Counts scripts, steps and divergences, and prints the last.
    List,
}

/// A difference is believed once the server has shown one so many times: on a busy machine a time-out
/// may pass in the wrong step, or the WAL writer wake up before a crash.
const VERIFIED: usize = 3;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check { filter } => checked(&filter),
        Command::Record { filter } => recorded(&filter, 1, |script, replies| {
            script::save(script, replies).map_err(|error| format!("{}: {error}\n", script.name))
        }),
        Command::Verify { filter } => recorded(&filter, VERIFIED, compare),
        Command::Random {
            programs,
            seed,
            first,
            differences,
            show: alone,
            features,
            jobs,
            shrinks,
        } => {
            let draws = features.is_empty();
            let features: Vec<&str> = match draws {
                true => [program::FEATURES, breadth::FEATURES].concat(),
                false => features.iter().map(String::as_str).collect(),
            };
            let plan = Plan {
                seed,
                first,
                programs,
                differences,
                features: &features,
                draws,
                jobs,
                shrinks,
            };
            match alone {
                true => show(&plan),
                false => random(&plan),
            }
        }
        Command::Tables => write_tables(),
        Command::Pages { verify, check } => {
            let (done, what) = match (verify, check) {
                (true, _) => (pages::verify(), "a real server answers as the pages show"),
                (_, true) => (pages::check(), "fake-pg answers as the pages show"),
                (false, false) => (pages::record(), "results written"),
            };
            done.map(|blocks| format!("{what}: {blocks} blocks"))
        }
        Command::List => list(),
    };
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("{}", wrong.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn found(filter: &str) -> Result<Vec<Script>, String> {
    let scripts = script::load(filter)?;
    match scripts.is_empty() {
        true => Err(format!("no script's name contains `{filter}`")),
        false => Ok(scripts),
    }
}

fn checked(filter: &str) -> Result<String, String> {
    let (scripts, divergences) = (found(filter)?, Divergences::load()?);
    let results = scripts.iter().map(|script| check(script, &divergences));
    summary("fake-pg answers as recorded", results)
}

/// Runs scripts on a real server, each until `then` is content, and so many times at most.
fn recorded(
    filter: &str,
    times: usize,
    mut then: impl FnMut(&Script, &[Vec<String>]) -> Result<(), String>,
) -> Result<String, String> {
    let mut scripts = found(filter)?;
    scripts.retain(|script| script.fake_only().is_none());
    let mut real = Real::start()?;
    let results = scripts.iter().map(|script| {
        let mut told = Ok(());
        for _ in 0..times {
            real.renew(&script.settings())?;
            told = then(script, &run(&mut real, script)?);
            if told.is_ok() {
                break;
            }
        }
        told
    });
    summary("recorded", results)
}

/// One line if all is well; what is wrong otherwise, and how much of it there is.
fn summary(
    what: &str,
    results: impl Iterator<Item = Result<(), String>>,
) -> Result<String, String> {
    let results: Vec<_> = results.collect();
    let wrong: Vec<&String> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    if wrong.is_empty() {
        return Ok(format!("{what}: {} scripts", results.len()));
    }
    let mut text: String = wrong.iter().map(|wrong| format!("{wrong}\n")).collect();
    text.push_str(&format!(
        "{} of {} scripts differ",
        wrong.len(),
        results.len()
    ));
    Err(text)
}

fn write_tables() -> Result<String, String> {
    let tables = tables(&found("")?, &Divergences::load()?);
    let page = page();
    fs::write(&page, tables.text()).map_err(|error| format!("{}: {error}", page.display()))?;
    for gap in &tables.gaps {
        println!("missing: {gap}");
    }
    Ok(format!(
        "docs/fidelity.md written, {} gaps",
        tables.gaps.len()
    ))
}

fn random(plan: &Plan<'_>) -> Result<String, String> {
    println!("seed {}, {} programs", plan.seed, plan.programs);
    let progress = |number: usize, mix: &Mix| {
        if number.is_multiple_of(500) && number > plan.first {
            eprintln!("program {number}: {} steps so far", mix.steps);
        }
    };
    let (mix, differences) = compare_programs(plan, progress, |text| println!("{text}"))?;
    println!("{mix}");
    match differences {
        0 => Ok("no difference".into()),
        many => Err(format!("{many} differences")),
    }
}

fn list() -> Result<String, String> {
    let (scripts, divergences) = (found("")?, Divergences::load()?);
    let recorded = scripts.iter().filter(|script| script.fake_only().is_none());
    let steps: usize = recorded.clone().map(|script| script.steps().count()).sum();
    for (script, step, divergence) in divergences.iter() {
        println!("{script} {step}: {}", divergence.reason);
    }
    Ok(format!(
        "{} scripts recorded with {steps} steps, {} of fake-pg alone; {} known divergences",
        recorded.count(),
        scripts.iter().filter(|s| s.fake_only().is_some()).count(),
        divergences.len()
    ))
}
