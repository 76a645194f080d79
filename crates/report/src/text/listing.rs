//! Lists for people: a heading, a line for each entry, and below an entry what else is to be said of it.

use std::collections::BTreeSet;

use comfy_table::Cell;
use rekindle_model::{id, shown};

use super::{plain, printed, right};

/// A column of a list.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Ids. People see the ends of them that tell these ids apart; each command takes an end for the id.
    Id(&'static str),
    /// Words.
    Text(&'static str),
    /// Figures, which end at the same place.
    Figure(&'static str),
}

/// What is to be thought of an entry, at a glance and without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Good,
    /// Bad.
    Bad,
    /// A person should look.
    Unsure,
    /// At work, or nothing to judge.
    None,
}

impl Mark {
    /// Returns the character.
    pub fn char(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Bad => '✗',
            Self::Unsure => '!',
            Self::None => ' ',
        }
    }
}

/// An entry: its mark, a cell for each column, and its notes.
type Row = (Mark, Vec<String>, Vec<String>);

/// A list that grows. What it holds cannot act on a terminal.
#[derive(Debug)]
pub struct Listing {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Listing {
    /// Returns a list without entries.
    pub fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds an entry, with a cell for each column, and with notes that stand below it.
    pub fn push(&mut self, mark: Mark, cells: Vec<String>, notes: Vec<String>) {
        self.rows.push((mark, cells, notes));
    }

    /// Returns the list as text; empty without an entry.
    pub fn text(mut self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        self.shorten_ids();
        let mut table = plain();
        let header = self.columns.iter().map(|column| match column {
            Column::Id(name) | Column::Text(name) => Cell::new(name),
            Column::Figure(name) => right((*name).to_owned()),
        });
        table.set_header(std::iter::once(Cell::new(" ")).chain(header));
        for (mark, cells, _) in &self.rows {
            let cells = self.columns.iter().zip(cells).map(|(column, text)| {
                let text = shown::line(text).into_owned();
                match column {
                    Column::Id(_) | Column::Text(_) => Cell::new(text),
                    Column::Figure(_) => right(text),
                }
            });
            table.add_row(std::iter::once(Cell::new(mark.char())).chain(cells));
        }
        let table = printed(table);
        let mut lines = table.lines();
        let mut text = lines.next().unwrap_or_default().to_owned();
        for (line, (_, _, notes)) in lines.zip(&self.rows) {
            text.push('\n');
            text.push_str(line);
            for note in notes {
                text.push_str("\n    ");
                text.push_str(&shown::line(note));
            }
        }
        text
    }

    fn shorten_ids(&mut self) {
        for at in 0..self.columns.len() {
            if !matches!(self.columns[at], Column::Id(_)) {
                continue;
            }
            let cells = self.rows.iter().filter_map(|(_, cells, _)| cells.get(at));
            let ids: BTreeSet<String> = cells.cloned().collect();
            let ends = id::ends(&ids);
            for (_, cells, _) in &mut self.rows {
                if let Some(cell) = cells.get_mut(at)
                    && let Some(end) = ends.get(cell.as_str())
                {
                    *cell = (*end).to_owned();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_has_its_line_and_its_notes_below_it_and_none_can_forge_another() {
        let mut listing = Listing::new(&[Column::Text("run"), Column::Figure("took")]);
        listing.push(Mark::Good, vec!["a".into(), "900 ms".into()], vec![]);
        let forged = "b\n✓ c".to_owned();
        listing.push(Mark::Bad, vec![forged.clone(), "1 s".into()], vec![forged]);
        assert_eq!(
            listing.text(),
            "  run      took\n✓ a      900 ms\n✗ b\\n✓ c    1 s\n    b\\n✓ c"
        );
        assert_eq!(Listing::new(&[Column::Text("run")]).text(), "");
    }

    #[test]
    fn ids_are_shown_by_ends_that_tell_them_apart() {
        let mut listing = Listing::new(&[Column::Id("run")]);
        for id in [
            "01a2-0000-aaaa11112222",
            "01a2-0000-bbbb11112222",
            "01a2-0000-bbbb11112222",
        ] {
            listing.push(Mark::None, vec![id.to_owned()], vec![]);
        }
        assert_eq!(listing.text(), "  run\n  a11112222\n  b11112222\n  b11112222");
    }
}
