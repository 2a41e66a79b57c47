//! The command line over a catalogue of scenarios.
//!
//! Answers go to standard output, progress and complaints to standard error,
//! and the exit code says in one number what scripts want to know: see
//! `exit`. `check` and `replay` report what is, expected or not; only the
//! catalogue compares it with what is declared.

mod args;
mod exit;
mod nearest;
mod progress;
mod render;
mod report;
mod servers;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::explore::{CATALOGUE_CASES, Exploration, ExploreError, explore, misread_variable};
use crate::plan::{Class, Plan};
use crate::replay::replay;
use crate::report::json;
use crate::scenario::Scenario;
use crate::seed::Seed;
use args::{Cli, Command, Format};
use exit::Exit;
use progress::Bar;

/// Runs the command line of the process on these scenarios.
pub fn main(catalogue: Vec<Scenario>) -> ExitCode {
    let mut shell = Shell {
        out: &mut io::stdout().lock(),
        err: &mut io::stderr(),
        is_terminal: io::stdout().is_terminal(),
    };
    shell.run(std::env::args_os(), &catalogue).into()
}

/// Words of a sentence, one after the other.
fn words<'w>(classes: impl IntoIterator<Item = &'w Class>) -> String {
    let words: Vec<String> = classes.into_iter().map(Class::to_string).collect();
    words.join(", ")
}

/// Explores every scenario. Also gives those that could not be explored, and why.
fn explore_all<'c>(
    cli: &Cli,
    catalogue: &'c [Scenario],
    bar: &Bar,
) -> (Vec<Exploration>, Vec<(&'c str, ExploreError)>) {
    let mut explorations = Vec::new();
    let mut failed = Vec::new();
    for (index, scenario) in catalogue.iter().enumerate() {
        bar.begin(index, scenario.name());
        let mut exploring = explore(scenario.clone())
            .cases(CATALOGUE_CASES)
            .progress(|progress| bar.show(progress));
        if let Some(threads) = cli.threads {
            exploring = exploring.threads(threads);
        }
        match exploring.run() {
            Ok(exploration) => explorations.push(exploration),
            Err(error) => failed.push((scenario.name(), error)),
        }
    }
    (explorations, failed)
}

/// Where answers and complaints go.
struct Shell<'s> {
    out: &'s mut dyn Write,
    err: &'s mut dyn Write,
    /// Whether answers are read on a terminal.
    is_terminal: bool,
}

