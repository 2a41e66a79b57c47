//! The text of `pg_snapshot` and `pg_lsn`.

use std::fmt;

/// A snapshot as SQL sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PgSnapshot {
    /// All before it have ended.
    pub xmin: u64,
    /// None from it on has begun.
    pub xmax: u64,
    /// Those between that run, in order.
    pub xip: Vec<u64>,
}

impl PgSnapshot {
    /// Reads `10:20:10,14,15` (`parse_snapshot`).
    pub fn parse(text: &str) -> Option<PgSnapshot> {
        let mut parts = text.splitn(3, ':');
        let (xmin, xmax) = (number(parts.next()?)?, number(parts.next()?)?);
        let listed = parts.next()?;
        if xmin == 0 || xmax < xmin {
            return None;
        }
        let mut xip: Vec<u64> = Vec::new();
        for word in listed.split(',').filter(|_| !listed.is_empty()) {
            let xid = number(word)?;
            let last = xip.last().copied();
            if xid < xmin || xid >= xmax || last.is_some_and(|last| xid < last) {
                return None;
            }
            if last != Some(xid) {
                xip.push(xid);
            }
        }
        Some(PgSnapshot { xmin, xmax, xip })
    }

    /// Whether it shows what that transaction has done (`is_visible_fxid`).
    pub fn includes(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.xip.binary_search(&xid).is_err())
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for PgSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let xip: Vec<String> = self.xip.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, xip.join(","))
    }
}

/// Reads `16/B374D848`.
pub fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text: &str| {
        let fits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    Some(half(high)? << 32 | half(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_read_and_shown_as_postgres_does() {
        // From PostgreSQL 15: `select '…'::pg_snapshot`.
        for (text, shown) in [
            ("10:20:10,14,15", Some("10:20:10,14,15")),
            ("10:20:", Some("10:20:")),
            ("12:12:", Some("12:12:")),
            ("10:20:14,14", Some("10:20:14")),
            ("10:20:15,14", None),
            ("10:20:20", None),
            ("20:10:", None),
            ("0:10:", None),
            ("10:20", None),
            ("10:20:x", None),
        ] {
            let read = PgSnapshot::parse(text).map(|snapshot| snapshot.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }
}
