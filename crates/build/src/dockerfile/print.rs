//! Statements as text again.

use super::heredoc::Heredoc;
use super::syntax::{Statement, Syntax, before_escape};
use std::fmt;

/// The Dockerfile with each statement on one line. Comments inside of statements, and spaces between them, are
/// gone; read again it is the same but for the lines.
impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for directive in &self.directives {
            writeln!(f, "# {}={}", directive.name, directive.value)?;
        }
        // A comment below would be read as a directive otherwise, and a mark of the byte order would go.
        writeln!(f)?;
        for statement in &self.statements {
            print(f, statement, self.escape)?;
        }
        Ok(())
    }
}

fn print(f: &mut fmt::Formatter<'_>, statement: &Statement, escape: char) -> fmt::Result {
    for comment in &statement.comments {
        writeln!(f, "# {comment}")?;
    }
    f.write_str(&statement.text)?;
    // The last one may be so, when the file ends in the middle of it. One more escape is what it had.
    if statement.text.is_empty() || before_escape(&statement.text, escape).is_some() {
        write!(f, "{escape}")?;
    }
    writeln!(f)?;
    for Heredoc { content, name, .. } in &statement.heredocs {
        writeln!(f, "{content}{name}")?;
    }
    Ok(())
}
