//! Tests of a Python project: how its dependencies are installed, and by what its tests are run. Pure.
//!
//! pytest unless the project says otherwise: it also runs tests written for unittest, while unittest finds
//! none of those written for pytest.

use crate::ci::detect::Detected;
use crate::ci::detect::Tree;

/// Files of requirements for tests, by the names in use.
const TEST_REQUIREMENTS: [&str; 8] = [
    "requirements-dev.txt",
    "requirements_dev.txt",
    "dev-requirements.txt",
    "requirements-test.txt",
    "requirements_test.txt",
    "requirements-tests.txt",
    "test-requirements.txt",
    "test_requirements.txt",
];
/// Optional dependencies for tests, by the names in use, the best first.
const TEST_EXTRAS: [&str; 4] = ["test", "tests", "testing", "dev"];

/// The tests of a Python project, if the tree is one.
pub fn detect(tree: &Tree) -> Option<Detected> {
    let file = tree.first_of(&["requirements.txt", "pyproject.toml", "setup.py"])?;
    let mut commands = Vec::new();
    let requirements: Vec<&str> =
        ["requirements.txt"].into_iter().chain(TEST_REQUIREMENTS).filter(|name| tree.has(name)).collect();
    if !requirements.is_empty() {
        commands.push(format!("pip install -r {}", requirements.join(" -r ")));
    }
    commands.extend(install_itself(tree));

    let runner = runner(tree);
    let installs_pytest = requirements.iter().any(|name| requires_pytest(&tree.text(name)));
    if runner == PYTEST && !installs_pytest {
        commands.push("pip install pytest".to_owned());
    }
    commands.push(runner.to_owned());
    let image = python_image(&tree.text(".python-version"));
    Some(tree.in_image(&["python"], &image, commands, &format!("there is a {file}")))
}

const PYTEST: &str = "python -m pytest -q";

fn runner(tree: &Tree) -> &'static str {
    let told =
        ["Makefile", "makefile", "GNUmakefile", "tox.ini", "setup.cfg", "pyproject.toml", "noxfile.py"];
    let told: String = told.into_iter().map(|name| tree.text(name)).collect();
    let has_pytest = told.contains("pytest")
        || tree.first_of(&["pytest.ini", ".pytest.ini", "conftest.py"]).is_some()
        || ["requirements.txt"]
            .iter()
            .chain(&TEST_REQUIREMENTS)
            .any(|name| requires_pytest(&tree.text(name)));
    if has_pytest {
        PYTEST
    } else if tree.has("manage.py") {
        "python manage.py test"
    } else if told.contains("-m unittest") {
        "python -m unittest discover"
    } else {
        PYTEST
    }
}

/// How the project itself is installed, if it can be; a pyproject.toml may hold nothing but settings of tools.
fn install_itself(tree: &Tree) -> Option<String> {
    let pyproject = tree.text("pyproject.toml");
    let has_table = |table: &str| pyproject.lines().any(|line| line.trim() == format!("[{table}]"));
    let is_package = ["project", "build-system", "tool.poetry"].into_iter().any(has_table);
    if !is_package && !tree.has("setup.py") {
        return None;
    }
    let extras = extras(&pyproject);
    let extra = TEST_EXTRAS.into_iter().find(|name| extras.contains(name));
    Some(extra.map_or_else(|| "pip install .".to_owned(), |extra| format!("pip install '.[{extra}]'")))
}

/// The names in the table of optional dependencies.
fn extras(pyproject: &str) -> Vec<&str> {
    pyproject
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[project.optional-dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().trim_matches('"'))
        .collect()
}

/// Whether a file of requirements brings pytest: by itself, or through a plugin, which needs it.
fn requires_pytest(requirements: &str) -> bool {
    requirements.lines().any(|line| line.trim_start().to_ascii_lowercase().starts_with("pytest"))
}

fn python_image(version_file: &str) -> String {
    let version = version_file.trim();
    let parts: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_version =
        (2..=3).contains(&parts.len()) && parts.first() == Some(&"3") && parts.iter().all(is_number);
    format!("python:{}-slim", if is_version { version } else { "3.12" })
}
