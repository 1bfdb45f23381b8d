//! Filters of `du` and `prune`, as BuildKit's clients send them: of several one must fit, and of one, all selectors
//! (containerd's `pkg/filters`): `field`, `field==value`, `field!=value`, `field~=expression`, with commas between.

use hull_engine::build::BuildRecord;
use hull_engine::build::cache::Kind;
use regex::Regex;
use tonic::Status;

/// The longest filter, bytes, and how many there may be.
const MAX_LENGTH: usize = 4096;
const MAX_FILTERS: usize = 64;

/// They, read. None is: all records fit.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters(Vec<Vec<Selector>>);

#[derive(Clone, Debug)]
struct Selector {
    field: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

fn invalid(filter: &str, why: &str) -> Status {
    Status::invalid_argument(format!("failed to parse filters [{filter}]: {why}"))
}

impl Filters {
    /// # Errors
    /// `InvalidArgument` for what is none.
    pub(super) fn parse(typed: &[String]) -> Result<Self, Status> {
        // buildx sends an empty one for none.
        let typed: Vec<&String> = typed.iter().filter(|text| !text.is_empty()).collect();
        if typed.len() > MAX_FILTERS || typed.iter().any(|text| text.len() > MAX_LENGTH) {
            return Err(Status::invalid_argument("there are too many filters"));
        }
        let read = typed.into_iter().map(|text| filter(text));
        Ok(Self(read.collect::<Result<_, _>>()?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a record fits.
    pub(super) fn takes(&self, record: &BuildRecord) -> bool {
        let fits = |all: &Vec<Selector>| all.iter().all(|one| one.fits(record));
        self.is_empty() || self.0.iter().any(fits)
    }
}

impl Selector {
    fn fits(&self, record: &BuildRecord) -> bool {
        let found = field(record, &self.field);
        let value = found.as_deref().unwrap_or_default();
        match &self.test {
            Test::Present => found.is_some(),
            Test::Equal(wanted) => found.is_some() && value == wanted,
            Test::NotEqual(wanted) => value != wanted,
            Test::Matches(expression) => expression.is_match(value),
        }
    }
}

/// What a record has in a field; of what is only so or not so an empty text or none.
fn field(record: &BuildRecord, name: &str) -> Option<String> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let so = |is: bool| is.then(String::new);
    let mutable = matches!(record.kind, Kind::Local | Kind::CacheMount);
    match name {
        "id" => text(&record.id),
        "parents" => text(&record.parents.join(";")),
        "description" => text(&record.description),
        "type" => text(record.kind.as_str()),
        "inuse" => so(record.in_use),
        "mutable" => so(mutable),
        "immutable" => so(!mutable),
        "shared" => so(record.shared),
        "private" => so(!record.shared),
        _ => None,
    }
}

fn filter(text: &str) -> Result<Vec<Selector>, Status> {
    let mut selectors = Vec::new();
    let mut rest = text;
    loop {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        if field.is_empty() {
            return Err(invalid(text, "a field is missing"));
        }
        let (test, after) = test(text, after)?;
        selectors.push(Selector {
            field: field.to_owned(),
            test,
        });
        rest = match after.strip_prefix(',') {
            Some(rest) => rest,
            None if after.is_empty() => return Ok(selectors),
            None => return Err(invalid(text, "a comma is missing")),
        };
    }
}

/// An operator and its value; and what stands after them.
fn test<'a>(whole: &str, text: &'a str) -> Result<(Test, &'a str), Status> {
    let Some((operator, rest)) = text.split_at_checked(2) else {
        return Ok((Test::Present, text));
    };
    let make: fn(String) -> Result<Test, regex::Error> = match operator {
        "==" => |value| Ok(Test::Equal(value)),
        "!=" => |value| Ok(Test::NotEqual(value)),
        "~=" => |value| Regex::new(&value).map(Test::Matches),
        _ => return Ok((Test::Present, text)),
    };
    let (value, rest) = value(whole, rest)?;
    let test = make(value).map_err(|error| invalid(whole, &error.to_string()))?;
    Ok((test, rest))
}

/// A value, which may be in quotes.
fn value<'a>(whole: &str, text: &'a str) -> Result<(String, &'a str), Status> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err(invalid(whole, "a quote is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn record() -> BuildRecord {
        BuildRecord {
            id: "abcdef".to_owned(),
            parents: vec!["p1".to_owned(), "p2".to_owned()],
            kind: Kind::CacheMount,
            description: "mount / from, \"x\"".to_owned(),
            in_use: false,
            shared: true,
            size: 1,
            created: Timestamp::UNIX_EPOCH,
            last_used: None,
            uses: 0,
        }
    }

    fn takes(filters: &[&str]) -> bool {
        let filters: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        Filters::parse(&filters).unwrap().takes(&record())
    }

    #[test]
    fn filters_are_read_as_containerd_does() {
        for fits in [
            &[][..],
            &[""],
            &["type==exec.cachemount"],
            &["id~=^abc"],
            &["shared,mutable"],
            &["inuse", "shared"],
            &["type!=regular,id==abcdef"],
            &["parents==p1;p2"],
            &[r#"description=="mount / from, \"x\"",shared"#],
            &["nothing!=x"],
        ] {
            assert!(takes(fits), "{fits:?}");
        }
        for other in [
            "type==regular",
            "id==abc",
            "private",
            "immutable",
            "shared,inuse",
            "nothing",
            "shared==true",
        ] {
            assert!(!takes(&[other]), "{other}");
        }
        for wrong in ["==x", "id~=(", "id=x", "id==\"x", "id==\"x\"y", ","] {
            let status = Filters::parse(&[wrong.to_owned()]).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{wrong}");
        }
        assert!(Filters::parse(&vec!["id".to_owned(); 65]).is_err());
    }
}
