//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Line and column in the file, from 1. A value that came from a flag has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `None` when it came from a flag, an input or the environment.
    pub file: Option<PathBuf>,
    /// From 1; 0 when there is no file, or when the whole file is meant.
    pub line: u64,
    pub column: u64,
    pub message: String,
    pub hint: Option<String>,
    /// What is missing may be there in another run: a variable that is not set, a file that an earlier step writes.
    pub is_of_surroundings: bool,
}

impl ConfigError {
    /// An error of a flag or of the surroundings: it has no place in a file.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            file: None,
            line: 0,
            column: 0,
            message: printable(message.into()),
            hint: None,
            is_of_surroundings: false,
        }
    }

    pub fn at(place: Place, message: impl Into<String>) -> Self {
        Self { line: place.line, column: place.column, ..Self::new(message) }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(printable(hint.into()));
        self
    }

    /// The same as one of the run's surroundings.
    pub(super) fn missing(mut self) -> Self {
        self.is_of_surroundings = true;
        self
    }

    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

/// What a document holds is quoted in messages: it must not move a terminal's cursor, nor begin a line of its own that a
/// runner takes for a workflow command.
fn printable(text: String) -> String {
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if self.line > 0 {
                write!(f, "{}:{}:", self.line, self.column)?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that was found wrong, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Sorted by place and tied to the file they were found in.
    pub(super) fn of(mut errors: Vec<ConfigError>, file: Option<&PathBuf>) -> Self {
        for error in &mut errors {
            if error.line > 0 {
                error.file = file.cloned();
            }
        }
        errors.sort_by_key(|error| (error.line, error.column));
        errors.dedup();
        Self(errors)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
