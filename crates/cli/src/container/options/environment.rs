//! `--env`, `--env-file`, `--label`, `--label-file`: pairs from flags and files.

use std::collections::BTreeMap;
use std::env;

/// `--env`: anything with a name.
pub(in crate::container) fn check_env(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(())
}

/// `--label`: anything with a name.
pub(crate) fn check_label(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid label '{text}': empty name"));
    }
    Ok(())
}

/// The kernel parameters outside `net.` and `fs.mqueue.` that a namespace has for itself.
const OWN_SYSCTLS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// `--sysctl`: a parameter that a namespace has for itself, with its value.
pub(super) fn check_sysctl(text: &str) -> Result<(), String> {
    match text.split_once('=') {
        Some((name, _))
            if OWN_SYSCTLS.contains(&name)
                || name.starts_with("net.")
                || name.starts_with("fs.mqueue.") =>
        {
            Ok(())
        }
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// The environment of files, then of flags. A name alone passes our own variable on: in a file only
/// when we have it, from a flag otherwise as a name, which removes the image's.
pub(in crate::container) fn environment(
    files: &[String],
    flags: &[String],
) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for file in files {
        for line in lines(file)? {
            if line.contains('=') {
                all.push(line);
            } else if let Ok(value) = env::var(&line) {
                all.push(format!("{line}={value}"));
            }
        }
    }
    for flag in flags {
        match env::var(flag) {
            Ok(value) if !flag.contains('=') => all.push(format!("{flag}={value}")),
            _ => all.push(flag.clone()),
        }
    }
    Ok(all)
}

/// The labels of files, then of flags.
pub(super) fn labels(
    files: &[String],
    flags: &[String],
) -> Result<BTreeMap<String, String>, String> {
    let mut all = Vec::new();
    for file in files {
        // As for Docker, a name alone says nothing in a file.
        all.extend(lines(file)?.into_iter().filter(|line| line.contains('=')));
    }
    all.extend_from_slice(flags);
    Ok(pairs(&all))
}

/// `name=value` as a map; a name alone has an empty value.
pub(crate) fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text.clone(), String::new()),
        })
        .collect()
}

/// The lines of a file that say something: not empty, not comments, each beginning with a name
/// without spaces.
fn lines(path: &str) -> Result<Vec<String>, String> {
    let text = fs_err::read(path).map_err(|error| format!("open {path}: {}", go_words(&error)))?;
    parse(path, &text)
}

fn parse(path: &str, text: &[u8]) -> Result<Vec<String>, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut found = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| {
            format!(
                "invalid utf8 bytes at line {} of file {path}: {}",
                number + 1,
                String::from_utf8_lossy(line)
            )
        })?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or(line);
        if name.is_empty() {
            return Err(format!(
                "invalid env file ({path}): no variable name on line '{line}'"
            ));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!(
                "invalid env file ({path}): variable '{name}' contains whitespaces"
            ));
        }
        found.push(line.to_owned());
    }
    Ok(found)
}

/// An error of a file as Go words it.
pub(super) fn go_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_names_comments_and_values_as_they_stand() {
        let text = b"\xef\xbb\xbf# comment\n\n  A=1 # not one\r\nB= x\nC\n";
        assert_eq!(parse("f", text).unwrap(), ["A=1 # not one", "B= x", "C"]);
        assert_eq!(
            parse("f", b"A B=1").unwrap_err(),
            "invalid env file (f): variable 'A B' contains whitespaces"
        );
        assert_eq!(
            parse("f", b"=x").unwrap_err(),
            "invalid env file (f): no variable name on line '=x'"
        );
        assert!(
            parse("f", b"A=\xff")
                .unwrap_err()
                .contains("line 1 of file f")
        );
    }

    #[test]
    fn a_name_alone_passes_our_variable_on() {
        let flags = ["A=1", "PATH", "HULL_TEST_NOT_SET"].map(str::to_owned);
        let all = environment(&[], &flags).unwrap();
        assert_eq!(all[0], "A=1");
        assert!(all[1].starts_with("PATH=/"));
        assert_eq!(all[2], "HULL_TEST_NOT_SET");
        assert_eq!(
            environment(&["/nonexistent".to_owned()], &[]).unwrap_err(),
            "open /nonexistent: no such file or directory"
        );
    }

    #[test]
    fn names_are_demanded() {
        assert_eq!(check_env("").unwrap_err(), "invalid environment variable: ");
        assert!(check_env("=x").is_err() && check_env("A").is_ok());
        assert_eq!(pairs(&["a=b=c".to_owned(), "d".to_owned()])["a"], "b=c");
    }
}
