//! The form of `cases/*.txt`: a command line in each line, without the program's name, quoted as for a shell.
//!
//! ```text
//! # what is looked at
//! ps -a --format '{{.Names}}'       a line
//! ! create --name web box:1         only done, not compared; has to succeed
//! NAME=value ps                     with a variable (an empty one is unset)
//! ~ network ls -q                   whose output has no order
//! @ {"psFormat":"{{.Names}}"}       what config.json has from now on
//! ```

/// A command line.
#[derive(Debug)]
pub(crate) struct Case {
    /// As it is written, for messages and recordings.
    pub(crate) line: String,
    pub(crate) words: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    /// Not compared.
    pub(crate) quiet: bool,
    /// The lines that are printed come in any order.
    unordered: bool,
}

impl Case {
    /// Text without an order that means nothing.
    pub(crate) fn arrange(&self, text: String) -> String {
        if !self.unordered {
            return text;
        }
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.into_iter().map(|line| format!("{line}\n")).collect()
    }
}

pub(crate) fn parse(text: &str) -> Vec<Case> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (quiet, rest) = strip(line, "! ");
            let (unordered, rest) = strip(rest, "~ ");
            let mut words = split(rest);
            let is_pair = |word: &String| {
                word.split_once('=').is_some_and(|(name, _)| {
                    name.starts_with(|c: char| c.is_ascii_uppercase())
                        && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
                })
            };
            let pairs = words.iter().take_while(|word| is_pair(word)).count();
            let variables = words.drain(..pairs).map(|word| {
                let (name, value) = word.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            });
            let variables = variables.collect();
            Case {
                line: rest.to_owned(),
                words,
                variables,
                quiet,
                unordered,
            }
        })
        .collect()
}

fn strip<'a>(line: &'a str, sign: &str) -> (bool, &'a str) {
    match line.strip_prefix(sign) {
        Some(rest) => (true, rest),
        None => (false, line),
    }
}

/// Words as a shell splits them, with single and double quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut within, mut quote) = (String::new(), false, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => (quote, within) = (Some(c), true),
            (None, ' ') => {
                if within || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                within = false;
            }
            (None, _) => word.push(c),
        }
    }
    if within || !word.is_empty() {
        words.push(word);
    }
    words
}

#[test]
fn lines_are_split_as_by_a_shell() {
    assert_eq!(split("a 'b \"c' \"\" d'e'"), ["a", "b \"c", "", "de"]);
    let case = parse("! A_B=1 C= ps -a\n").remove(0);
    assert!(case.quiet && case.words == ["ps", "-a"]);
    assert_eq!(case.variables.len(), 2);
}