impl Shell<'_> {
    fn run(&mut self, args: impl IntoIterator<Item = OsString>, catalogue: &[Scenario]) -> Exit {
        let cli = match Cli::try_parse_from(args) {
            Ok(cli) => cli,
            Err(error) => return self.misunderstood(&error),
        };
        if let Some(complaint) = misread_variable() {
            return self.complain(&complaint, Exit::Usage);
        }
        let done = match &cli.command {
            None => self.catalogue(&cli, catalogue),
            Some(Command::List(args::List { name: None })) => self.list(&cli, catalogue),
            Some(Command::List(args::List { name: Some(name) })) => {
                match nearest::find(catalogue, name) {
                    Ok(scenario) => self.list_one(&cli, scenario, catalogue),
                    Err(complaint) => return self.complain(&complaint, Exit::Usage),
                }
            }
            Some(Command::Check(check)) => match nearest::find(catalogue, &check.name) {
                Ok(scenario) => self.check(&cli, check, scenario),
                Err(complaint) => return self.complain(&complaint, Exit::Usage),
            },
            Some(Command::Replay(args)) => match nearest::find(catalogue, &args.name) {
                Ok(scenario) => self.replay(&cli, args, scenario),
                Err(complaint) => return self.complain(&complaint, Exit::Usage),
            },
            Some(Command::Report(args)) => self.report(&cli, args, catalogue),
            Some(Command::Serve(args)) => self.serve(&cli, args),
            Some(Command::Proxy(args)) => self.proxy(&cli, args),
        };
        match done {
            Ok(exit) => exit,
            // Whoever closed the pipe has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Err(error) => self.complain(&error.to_string(), Exit::Usage),
        }
    }

    /// Help and version are answers; all else that clap has to say is a complaint.
    fn misunderstood(&mut self, error: &clap::Error) -> Exit {
        if error.use_stderr() {
            // Nobody is left to tell if this fails.
            let _ = write!(self.err, "{}", error.render());
            Exit::Usage
        } else {
            let _ = write!(self.out, "{}", error.render());
            Exit::Ok
        }
    }

    fn complain(&mut self, complaint: &str, exit: Exit) -> Exit {
        let _ = writeln!(self.err, "error: {complaint}");
        exit
    }

    /// Explores every scenario and compares each cell with what is declared.
    fn catalogue(&mut self, cli: &Cli, catalogue: &[Scenario]) -> io::Result<Exit> {
        let bar = Bar::new(catalogue.len());
        let (explorations, failed) = explore_all(cli, catalogue, &bar);
        bar.finish();
        let mut exit = Exit::Ok;
        for (name, error) in &failed {
            exit = exit.and(self.complain(&format!("{name}: {error}"), Exit::of_error(error)));
        }
        match cli.format {
            Format::Text => write!(
                self.out,
                "{}",
                render::catalogue(&explorations, self.is_painted(cli))
            )?,
            Format::Json => self.json(&json::Catalogue::of(&explorations))?,
        }
        Ok(explorations
            .iter()
            .map(Exit::of_expected)
            .fold(exit, Exit::and))
    }

    fn list(&mut self, cli: &Cli, catalogue: &[Scenario]) -> io::Result<Exit> {
        let bar = Bar::new(catalogue.len());
        let mut listed = Vec::new();
        let mut exit = Exit::Ok;
        for (index, scenario) in catalogue.iter().enumerate() {
            bar.begin(index, scenario.name());
            match explore(scenario.clone()).planned() {
                Ok(schedules) => listed.push(json::Listed::of(scenario, schedules)),
                Err(error) => {
                    let complaint = format!("{}: {error}", scenario.name());
                    exit = exit.and(self.complain(&complaint, Exit::of_error(&error)));
                }
            }
        }
        bar.finish();
        match cli.format {
            Format::Text => write!(self.out, "{}", render::list(&listed))?,
            Format::Json => self.json(&json::List { scenarios: listed })?,
        }
        Ok(exit)
    }

    /// One scenario, with what it guarantees.
    fn list_one(
        &mut self,
        cli: &Cli,
        scenario: &Scenario,
        catalogue: &[Scenario],
    ) -> io::Result<Exit> {
        let schedules = match explore(scenario.clone()).planned() {
            Ok(schedules) => schedules,
            Err(error) => return Ok(self.complain(&error.to_string(), Exit::of_error(&error))),
        };
        let listed = json::Listed::of(scenario, schedules);
        let twins = catalogue
            .iter()
            .filter(|twin| twin.original() == Some(scenario.name()));
        match cli.format {
            Format::Text => {
                let twins: Vec<&str> = twins.map(Scenario::name).collect();
                write!(self.out, "{}", render::list_one(&listed, &twins))?;
            }
            Format::Json => self.json(&listed)?,
        }
        Ok(Exit::Ok)
    }

    fn check(&mut self, cli: &Cli, args: &args::Check, scenario: &Scenario) -> io::Result<Exit> {
        let bar = Bar::new(1);
        bar.begin(0, scenario.name());
        let mut exploring = explore(scenario.clone()).progress(|progress| bar.show(progress));
        if !args.faults.is_empty() {
            exploring = exploring.faults(args.faults.iter().copied());
        }
        if let Some(depth) = args.depth {
            exploring = exploring.depth(depth);
        }
        if let Some(jobs) = args.pair_jobs {
            exploring = exploring.pair_jobs(jobs);
        }
        if let Some(pairs) = args.pairs {
            exploring = exploring.pairs_max(pairs);
        }
        if let Some(cases) = args.cases {
            exploring = exploring.cases(cases);
        }
        if let Some(seed) = args.seed {
            exploring = exploring.seed(Seed(seed));
        }
        if let Some(threads) = cli.threads {
            exploring = exploring.threads(threads);
        }
        let explored = exploring.run();
        bar.finish();
        let exploration = match explored {
            Ok(exploration) => exploration,
            Err(error) => return Ok(self.complain(&error.to_string(), Exit::of_error(&error))),
        };
        if !args.faults.is_empty() && exploration.certificate.planned == 0 {
            let why = format!(
                "nothing of {} can strike `{}`; it has schedules of: {}",
                words(&args.faults),
                scenario.name(),
                words(scenario.classes()),
            );
            return Ok(self.complain(&why, Exit::Usage));
        }
        match cli.format {
            Format::Json => self.json(&json::Check::of(&exploration))?,
            Format::Text => {
                write!(
                    self.out,
                    "{}",
                    render::check(&exploration, self.is_painted(cli))
                )?;
                self.show_counterexample(cli, &exploration)?;
            }
        }
        Ok(Exit::of_check(&exploration))
    }

    /// The counterexample's timeline takes a run of its own: an exploration keeps no histories.
    fn show_counterexample(&mut self, cli: &Cli, exploration: &Exploration) -> io::Result<()> {
        let Some(example) = exploration.counterexample() else {
            return Ok(());
        };
        match replay(&exploration.scenario, &example.plan) {
            Ok(replay) => {
                let text =
                    render::counterexample(exploration, example, &replay, self.is_painted(cli));
                write!(self.out, "{text}")
            }
            Err(error) => {
                self.complain(
                    &format!(
                        "the counterexample {} did not replay: {error}",
                        example.plan
                    ),
                    Exit::Untrusted,
                );
                Ok(())
            }
        }
    }

    fn replay(&mut self, cli: &Cli, args: &args::Replay, scenario: &Scenario) -> io::Result<Exit> {
        let plan = match planned(args) {
            Ok(plan) => plan,
            Err(complaint) => return Ok(self.complain(&complaint, Exit::Usage)),
        };
        let replay = match replay(scenario, &plan) {
            Ok(replay) => replay,
            Err(error) => {
                return Ok(self.complain(&error.to_string(), Exit::Usage));
            }
        };
        match cli.format {
            Format::Text => write!(
                self.out,
                "{}",
                render::replay(&replay, self.is_painted(cli))
            )?,
            Format::Json => self.json(&json::Replayed::of(
                &replay.plan,
                &replay.history,
                &replay.judgement,
            ))?,
        }
        Ok(Exit::of(replay.judgement.verdict))
    }

    fn json(&mut self, answer: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, answer).map_err(io::Error::from)?;
        writeln!(self.out)
    }

    fn is_painted(&self, cli: &Cli) -> bool {
        cli.color.is_on(self.is_terminal)
    }
}

