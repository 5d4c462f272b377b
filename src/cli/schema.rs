//! `homeport schema`: the configuration's JSON Schema, for editors.

use crate::cli::Exit;
use crate::cli::complain;
use crate::cli::say;

/// Prints the schema.
pub fn schema() -> Exit {
    match serde_json::to_string_pretty(&crate::config::schema::schema()) {
        Ok(text) => {
            say(&text);
            Exit::Ok
        }
        Err(error) => {
            complain(&error);
            Exit::Usage
        }
    }
}
