//! What a comparison leaves behind: every run and the table as JSON lines, the table for people, plots.
//!
//! What always holds: a run is in the file before the next one begins, so that a comparison that is
//! broken off keeps what it has.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::machine;
use super::plot::{self, Line};
use super::table::Section;
use crate::report::line;

/// Where it goes.
pub(super) struct Out {
    directory: PathBuf,
    runs: File,
    sections: Vec<Section>,
    notes: Vec<String>,
}

impl Out {
    /// Makes the directory, and in it the file for the runs anew.
    pub(super) fn new(directory: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        fs::create_dir_all(directory).map_err(failed)?;
        Ok(Self {
            directory: directory.to_owned(),
            runs: File::create(directory.join("runs.jsonl")).map_err(failed)?,
            sections: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Adds one line for scripts.
    pub(super) fn json(&mut self, value: &Value) -> Result<(), String> {
        let written = writeln!(self.runs, "{value}");
        written.map_err(|error| format!("{}: {error}", self.directory.display()))
    }

    /// Tells which machine this is.
    pub(super) fn machine(&mut self, about: &Value) -> Result<(), String> {
        for told in machine::lines(about) {
            line(&told);
        }
        self.json(about)
    }

    /// Something that whoever reads the table must know; once.
    pub(super) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// Takes a section of the table, prints it and draws its lines.
    pub(super) fn section(
        &mut self,
        section: Section,
        plots: Vec<(String, Vec<Line>)>,
    ) -> Result<(), String> {
        if section.is_empty() {
            return Ok(());
        }
        line("");
        for told in section.lines() {
            line(&told);
        }
        for value in section.json() {
            self.json(&value)?;
        }
        for (name, lines) in plots {
            let id = section.id();
            let Some(svg) = plot::svg(&format!("{id}: {name}"), &lines) else {
                continue;
            };
            let file = format!("{id}-{name}.svg").replace([' ', ',', '/'], "-");
            self.write(&file, &svg)?;
        }
        self.sections.push(section);
        Ok(())
    }

    /// Writes and prints the whole table.
    pub(super) fn finish(&self, about: &Value) -> Result<(), String> {
        let mut table = machine::lines(about);
        table.extend(self.notes.iter().cloned());
        for section in &self.sections {
            table.push(String::new());
            table.extend(section.lines());
        }
        self.write("table.txt", &(table.join("\n") + "\n"))?;
        line("");
        for told in &table {
            line(told);
        }
        line("");
        line(&format!("all of it is in {}", self.directory.display()));
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.directory.join(file);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
