//! Elastic tab stops, as Go's `text/tabwriter` sets them: Docker's tables are made with it, and
//! scripts cut their columns.

use super::ellipsis;

/// Narrower no column becomes: an id stays whole.
const NARROWEST: usize = 12;

/// Collects lines with tabs and aligns them.
#[derive(Debug)]
pub(crate) struct TabWriter {
    min_width: usize,
    padding: usize,
    text: String,
}

impl TabWriter {
    /// Columns are at least `min_width` wide and end in at least `padding` spaces.
    pub(crate) fn new(min_width: usize, padding: usize) -> Self {
        Self {
            min_width,
            padding,
            text: String::new(),
        }
    }

    /// Adds text; cells end with tabs, rows with newlines.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The aligned text, its longest cells cut so that no line is wider than `columns`, as far as that makes sense.
    pub(crate) fn finish_within(mut self, columns: usize) -> String {
        let rows: Vec<Vec<&str>> = self
            .text
            .split('\n')
            .map(|line| line.split('\t').collect())
            .collect();
        let count = rows.iter().map(Vec::len).max().unwrap_or_default();
        let longest = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let mut widths: Vec<usize> = (0..count).map(longest).collect();
        loop {
            let padded = widths
                .iter()
                .map(|width| (width + self.padding).max(self.min_width));
            let excess = padded.sum::<usize>().saturating_sub(columns + self.padding);
            let Some(widest) = widths.iter_mut().max().filter(|_| excess > 0) else {
                break;
            };
            if *widest <= NARROWEST {
                break;
            }
            *widest -= 1;
        }
        let cut = |row: Vec<&str>| {
            let cells = row.iter().zip(&widths);
            let cells: Vec<String> = cells.map(|(cell, width)| ellipsis(cell, *width)).collect();
            cells.join("\t")
        };
        let lines: Vec<String> = rows.into_iter().map(cut).collect();
        self.text = lines.join("\n");
        self.finish()
    }

    /// The aligned text.
    pub(crate) fn finish(self) -> String {
        let mut lines: Vec<Vec<&str>> = self
            .text
            .split('\n')
            .map(|line| line.split('\t').collect())
            .collect();
        let ends_with_newline = self.text.ends_with('\n');
        if ends_with_newline {
            lines.pop();
        }
        let mut out = String::with_capacity(self.text.len() * 2);
        self.align(&lines, &mut Vec::new(), &mut out);
        if !ends_with_newline {
            out.pop();
        }
        out
    }

    /// A column is a run of lines that all have a tab after its cell; columns right of it are set
    /// within that run.
    fn align(&self, lines: &[Vec<&str>], widths: &mut Vec<usize>, out: &mut String) {
        let column = widths.len();
        let mut plain = 0;
        let mut at = 0;
        while at < lines.len() {
            if column + 1 >= lines[at].len() {
                at += 1;
                continue;
            }
            write_lines(&lines[plain..at], widths, out);
            let end = lines[at..]
                .iter()
                .position(|line| column + 1 >= line.len())
                .map_or(lines.len(), |run| at + run);
            let width = lines[at..end]
                .iter()
                .map(|line| line[column].chars().count() + self.padding)
                .max()
                .unwrap_or_default()
                .max(self.min_width);
            widths.push(width);
            self.align(&lines[at..end], widths, out);
            widths.pop();
            at = end;
            plain = end;
        }
        write_lines(&lines[plain..], widths, out);
    }
}

fn write_lines(lines: &[Vec<&str>], widths: &[usize], out: &mut String) {
    for line in lines {
        for (index, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                let missing = width.saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', missing));
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> String {
        let mut writer = TabWriter::new(10, 3);
        writer.push(text);
        writer.finish()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            table("CONTAINER ID\tNAMES\n0123456789ab\tweb\n"),
            "CONTAINER ID   NAMES\n0123456789ab   web\n"
        );
        assert_eq!(
            table("A\tB\tC\n1\tlonger than ten\t\n"),
            "A         B                 C\n1         longer than ten   \n"
        );
    }

    #[test]
    fn long_cells_are_cut_where_the_terminal_ends() {
        let within = |columns: usize| {
            let mut writer = TabWriter::new(10, 3);
            writer.push("CONTAINER ID\tCOMMAND\tNAMES\n0123456789ab\ta command of some length\ta-name-as-long-as-that\n");
            writer.finish_within(columns)
        };
        assert_eq!(
            within(200).lines().last().unwrap().chars().count(),
            15 + 27 + 22
        );
        let cut = within(50);
        assert_eq!(
            cut.lines().last().unwrap(),
            "0123456789ab   a command of so…   a-name-as-long-…"
        );
        assert!(within(1).contains("0123456789ab"), "{}", within(1));
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        assert_eq!(
            table("a long first cell\tx\nplain\nb\tc\n"),
            "a long first cell   x\nplain\nb         c\n"
        );
        assert_eq!(table("no end\tx"), "no end    x");
        assert_eq!(table(""), "");
    }
}
