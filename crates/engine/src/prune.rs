//! What all prunes share: their filters, and that each kind runs once at a time, as checks do.

use crate::{Error, ErrorKind, Filters, Result};
use jiff::{SignedDuration, Timestamp, civil};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether something runs that must not run twice at a time.
#[derive(Debug, Default)]
pub(crate) struct Running(AtomicBool);

/// Keeps another one from starting.
#[derive(Debug)]
pub(crate) struct Turn<R: Deref<Target = Running>>(R);

impl Running {
    /// The turn of a prune.
    ///
    /// # Errors
    /// `Conflict` while another one of the same kind runs.
    pub(crate) fn begin(&self) -> Result<Turn<&Self>> {
        claim(self, "a prune operation is already running")
    }

    /// A turn that may go to another thread; `text` is the refusal.
    ///
    /// # Errors
    /// `Conflict` while another one runs.
    pub(crate) fn claim(this: &Arc<Self>, text: &str) -> Result<Turn<Arc<Self>>> {
        claim(Arc::clone(this), text)
    }
}

fn claim<R: Deref<Target = Running>>(running: R, text: &str) -> Result<Turn<R>> {
    if running.0.swap(true, Ordering::AcqRel) {
        return Err(Error::new(ErrorKind::Conflict, text));
    }
    Ok(Turn(running))
}

impl<R: Deref<Target = Running>> Drop for Turn<R> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// Which objects a prune removes.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    until: Option<Timestamp>,
    with: Vec<String>,
    without: Vec<String>,
}

impl Chosen {
    /// Reads `until`, `label` and `label!`; `known` are the filters besides these. What is wrong with
    /// `until` is of kind `until_kind`: dockerd is of two minds about it.
    pub(crate) fn new(filters: &Filters, known: &[&str], until_kind: ErrorKind) -> Result<Self> {
        let strange = |name: &&String| {
            !matches!(name.as_str(), "until" | "label" | "label!")
                && !known.contains(&name.as_str())
        };
        if let Some(name) = filters.keys().find(strange) {
            let text = format!("invalid filter '{name}'");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let refused = |text: String| Error::new(until_kind, text);
        let until = match filters.get("until").map_or(&[][..], Vec::as_slice) {
            [] => None,
            [text] => Some(moment(text, Timestamp::now()).ok_or_else(|| {
                refused(format!(
                    "failed to parse value as time or duration: {text:?}"
                ))
            })?),
            _ => return Err(refused("more than one until filter specified".to_owned())),
        };
        let labels = |name: &str| filters.get(name).cloned().unwrap_or_default();
        Ok(Self {
            until,
            with: labels("label"),
            without: labels("label!"),
        })
    }

    /// Whether there is no filter at all.
    pub(crate) fn everything(&self) -> bool {
        self.until.is_none() && self.with.is_empty() && self.without.is_empty()
    }

    /// Whether something made `created` with these labels is chosen. As in dockerd all of `label` must
    /// match, and all of `label!` must to spare it.
    pub(crate) fn takes(
        &self,
        created: Option<Timestamp>,
        labels: Option<&BTreeMap<String, String>>,
    ) -> bool {
        let has = |label: &String| match label.split_once('=') {
            Some((name, value)) => {
                labels
                    .and_then(|labels| labels.get(name))
                    .map(String::as_str)
                    == Some(value)
            }
            None => labels.is_some_and(|labels| labels.contains_key(label)),
        };
        let old = self
            .until
            .is_none_or(|until| created.is_some_and(|created| created <= until));
        let spared = !self.without.is_empty() && self.without.iter().all(has);
        old && self.with.iter().all(has) && !spared
    }
}

/// A moment as Docker's clients write it: a Go duration before now, RFC 3339 with or without a zone
/// and the smaller parts, or seconds since 1970.
pub(crate) fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    // As in Go's clients, 0 is the year 1970.
    if text != "0"
        && let Ok(ago) = hull_spec::parse_duration(text)
    {
        return now.checked_sub(SignedDuration::from_nanos(ago)).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if text.contains('-') {
        let local = text.parse::<civil::DateTime>().ok()?;
        let zoned = local.to_zoned(jiff::tz::TimeZone::system()).ok()?;
        return Some(zoned.timestamp());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    Timestamp::new(seconds.parse().ok()?, digits.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_dockerd_reads_them() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("24h", Some("2026-11-20T12:00:00Z")),
            ("1h30m", Some("2026-11-21T10:30:00Z")),
            ("1.5h", Some("2026-11-21T10:30:00Z")),
            ("90s", Some("2026-11-21T11:58:30Z")),
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            (
                "2026-01-02T03:04:05.5+01:00",
                Some("2026-01-02T02:04:05.5Z"),
            ),
            ("0", Some("1970-01-01T00:00:00Z")),
            ("1700000000", Some("2023-11-14T22:13:20Z")),
            ("1700000000.25", Some("2023-11-14T22:13:20.25Z")),
            ("nope", None),
            ("", None),
            ("12x", None),
            ("1h-", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(moment(text, now), expected, "{text}");
        }
        for text in ["2026-01-02", "2026-01-02T03:04", "2026-01-02T03:04:05"] {
            assert!(moment(text, now).is_some(), "{text}");
        }
    }

    #[test]
    fn labels_choose_and_spare() {
        let chosen = |pairs: &[(&str, &[&str])]| {
            let own = |values: &[&str]| values.iter().map(|&v| v.to_owned()).collect();
            let filters = pairs
                .iter()
                .map(|(name, values)| ((*name).to_owned(), own(values)));
            Chosen::new(&filters.collect(), &[], ErrorKind::InvalidInput)
        };
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let takes = |pairs| chosen(pairs).unwrap().takes(None, Some(&labels));
        assert!(takes(&[]) && takes(&[("label", &["a"])]) && takes(&[("label", &["a=1"])]));
        assert!(!takes(&[("label", &["a=2"])]) && !takes(&[("label", &["a", "b"])]));
        assert!(!takes(&[("label!", &["a"])]) && takes(&[("label!", &["a", "b"])]));
        assert!(!takes(&[("until", &["1h"])]), "nobody knows how old it is");
        let text = |pairs| chosen(pairs).unwrap_err().message().to_owned();
        assert_eq!(text(&[("x", &["1"])]), "invalid filter 'x'");
        assert_eq!(
            text(&[("until", &["nope"])]),
            "failed to parse value as time or duration: \"nope\""
        );
        assert_eq!(
            text(&[("until", &["1h", "2h"])]),
            "more than one until filter specified"
        );
    }
}
