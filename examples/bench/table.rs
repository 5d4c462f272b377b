//! The table: rows of a measure, its figure, its aim and how much of the aim it takes. Pure text.

use std::fmt;

/// All rows, in the order of adding.
pub struct Table {
    rows: Vec<Row>,
}

/// One measure.
pub struct Row {
    measure: String,
    figure: String,
    aim: String,
    ratio: String,
}

impl Table {
    /// No rows yet.
    pub const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl Row {
    /// A figure that has no aim.
    pub fn of(measure: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { measure: measure.into(), figure: figure.into(), aim: String::new(), ratio: String::new() }
    }

    /// The figure should be at most this; its ratio to that is shown.
    pub fn aim_at_most(self, aim: impl fmt::Display, found: u64, most: u64) -> Self {
        Self { aim: format!("<= {aim}"), ratio: format!("{:.2}", found as f64 / most as f64), ..self }
    }

    /// The figure should be nothing at all.
    pub fn aim_nothing(self) -> Self {
        Self { aim: "0".to_owned(), ..self }
    }

    /// How much of an aim the figure takes, where that is said beside.
    pub fn ratio(self, aim: impl fmt::Display, ratio: f64) -> Self {
        Self { aim: format!("<= {aim}"), ratio: format!("{ratio:.2}"), ..self }
    }

    /// The figure is a ratio itself, and should be at most this.
    pub fn ratio_at_most(self, ratio: f64, most: f64) -> Self {
        Self { aim: format!("<= {most}"), ratio: format!("{:.2}", ratio / most), ..self }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = Row {
            measure: "measure".to_owned(),
            figure: "figure".to_owned(),
            aim: "aim".to_owned(),
            ratio: "figure/aim".to_owned(),
        };
        let width = |text: fn(&Row) -> &String| {
            self.rows.iter().chain([&head]).map(|row| text(row).chars().count()).max().unwrap_or(0)
        };
        let widths = (width(|r| &r.measure), width(|r| &r.figure), width(|r| &r.aim));
        for row in [&head].into_iter().chain(&self.rows) {
            let line = format!(
                "{:<3$}  {:<4$}  {:<5$}  ",
                row.measure, row.figure, row.aim, widths.0, widths.1, widths.2
            );
            writeln!(f, "{}", format!("{line}{}", row.ratio).trim_end())?;
        }
        Ok(())
    }
}

/// Bytes in units of a million.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
