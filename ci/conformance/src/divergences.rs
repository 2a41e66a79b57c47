//! Where fake-pg is known to answer otherwise than the real server, each with its reason.
//!
//! What stays true: the list may only shrink. A listed step at which fake-pg answers as recorded
//! is an error, and so is one in a script about a trap.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The list, by script and number of step, counted from 1.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Divergences(BTreeMap<(String, usize), Divergence>);

/// A step that is answered otherwise.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// Why, and what would have to be built.
    pub reason: String,
    /// What fake-pg answers instead.
    pub replies: Vec<String>,
}

impl Divergences {
    /// Reads `divergences.txt`.
    pub fn load() -> Result<Divergences, String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("divergences.txt");
        let text = fs::read_to_string(&file);
        Divergences::parse(&text.map_err(|error| format!("{}: {error}", file.display()))?)
    }

    /// Reads `script step: reason`, with fake-pg's replies indented below.
    pub fn parse(text: &str) -> Result<Divergences, String> {
        let mut list = BTreeMap::new();
        let mut last: Option<(String, usize)> = None;
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(reply) = line.strip_prefix("  ") {
                let entry = last.as_ref().and_then(|key| list.get_mut(key));
                let entry: &mut Divergence = entry.ok_or("a reply without a step")?;
                entry.replies.push(reply.to_string());
                continue;
            }
            let read = || {
                let (place, reason) = line.split_once(": ")?;
                let (script, step) = place.split_once(' ')?;
                Some(((script.to_string(), step.parse().ok()?), reason))
            };
            let (key, reason) = read().ok_or_else(|| format!("`script step: reason`: {line}"))?;
            let reason = reason.to_string();
            let replies = Vec::new();
            if list
                .insert(key.clone(), Divergence { reason, replies })
                .is_some()
            {
                return Err(format!("listed twice: {line}"));
            }
            last = Some(key);
        }
        Ok(Divergences(list))
    }

    /// What is listed for a step.
    pub fn at(&self, script: &str, step: usize) -> Option<&Divergence> {
        self.0.get(&(script.to_string(), step))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize, &Divergence)> {
        let entries = self.0.iter();
        entries.map(|((script, step), divergence)| (script.as_str(), *step, divergence))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
