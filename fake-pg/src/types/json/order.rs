//! The order of jsonb (`compareJsonbContainers`).

use std::cmp::Ordering;

use super::Json;

impl Json {
    /// Where kinds stand to each other (`compareJsonbContainers`).
    fn rank(&self) -> u8 {
        match self {
            Json::Null => 0,
            Json::String(_) => 1,
            Json::Number(_) => 2,
            Json::Bool(_) => 3,
            Json::Array(_) => 4,
            Json::Object(_) => 5,
        }
    }

    /// The order of whole values: there an empty array comes before all scalars, by an accident
    /// that cannot be taken back.
    pub fn cmp_whole(&self, other: &Json) -> Ordering {
        let empty = |json: &Json| matches!(json, Json::Array(items) if items.is_empty());
        let scalar = |json: &Json| json.rank() < 4;
        match (self, other) {
            (a, b) if empty(a) && scalar(b) => Ordering::Less,
            (a, b) if scalar(a) && empty(b) => Ordering::Greater,
            (a, b) => a.cmp(b),
        }
    }
}

impl Ord for Json {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Json::String(a), Json::String(b)) => a.cmp(b),
            (Json::Number(a), Json::Number(b)) => a.cmp(b),
            (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
            (Json::Array(a), Json::Array(b)) => a.len().cmp(&b.len()).then_with(|| a.iter().cmp(b)),
            (Json::Object(a), Json::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
                let mut pairs = a.iter().zip(b);
                let unequal = pairs.find_map(|((key_a, a), (key_b, b))| {
                    let order = key_a.1.cmp(&key_b.1).then_with(|| a.cmp(b));
                    (order != Ordering::Equal).then_some(order)
                });
                unequal.unwrap_or(Ordering::Equal)
            }),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Json {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
