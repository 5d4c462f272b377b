//! Reads the configuration file: text → written structs → settings, or every problem of it at once.
//!
//! The one function that the rest of the agent calls. Reads the file and the secrets it names; changes nothing.

use std::fs;
use std::path::Path;

use crate::config::decode;
use crate::config::position::Document;
use crate::config::problem::ConfigErrors;
use crate::config::problem::Problem;
use crate::config::problem::Problems;
use crate::config::resolve;
use crate::config::secret::Environment;
use crate::config::secret::Need;
use crate::config::secret::SecretReader;
use crate::config::settings::Settings;

/// A configuration that can be worked with.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is meant.
    pub settings: Settings,
    /// What its owner should know all the same, one line each, in the form `FILE:LINE:COLUMN: PATH: …`.
    pub warnings: Vec<String>,
}

/// Loads the configuration from `path`. Relative paths in it are relative to its folder.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; or the first fault of its JSON.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    load_for(path, environment, Need::Values)
}

/// As [`load`], but leaves the secrets alone: enough to look at what happened.
///
/// # Errors
/// As [`load`], but for what is wrong with a secret's place.
pub fn load_to_look(path: &Path, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    load_for(path, environment, Need::Nothing)
}

fn load_for(path: &Path, environment: &Environment, need: Need) -> Result<Loaded, ConfigErrors> {
    let only = |problem: Problem| ConfigErrors { file: path.to_owned(), problems: vec![problem] };
    let text = read(path).map_err(|message| only(of_file(message)))?;
    let document = Document::parse(&text).map_err(only)?;
    let absolute = std::path::absolute(path)
        .map_err(|error| only(of_file(format!("its folder cannot be found out: {error}"))))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let mut problems = Problems::new(&document);
    let config = decode::decode(&document, &mut problems);
    let reader = SecretReader { environment, folder, need };
    let settings = config.and_then(|config| resolve::resolve(config, reader, &mut problems));
    let warnings = problems.verdict(path)?;
    // Whatever could not be made was refused, and then the verdict was no.
    let settings = settings.ok_or_else(|| only(of_file("it could not be understood".to_owned())))?;
    Ok(Loaded { settings, warnings })
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| {
        format!("the configuration cannot be read: {error}; `--config FILE` names another")
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        format!("the configuration is not UTF-8 text: line {line} holds something else")
    })?;
    // Some editors put a mark in front of UTF-8 that JSON does not know.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

const fn of_file(message: String) -> Problem {
    Problem { position: None, path: String::new(), message, excerpt: None }
}
