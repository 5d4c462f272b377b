//! What the README says of the configuration and the commands is what the program has.

use std::collections::BTreeSet;

use homeport::config::schema::key_paths;

const README: &str = include_str!("../../README.md");
const MANUAL: &str = include_str!("../../man/homeport.1");

/// The names in the first cells of the table under a heading, without their backticks.
fn named_in_table(heading: &str) -> BTreeSet<String> {
    let section = README.split(&format!("\n## {heading}\n")).nth(1).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap();
    let first_cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    first_cells.flat_map(|cell| cell.split(", ")).map(|name| name.replace('`', "")).collect()
}

#[test]
fn the_readme_shows_the_configuration_that_is_shipped() {
    let block = README.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(block, Some(include_str!("../../config.minimal.json")));
    assert_eq!(README.matches("```json").count(), 1, "there is one configuration to copy");
}

#[test]
fn the_readme_names_every_key_and_no_other() {
    let all = key_paths();
    // An object is named by its keys, except that the tests may also be a word.
    let is_object = |key: &String| all.iter().any(|other| other.starts_with(&format!("{key}.")));
    let may_be_a_word = |key: &str| ["projects[].test", "projects[].test.in"].contains(&key);
    let is_of_objects = |key: &str| key == "projects";
    let wanted: BTreeSet<String> = all
        .iter()
        .filter(|key| (!is_object(key) || may_be_a_word(key)) && !is_of_objects(key))
        .cloned()
        .collect();
    assert_eq!(named_in_table("Every key"), wanted);
}

#[test]
fn the_readme_and_the_manual_name_every_command() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_homeport")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let section = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let offered: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    let described = named_in_table("Commands");
    let described: BTreeSet<String> = described
        .iter()
        .filter_map(|line| line.strip_prefix("homeport ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(described, offered);
    for command in offered {
        let is_there = MANUAL.lines().any(|line| {
            let mut words = line.split(' ');
            matches!(words.next(), Some(".B" | ".BR")) && words.next() == Some(&command)
        });
        assert!(is_there, "the manual does not name `homeport {command}`");
    }
}