/// The plan that is asked for: given as such, in a file, or as the seed of a schedule without faults.
fn planned(args: &args::Replay) -> Result<Plan, String> {
    let which = &args.which;
    if let Some(seed) = which.seed {
        return Ok(Plan {
            seed: Seed(seed),
            ..Plan::faultless()
        });
    }
    let Some(file) = &which.file else {
        return which.plan.as_deref().unwrap_or_default().parse();
    };
    let read = || match file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let text = read().map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    plan_in(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// A file may keep one item per line, with remarks after `#`.
fn plan_in(text: &str) -> Result<Plan, String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let items: Vec<&str> = lines
        .map(|line| line.trim().trim_end_matches(','))
        .filter(|line| !line.is_empty())
        .collect();
    items.join(",").parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command line comes to, answers and complains about.
    fn run(args: &[&str]) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut shell = Shell {
            out: &mut out,
            err: &mut err,
            is_terminal: false,
        };
        let args = ["midcommit"].iter().chain(args).map(OsString::from);
        let exit = shell.run(args, &[Scenario::new("receipts")]);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(err))
    }

    #[test]
    fn help_is_an_answer() {
        for args in [
            &["--help"][..],
            &["check", "--help"],
            &["serve", "--help"],
            &["report", "--help"],
            &["--version"],
        ] {
            let (exit, out, err) = run(args);
            assert!(
                exit == Exit::Ok && !out.is_empty() && err.is_empty(),
                "{args:?}: {err}"
            );
        }
    }

    #[test]
    fn what_cannot_be_understood_is_a_complaint() {
        for (args, complaint) in [
            (&["chekc"][..], "unrecognized subcommand 'chekc'"),
            (&["check"], "<NAME>"),
            (&["list", "recipts"], "did you mean `receipts`?"),
            (&["check", "recipts"], "did you mean `receipts`?"),
            (
                &["check", "receipts", "--faults", "kil"],
                "`kil` is no class of fault; there are interrupt",
            ),
            (
                &["check", "receipts", "--threads", "0"],
                "it must be at least 1",
            ),
            (
                &["replay", "receipts"],
                "<PLAN|--plan <FILE>|--seed <SEED>>",
            ),
            (
                &["replay", "receipts", "none", "--seed", "1"],
                "cannot be used with",
            ),
            (
                &["replay", "receipts", "kill@pg"],
                "`pg` names no point; a point is like",
            ),
            (
                &["replay", "receipts", "--plan", "no/such/file"],
                "cannot read no/such/file",
            ),
            (&["report"], "--html <FILE>"),
            (
                &["report", "recipts", "--html", "no/such/file"],
                "did you mean `receipts`?",
            ),
            (
                &["report", "--html", "-"],
                "--html -: a page is written to a file, not to standard output",
            ),
            (
                &["report", "--html", "no/such/file"],
                "cannot write --html no/such/file: No such file",
            ),
            (
                &["report", "receipts", "--html", "src"],
                "cannot write --html src: Is a directory",
            ),
            (
                &["serve", "--listen", "5432"],
                "--listen 5432: there is no port; an address is like 127.0.0.1:5432",
            ),
            (
                &["serve", "--listen", "0.0.0.0:0"],
                "listen on 127.0.0.1:0 or [::1]:0, or say --allow-remote",
            ),
            (
                &["serve", "--schema", "no/such/file"],
                "cannot read --schema no/such/file",
            ),
            (
                &["serve", "--max-connections", "0"],
                "it must be at least 1",
            ),
            (
                &["serve", "--auth", "scram-sha-256"],
                "without a --schema no role has a password",
            ),
            (
                &["serve", "--auth", "peer"],
                "[possible values: trust, md5, scram-sha-256]",
            ),
            (&["proxy"], "--to <HOST:PORT>"),
            (
                &["proxy", "--to", "localhost"],
                "--to localhost: there is no port",
            ),
        ] {
            let (exit, out, err) = run(args);
            assert!(err.contains(complaint), "{args:?}: {err}");
            assert!(exit == Exit::Usage && out.is_empty(), "{args:?}: {out}");
        }
    }

    #[test]
    fn a_plan_file_may_have_lines_and_remarks() {
        for (text, plan) in [
            ("kill@worker.start+1\n", "kill@worker.start+1"),
            (
                "# lost since the rewrite\nseed.7,\n\nkill@worker.start+1 # while it connects\n",
                "seed.7,kill@worker.start+1",
            ),
        ] {
            assert_eq!(plan_in(text).unwrap().to_string(), plan);
        }
        assert!(plan_in("# nothing\n").is_err());
    }
}
