//! The habits of the house that can be checked: the layer order, which file owns which crate, what pure
//! files may not touch, file length, headers, and the absence of test switches in the product.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The modules in reading order: a module may use only those before it. The same list as in `lib.rs`.
const ORDER: &[&str] = &[
    "fault_point",
    "model",
    "event",
    "config",
    "logging",
    "tag",
    "platform",
    "decide",
    "swap",
    "health",
    "retry",
    "queue",
    "fold",
    "mail_text",
    "clients",
    "run",
    "ci",
    "cd",
    "notify",
    "schedule",
    "webhook",
    "control",
    "agent",
    "cli",
];

/// Modules that take values and give values: no IO, no clock, no runtime.
const PURE: &[&str] =
    &["model", "event", "tag", "platform", "decide", "swap", "health", "retry", "queue", "fold", "mail_text"];

/// Crates that one place owns: elsewhere their names may not stand.
const OWNERS: &[(&str, &[&str])] = &[
    ("octocrab", &["clients/github.rs"]),
    ("bollard", &["clients/docker/"]),
    ("lettre", &["clients/mailer/"]),
    ("rusqlite", &["clients/store/"]),
    ("reqwest", &["clients/http_client.rs", "clients/hub", "clients/probe.rs", "clients/heartbeat.rs"]),
    ("tokio_cron_scheduler", &["schedule.rs"]),
    ("axum", &["webhook", "control"]),
    ("clap", &["cli/"]),
    ("jsonc_parser", &["config/"]),
    ("landlock", &["clients/process/fence.rs"]),
    ("regex_lite", &["model/glob.rs"]),
    ("schemars", &["config/", "model/"]),
    ("sd_notify", &["cli/"]),
    ("prost", &["clients/docker/file_sync.rs"]),
    (
        "tonic",
        &[
            "clients/docker/build_control.rs",
            "clients/docker/build_session.rs",
            "clients/docker/file_sync.rs",
        ],
    ),
    ("tonic_prost", &["clients/docker/file_sync.rs"]),
];

/// What a pure file may not name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "tokio",
    "Utc::now",
    "Instant::now",
    "SystemTime",
];

/// What changes files, and so is an effect with a name.
const FILE_EFFECTS: &[&str] = &[
    "create_dir",
    "DirBuilder",
    "fs::write",
    "fs::copy",
    "fs::rename",
    "fs::hard_link",
    "remove_file",
    "remove_dir",
    "create(true)",
    "create_new(true)",
    "File::create",
];

const LONGEST_FILE: usize = 330;
const LONGEST_FUNCTION: usize = 50;

struct Source {
    /// The path below `src`, with `/`.
    path: String,
    /// The whole text.
    text: String,
    /// The text without its `mod tests`, which closes a file.
    product: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources: Vec<_> = files_below(&root)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            Source { path, text, product }
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "the walk over src/ found only {}", sources.len());
    sources
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

impl Source {
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn lines_with<'a>(&'a self, what: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let lines = self.product.lines().enumerate();
        lines
            .filter(move |(_, line)| is_code(line) && line.contains(what))
            .map(|(n, line)| (n + 1, line.trim()))
    }
}

fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_module_uses_only_the_modules_above_it() {
    let mut complaints = Vec::new();
    for source in sources() {
        let module = source.module();
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(rank) = ORDER.iter().position(|m| *m == module) else {
            complaints.push(format!("src/{}: `{module}` has no place in the order", source.path));
            continue;
        };
        for later in &ORDER[rank + 1..] {
            for (line, _) in source.lines_with(&format!("crate::{later}::")) {
                complaints.push(format!("src/{}:{line}: `{module}` must not use `{later}`", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn the_order_is_the_one_that_lib_rs_shows() {
    let lib = sources().into_iter().find(|s| s.path == "lib.rs").unwrap();
    let shown: Vec<&str> = lib
        .product
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod "))
        .map(|l| l.trim_end_matches(';'))
        .collect();
    let expected: Vec<&str> = ORDER.iter().copied().filter(|m| shown.contains(m)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_crate_stands_only_where_it_is_owned() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (name, owners) in OWNERS {
            if owners.iter().any(|owner| source.path.starts_with(owner)) {
                continue;
            }
            for (line, text) in source.lines_with(&format!("{name}::")) {
                complaints
                    .push(format!("src/{}:{line}: `{name}` belongs to {owners:?}: {text}", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn pure_files_do_no_io_and_read_no_clock() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| PURE.contains(&s.module())) {
        for word in IMPURE {
            for (line, text) in source.lines_with(word) {
                complaints.push(format!("src/{}:{line}: a pure file names `{word}`: {text}", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn time_is_read_and_waited_on_through_the_clock_only() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| s.path != "clients/clock.rs") {
        for word in ["Utc::now", "Instant::now", "SystemTime::now", "time::sleep", "thread::sleep"] {
            for (line, text) in source.lines_with(word) {
                complaints
                    .push(format!("src/{}:{line}: `{word}` stands outside the clock: {text}", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn every_file_says_what_it_is_and_none_is_long() {
    let mut complaints = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            complaints.push(format!("src/{}: does not open with `//!`", source.path));
        }
        let length = source.product.lines().count();
        if length > LONGEST_FILE {
            complaints.push(format!("src/{}: {length} product lines, at most {LONGEST_FILE}", source.path));
        }
        for (name, length) in functions(&source.product) {
            if length > LONGEST_FUNCTION {
                complaints.push(format!(
                    "src/{}: {name} has {length} lines, at most {LONGEST_FUNCTION}",
                    source.path
                ));
            }
        }
        if ["utils", "util", "helpers", "common", "misc"].contains(&source.path.rsplit('/').next().unwrap()) {
            complaints.push(format!("src/{}: a file is a noun or a stage", source.path));
        }
    }
    report(&complaints);
}

/// The functions of a formatted file with their lengths: `fn` to the closing brace at the same indent.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let words = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ");
        let words =
            words.trim_start_matches("pub(crate) ").trim_start_matches("async ").trim_start_matches("const ");
        let Some(name) = words.strip_prefix("fn ") else { continue };
        let is_end = |other: &&str| indent(other) == indent(line) && other.trim_start().starts_with('}');
        if let Some(length) = lines[start + 1..].iter().position(is_end) {
            found.push((name.split(['(', '<']).next().unwrap().to_owned(), length + 2));
        }
    }
    found
}

#[test]
fn the_product_has_no_test_switches_and_one_import_a_line() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (line, _) in source.lines_with("cfg(test)") {
            complaints.push(format!("src/{}:{line}: `cfg(test)` outside a closing `mod tests`", source.path));
        }
        for (line, text) in source.lines_with("use crate::") {
            if text.contains('{') || text.contains('*') {
                complaints.push(format!("src/{}:{line}: one import a line: {text}", source.path));
            }
        }
        for (line, text) in source.lines_with("{error:?}").chain(source.lines_with("{e:?}")) {
            complaints.push(format!("src/{}:{line}: an error is flattened by Debug: {text}", source.path));
        }
    }
    report(&complaints);
}

#[test]
fn the_one_test_switch_of_the_product_stands_in_one_file_and_no_effect_on_files_is_without_it() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| s.path != "fault_point.rs") {
        for (line, _) in source.lines_with("feature = ") {
            complaints.push(format!("src/{}:{line}: a cargo feature outside of fault_point.rs", source.path));
        }
        complaints.extend(unnamed_effects_on_files(source));
    }
    report(&complaints);
}

fn unnamed_effects_on_files(source: &Source) -> Vec<String> {
    if source.product.contains("Effect::begin(") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for word in FILE_EFFECTS {
        // `LogFile::create` is ours, and names its effect itself.
        let is_ours = |text: &str| text.contains(&format!("Log{word}"));
        for (line, text) in source.lines_with(word).filter(|(_, text)| !is_ours(text)) {
            complaints.push(format!("src/{}:{line}: an effect without a name: {text}", source.path));
        }
    }
    complaints
}

#[test]
fn an_effect_on_files_without_a_name_is_found() {
    let source =
        |text: &str| Source { path: "ci/new.rs".to_owned(), text: text.to_owned(), product: text.to_owned() };
    let careless = "//! New.\nfn forget(path: &Path) {\n    fs::remove_file(path).ok();\n}\n";
    let careful = "fn forget(path: &Path) {\n    let _effect = Effect::begin(\"tree\", \"forget\");\n    \
                   fs::remove_file(path).ok();\n}\n";
    let expected = ["src/ci/new.rs:3: an effect without a name: fs::remove_file(path).ok();"];
    assert_eq!(unnamed_effects_on_files(&source(careless)), expected);
    assert_eq!(unnamed_effects_on_files(&source(careful)), Vec::<String>::new());
}

#[test]
fn the_process_is_a_matter_of_main_alone() {
    let mut complaints = Vec::new();
    for source in sources() {
        let length = source.product.lines().count();
        if source.path == "main.rs" && length > 60 {
            complaints.push(format!("src/main.rs: {length} lines, at most 60"));
        }
        for (line, _) in source.lines_with("process::exit") {
            complaints.push(format!("src/{}:{line}: exits the process", source.path));
        }
    }
    report(&complaints);
}
