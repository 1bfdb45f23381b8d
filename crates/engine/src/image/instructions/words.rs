//! Words of an instruction: quotes, `name=value` pairs, variables.

/// The pairs of `ENV` and `LABEL`, quotes and all: `a=b c="d e"`, or the old form of one name and the
/// rest of the line. Fails when there is a name without a value.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, ()> {
    let text = text.trim();
    let words = split(text);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace).ok_or(())?;
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').ok_or(())?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

/// Cuts at blanks that are neither quoted nor escaped; quotes stay.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quote != Some('\'') => {
                word.push(character);
                word.extend(characters.next());
                continue;
            }
            '"' | '\'' if quote.is_none() => quote = Some(character),
            _ if quote == Some(character) => quote = None,
            _ if character.is_whitespace() && quote.is_none() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(character);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// How deep a variable's replacement has variables of its own; as many frames lie on the stack.
const MAX_DEPTH: usize = 32;

/// Takes quotes away and puts variables in: `$name`, `${name}`, `${name:-else}`, `${name:+then}`,
/// `${name-else}`, `${name+then}`.
pub(super) fn expand(text: &str, env: &[String]) -> Result<String, String> {
    let mut expander = Expander {
        text,
        rest: text.chars().peekable(),
        env,
        depth: 0,
    };
    expander.until(None)
}

struct Expander<'a> {
    text: &'a str,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    env: &'a [String],
    /// Of variables inside of variables.
    depth: usize,
}

impl Expander<'_> {
    /// Up to an end mark that is not quoted, which is consumed.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                _ if Some(character) == end => return Ok(out),
                '\'' => self.single(&mut out)?,
                '"' => self.double(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                '\\' => out.extend(self.rest.next()),
                _ => out.push(character),
            }
        }
        match end {
            None => Ok(out),
            Some(_) => Err(format!("failed to process {:?}: missing '}}'", self.text)),
        }
    }

    /// What stands for a variable, up to its brace.
    fn replacement(&mut self) -> Result<String, String> {
        if self.depth == MAX_DEPTH {
            return Err(format!(
                "failed to expand variables: they are nested more than {MAX_DEPTH} deep"
            ));
        }
        self.depth += 1;
        let replacement = self.until(Some('}'))?;
        self.depth -= 1;
        Ok(replacement)
    }

    fn unended(&self, quote: &str) -> String {
        format!(
            "failed to process {:?}: unexpected end of statement while looking for matching {quote}",
            self.text
        )
    }

    fn single(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.rest.next() {
                None => return Err(self.unended("single-quote")),
                Some('\'') => return Ok(()),
                Some(character) => out.push(character),
            }
        }
    }

    fn double(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.rest.next() {
                None => return Err(self.unended("double-quote")),
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some('\\') => match self.rest.next() {
                    Some(escaped @ ('"' | '$' | '\\')) => out.push(escaped),
                    Some(other) => out.extend(['\\', other]),
                    None => return Err(self.unended("double-quote")),
                },
                Some(character) => out.push(character),
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(character) = self.rest.peek() {
            let first = name.is_empty();
            let fits = character.is_ascii_alphabetic()
                || *character == '_'
                || (!first && character.is_ascii_digit());
            if !fits {
                break;
            }
            name.extend(self.rest.next());
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        let of_name = |variable: &&String| {
            variable
                .split_once('=')
                .is_some_and(|(known, _)| known == name)
        };
        let variable = self.env.iter().find(of_name)?;
        variable.split_once('=').map(|(_, value)| value.to_owned())
    }

    fn variable(&mut self) -> Result<String, String> {
        if self.rest.peek() != Some(&'{') {
            let name = self.name();
            return Ok(match name.as_str() {
                "" => "$".to_owned(),
                name => self.value(name).unwrap_or_default(),
            });
        }
        self.rest.next();
        let name = self.name();
        if name.is_empty() {
            return Err(format!(
                "failed to process {:?}: bad substitution",
                self.text
            ));
        }
        let value = self.value(&name);
        let (mut operator, mut empty_counts) = (self.rest.next(), true);
        if operator == Some(':') {
            (operator, empty_counts) = (self.rest.next(), false);
        }
        let is_set = value
            .as_ref()
            .is_some_and(|value| empty_counts || !value.is_empty());
        match operator {
            Some('}') if empty_counts => Ok(value.unwrap_or_default()),
            Some('-') => {
                let other = self.replacement()?;
                Ok(value.filter(|_| is_set).unwrap_or(other))
            }
            Some('+') => {
                let other = self.replacement()?;
                Ok(if is_set { other } else { String::new() })
            }
            _ => {
                let text = self.text;
                Err(format!(
                    "failed to process {text:?}: unsupported modifier in substitution"
                ))
            }
        }
    }
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `300ms`.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    let mut rest = text;
    let mut total = 0.0;
    if rest == "0" {
        return Some(0);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end])?;
        rest = &rest[end..];
        total += number * unit;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
    let whole = total as i64;
    (!text.is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_nested_only_so_deep() {
        let nested = |depth: usize| format!("{}x{}", "${a-".repeat(depth), "}".repeat(depth));
        assert_eq!(expand(&nested(32), &[]).unwrap(), "x");
        for depth in [33, 100_000] {
            let error = expand(&nested(depth), &[]).unwrap_err();
            assert!(error.contains("more than 32 deep"), "{error}");
            let quoted = format!("\"{}\"", nested(depth));
            assert!(expand(&quoted, &[]).is_err());
        }
        let beside = nested(32).repeat(3);
        assert_eq!(expand(&beside, &[]).unwrap(), "xxx");
    }
}
