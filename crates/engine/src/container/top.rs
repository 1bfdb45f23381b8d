//! `top`.

use super::{State, Top, resources};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_linux::cgroup::Cgroup;
use std::sync::Arc;

impl Engine {
    /// The processes of a container, by ps(1) with these arguments (empty: `-ef`).
    ///
    /// # Errors
    /// `Conflict` when it does not run, `InvalidInput` for arguments that show no process ids.
    pub async fn top(self: &Arc<Self>, name: &str, ps_args: &str) -> Result<Top> {
        let container = self.find(name)?;
        let record = container.record();
        match record.state {
            State::Running { .. } | State::Paused { .. } => {}
            State::Restarting { .. } => return Err(super::live::restarting(&record.id)),
            _ => return Err(container.not_running()),
        }
        let args = if ps_args.is_empty() {
            "-ef".to_owned()
        } else {
            ps_args.to_owned()
        };
        let layout = self.cgroups.clone();
        let group = resources::cgroup(&record.config, &record.id);
        let top = blocking(move || {
            let failed = |e: hull_linux::cgroup::Error| {
                Error::new(
                    ErrorKind::Internal,
                    "could not list the container's processes",
                )
                .caused_by(e)
            };
            let pids = Cgroup::new(layout, &group)
                .and_then(|group| group.pids())
                .map_err(failed)?;
            parse(&ps(&args, &pids)?, &pids)
        })
        .await?;
        self.tell_container(&container, "top", &[]);
        Ok(top)
    }
}

/// Runs ps: restricted to the container's processes, which lists only what is wanted; where its
/// arguments do not go together with that, for all.
fn ps(args: &str, pids: &[u32]) -> Result<String> {
    let words: Vec<&str> = args.split_whitespace().collect();
    let list = pids
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let run = |with: &[&str]| {
        std::process::Command::new("ps")
            .args(&words)
            .args(with)
            .output()
            .map_err(|e| {
                Error::new(
                    ErrorKind::Internal,
                    "could not run ps: install the package procps",
                )
                .caused_by(e)
            })
    };
    let restricted = run(&["-q", &list])?;
    if restricted.status.success() {
        return Ok(String::from_utf8_lossy(&restricted.stdout).into_owned());
    }
    let output = run(&[])?;
    if !output.status.success() {
        let text = format!(
            "ps: {}",
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .next()
                .unwrap_or_default()
        );
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Takes the container's rows out of ps's table: those whose column `PID` is one of `pids`.
fn parse(text: &str, pids: &[u32]) -> Result<Top> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "Couldn't find PID field in ps output",
        ));
    };
    let mut processes = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pid: Option<u32> = words.get(column).and_then(|word| word.parse().ok());
        if !pid.is_some_and(|pid| pids.contains(&pid)) {
            continue;
        }
        // The last column is the command, which has spaces of its own.
        let (fields, command) = words.split_at(titles.len().saturating_sub(1).min(words.len()));
        let mut row: Vec<String> = fields.iter().map(|word| (*word).to_owned()).collect();
        row.push(command.join(" "));
        processes.push(row);
    }
    Ok(Top { titles, processes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_container_are_taken() {
        let text = "UID PID PPID CMD\nroot 1 0 init\nuser 7 1 sleep  10\n";
        let top = parse(text, &[7]).unwrap();
        assert_eq!(top.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(top.processes, [["user", "7", "1", "sleep 10"]]);
        assert!(parse("UID CMD\n", &[]).is_err());
    }
}
