//! Certificates of pairs of faults, which take minutes to make: made by a command, and kept.
//!
//! A certificate is of one version of a scenario. With it stands the hash of the run without a fault
//! on the same workload; a page is not made of one whose hash is another by now.

use std::fs;
use std::path::Path;

use midcommit::plan::{Class, Plan};
use midcommit::replay::replay;
use midcommit::{Scenario, explore};
use serde::Serialize;

use super::read;

/// Where they are kept, below the top of the repository: `NAME.txt`.
pub const PAIRS: &str = "docs/pairs";

/// A certificate that is still true.
#[derive(Debug, Serialize)]
pub(super) struct Recorded {
    scenario: String,
    /// What shows it again.
    command: String,
    certificate: String,
}

/// Tries the pairs of a scenario's faults on one job, all or so many of them, and gives what is to be kept.
///
/// Pairs are of classes that alone break nothing: of others one would learn that they still do.
///
/// # Errors
///
/// There is no such scenario, or it cannot be explored.
pub fn record_pairs(
    name: &str,
    most: Option<usize>,
    tell: impl Fn(usize, usize) + Sync,
) -> Result<String, String> {
    let scenario = find(name)?;
    let classes = sound_classes(&scenario);
    let mut exploring = explore(scenario.clone())
        .faults(classes.iter().copied())
        .depth(2)
        .cases(0)
        .progress(|progress| tell(progress.done, progress.total));
    let mut command = format!("check {name} --depth 2");
    if classes.len() < scenario.classes().len() {
        let classes: Vec<&str> = classes.iter().map(|class| class.name()).collect();
        command.push_str(&format!(" --faults {}", classes.join(",")));
    }
    if let Some(most) = most {
        exploring = exploring.pairs_max(most);
        command.push_str(&format!(" --pairs {most}"));
    }
    let explored = exploring
        .run()
        .map_err(|error| format!("{name}: {error}"))?;
    let pairs = explored.certificate.pairs;
    let pairs = pairs.ok_or_else(|| format!("{name}: no pairs were tried"))?;
    Ok(format!("{}\n{command}\n{pairs}", hash(&scenario)?))
}

/// What is kept, if it is still true.
pub(super) fn recorded(top: &Path) -> Result<Vec<Recorded>, String> {
    let mut recorded = Vec::new();
    for scenario in crate::remedies() {
        let name = scenario.name();
        let path = top.join(PAIRS).join(format!("{name}.txt"));
        if !path.exists() {
            continue;
        }
        let text = read(&path)?;
        let mut parts = text.splitn(3, '\n');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (of, command, certificate) = (part(), part(), part());
        if of != hash(&scenario)? {
            return Err(format!(
                "{PAIRS}/{name}.txt is of an older {name}: `cargo run --release --bin which-design -- pairs {name}`"
            ));
        }
        recorded.push(Recorded {
            scenario: name.to_owned(),
            command,
            certificate: certificate.trim_end().to_owned(),
        });
    }
    // One of a scenario that is gone would be left unread.
    let files = fs::read_dir(top.join(PAIRS)).map_or(0, |files| files.count());
    match files == recorded.len() {
        true => Ok(recorded),
        false => Err(format!(
            "{PAIRS} holds {files} files, of {} remedies",
            recorded.len()
        )),
    }
}

fn find(name: &str) -> Result<Scenario, String> {
    let mut remedies = crate::remedies().into_iter();
    let found = remedies.find(|remedy| remedy.name() == name);
    found.ok_or_else(|| format!("there is no remedy `{name}`"))
}

/// The classes of which the scenario declares nothing but `ok`.
fn sound_classes(scenario: &Scenario) -> Vec<Class> {
    let broken = |class: &Class| {
        let mut expected = scenario.expectations().iter();
        expected.any(|expectation| expectation.class == Some(*class))
    };
    let classes = scenario.classes().iter().copied();
    classes.filter(|class| !broken(class)).collect()
}

/// Which run without a fault this is, on one job.
fn hash(scenario: &Scenario) -> Result<String, String> {
    let mut plan = Plan::faultless();
    plan.workload.jobs = Some(1);
    let run = replay(scenario, &plan).map_err(|error| format!("{}: {error}", scenario.name()))?;
    Ok(run.history.hash().to_string())
}
