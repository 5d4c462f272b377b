//! What tests a repository suggests when the configuration leaves `test` out. Takes the names in the root
//! of the tree and a way to read a few small files; gives where to run which commands, and why. Pure.
//!
//! The Dockerfile's own stage named `test` comes first, since nothing says it plainer. Then languages by the
//! files their tools need; `make test` last, since a Makefile does not say which tools it needs. An image
//! that the Dockerfile starts from is preferred to a default one: it is what the service runs on, and the
//! board has it already. Nothing is ever detected to run on the host.

mod dockerfile;
mod node;
mod python;

use std::fmt;

use serde_json::json;

use crate::ci::detect::dockerfile::Dockerfile;
use crate::config::project::TestDockerfile;
use crate::config::project::TestImage;
use crate::config::project::TestPlace;

/// The tests that a repository suggests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// Where they run.
    pub place: TestPlace,
    /// Shell commands; none if the build of a Dockerfile's stage is the test.
    pub commands: Vec<String>,
    /// What suggests them, as a clause: `there is a go.mod`.
    pub because: String,
}

/// No file in the root of the tree suggests how to test it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no tests are configured and none were found: {way_out}")]
pub struct NothingDetected {
    /// What was looked for, and what the owner can do.
    pub way_out: String,
}

/// The root of a tree.
struct Tree<'a> {
    names: &'a [String],
    read: &'a dyn Fn(&str) -> Option<String>,
    dockerfile: Dockerfile,
}

/// Looks for tests in a tree whose root holds `names` (files and folders). `read` gives the text of a file
/// in the root, or `None` if it is not there, not text, or too big to be worth reading.
///
/// # Errors
/// If nothing suggests any tests; the message says the way out.
pub fn detect(names: &[String], read: &dyn Fn(&str) -> Option<String>) -> Result<Detected, NothingDetected> {
    let dockerfile = Dockerfile::parse(&read("Dockerfile").unwrap_or_default());
    let tree = Tree { names, read, dockerfile };
    let detectors: [fn(&Tree) -> Option<Detected>; 9] =
        [test_stage, python::detect, node::detect, go, rust, maven, gradle, dotnet, make];
    detectors.iter().find_map(|detector| detector(&tree)).ok_or_else(|| nothing(&tree))
}

fn test_stage(tree: &Tree) -> Option<Detected> {
    tree.dockerfile.has_stage("test").then(|| Detected {
        place: TestPlace::Dockerfile(TestDockerfile {
            dockerfile: "Dockerfile".to_owned(),
            target: Some("test".to_owned()),
        }),
        commands: Vec::new(),
        because: "the Dockerfile has a stage named `test`".to_owned(),
    })
}

fn go(tree: &Tree) -> Option<Detected> {
    tree.has("go.mod").then(|| {
        tree.in_image(&["golang"], "golang:1", vec!["go test ./...".to_owned()], "there is a go.mod")
    })
}

fn rust(tree: &Tree) -> Option<Detected> {
    let locked = if tree.has("Cargo.lock") { " --locked" } else { "" };
    tree.has("Cargo.toml").then(|| {
        tree.in_image(&["rust"], "rust:1", vec![format!("cargo test{locked}")], "there is a Cargo.toml")
    })
}

fn maven(tree: &Tree) -> Option<Detected> {
    let maven = if tree.has("mvnw") { "sh ./mvnw" } else { "mvn" };
    let commands = vec![format!("{maven} --batch-mode test")];
    tree.has("pom.xml")
        .then(|| tree.in_image(&["maven"], "maven:3-eclipse-temurin-21", commands, "there is a pom.xml"))
}

fn gradle(tree: &Tree) -> Option<Detected> {
    if tree.has("gradlew") {
        let commands = vec!["sh ./gradlew --no-daemon test".to_owned()];
        let images = ["eclipse-temurin", "gradle"];
        return Some(tree.in_image(&images, "eclipse-temurin:21", commands, "there is a gradlew"));
    }
    let build = tree.first_of(&["build.gradle", "build.gradle.kts"])?;
    let commands = vec!["gradle --no-daemon test".to_owned()];
    Some(tree.in_image(&["gradle"], "gradle:8-jdk21", commands, &format!("there is a {build}")))
}

fn dotnet(tree: &Tree) -> Option<Detected> {
    const SDK: &str = "mcr.microsoft.com/dotnet/sdk";
    let is_project =
        |name: &str| [".sln", ".slnx", ".csproj", ".fsproj"].iter().any(|end| name.ends_with(end));
    let project = tree.names.iter().find(|name| is_project(name))?;
    // Lets a project that is meant for an older runtime run its tests on the one that the image has.
    let commands = vec!["DOTNET_ROLL_FORWARD=Major dotnet test".to_owned()];
    Some(tree.in_image(&[SDK], &format!("{SDK}:10.0"), commands, &format!("there is a {project}")))
}

fn make(tree: &Tree) -> Option<Detected> {
    let makefile = tree.makefile().filter(|name| has_target(&tree.text(name), "test"))?;
    let because = format!(
        "the {makefile} has a target `test`, which does not say what tools it needs; the image has make and \
         a C and C++ compiler"
    );
    Some(tree.in_image(
        &["buildpack-deps", "gcc"],
        "buildpack-deps:bookworm",
        vec!["make test".to_owned()],
        &because,
    ))
}

/// Whether a makefile has a rule for `target`.
fn has_target(makefile: &str, target: &str) -> bool {
    makefile.lines().filter(|line| !line.starts_with(['\t', ' ', '#', '.'])).any(|line| {
        line.split_once(':').is_some_and(|(targets, rest)| {
            let is_assignment = rest.trim_start_matches(':').starts_with('=') || targets.contains('=');
            !is_assignment && targets.split_ascii_whitespace().any(|name| name == target)
        })
    })
}

fn nothing(tree: &Tree) -> NothingDetected {
    let mut way_out =
        "the root of the repository has no Dockerfile with a stage named `test`, no Python, Go, \
                       Rust, Maven, Gradle or .NET project, no package.json with a `test` script and no \
                       Makefile with a target `test`"
            .to_owned();
    if tree.has("package.json") {
        way_out.push_str(" (the package.json has no `test` script of its own)");
    }
    way_out.push_str(
        ". Say how this project is tested, as in \
         \"test\": {\"in\": {\"image\": \"python:3.12-slim\"}, \"commands\": [\"pytest -q\"]}, \
         or say that it has no tests: \"test\": \"none\"",
    );
    NothingDetected { way_out }
}

impl Tree<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    fn first_of<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.has(name))
    }

    /// The text of a file, empty if there is none.
    fn text(&self, name: &str) -> String {
        if self.has(name) { (self.read)(name).unwrap_or_default() } else { String::new() }
    }

    /// The makefile, in the order in which GNU make looks for it.
    fn makefile(&self) -> Option<&'static str> {
        self.first_of(&["GNUmakefile", "makefile", "Makefile"])
    }

    /// Tests in the image among `known` that the Dockerfile starts from, or in the `default`.
    fn in_image(&self, known: &[&str], default: &str, commands: Vec<String>, because: &str) -> Detected {
        let own = known.iter().find_map(|name| self.dockerfile.base(name));
        let because = match &own {
            Some(image) => format!("{because}, and the Dockerfile starts from {image}"),
            None => because.to_owned(),
        };
        let image = own.unwrap_or_else(|| default.to_owned());
        Detected { place: TestPlace::Image(TestImage { image }), commands, because }
    }
}

/// For the run log: what was found, and the same as configuration, ready to be changed.
impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            TestPlace::Host(_) => json!("host"),
            TestPlace::Image(image) => json!({ "image": image.image }),
            TestPlace::Dockerfile(file) => match &file.target {
                Some(target) => json!({ "dockerfile": file.dockerfile, "target": target }),
                None => json!({ "dockerfile": file.dockerfile }),
            },
        };
        write!(
            f,
            "no tests are configured; {}, so these are run, which the project's configuration can replace: \
             \"test\": {{\"in\": {place}",
            self.because
        )?;
        if !self.commands.is_empty() {
            write!(f, ", \"commands\": {}", json!(self.commands))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Detected;
    use super::NothingDetected;
    use super::TestPlace;
    use super::detect;
    use super::has_target;

    /// What is detected in a tree of files with these texts.
    fn detected(files: &[(&str, &str)]) -> Result<Detected, NothingDetected> {
        let names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let read = |name: &str| files.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned());
        detect(&names, &read)
    }

    /// The same as a sentence.
    fn found(files: &[(&str, &str)]) -> String {
        detected(files).map_or_else(|nothing| nothing.to_string(), |detected| detected.to_string())
    }

    /// The image or stage, and the commands.
    fn tests_of(files: &[(&str, &str)]) -> (String, Vec<String>) {
        let detected = detected(files).unwrap_or_else(|nothing| panic!("{files:?}: {nothing}"));
        let place = match detected.place {
            TestPlace::Host(_) => panic!("never on the host"),
            TestPlace::Image(image) => image.image,
            TestPlace::Dockerfile(file) => format!("{}#{}", file.dockerfile, file.target.unwrap()),
        };
        (place, detected.commands)
    }

    fn check(files: &[(&str, &str)], image: &str, commands: &[&str]) {
        let (found_image, found_commands) = tests_of(files);
        assert_eq!(
            (found_image.as_str(), &*found_commands),
            (image, &*commands.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()),
            "{files:?}"
        );
    }

    const PYTEST: &str = "python -m pytest -q";

    #[test]
    fn a_dockerfile_stage_named_test_comes_first() {
        let dockerfile = "FROM python:3.9 AS base\nFROM base AS test\nRUN pytest\nFROM base\n";
        check(
            &[("Dockerfile", dockerfile), ("requirements.txt", "pytest"), ("go.mod", "")],
            "Dockerfile#test",
            &[],
        );
    }

    #[test]
    fn the_sample_of_the_plan_is_tested_in_the_image_it_runs_on() {
        let dockerfile = "FROM python:3.9-alpine\n\nWORKDIR /app\n\nCOPY requirements.txt .\n";
        check(
            &[
                ("Dockerfile", dockerfile),
                ("README.md", ""),
                ("requirements.txt", "Flask==2.2.2\n"),
                ("src", ""),
                ("tests", ""),
            ],
            "python:3.9-alpine",
            &["pip install -r requirements.txt", "pip install pytest", PYTEST],
        );
    }

    #[test]
    fn python_projects() {
        let slim = "python:3.12-slim";
        let requirements = "pip install -r requirements.txt";
        check(&[("requirements.txt", "flask\npytest==8\n")], slim, &[requirements, PYTEST]);
        check(&[("requirements.txt", "flask\n  Pytest-cov>=1\n")], slim, &[requirements, PYTEST]);
        check(
            &[("requirements.txt", "flask # pytest\n")],
            slim,
            &[requirements, "pip install pytest", PYTEST],
        );
        check(
            &[("requirements.txt", "flask"), ("requirements-dev.txt", "pytest")],
            slim,
            &["pip install -r requirements.txt -r requirements-dev.txt", PYTEST],
        );
        check(&[("setup.py", "")], slim, &["pip install .", "pip install pytest", PYTEST]);
        check(
            &[("requirements.txt", "x"), (".python-version", "3.11.4\n")],
            "python:3.11.4-slim",
            &[requirements, "pip install pytest", PYTEST],
        );
        check(
            &[("requirements.txt", "x"), (".python-version", "pypy3; rm")],
            slim,
            &[requirements, "pip install pytest", PYTEST],
        );
    }

    #[test]
    fn python_packages_are_installed_with_what_their_tests_need() {
        let slim = "python:3.12-slim";
        let project = "[project]\nname = \"x\"\n";
        check(&[("pyproject.toml", project)], slim, &["pip install .", "pip install pytest", PYTEST]);
        let extras = format!(
            "{project}\n[project.optional-dependencies]\ndocs = []\ndev = [\"pytest\"]\n\"test\" = []\n[tool.x]\ntests = 1\n"
        );
        check(&[("pyproject.toml", &extras)], slim, &["pip install '.[test]'", "pip install pytest", PYTEST]);
        let settings = "[tool.black]\nline-length = 100\n";
        check(
            &[("pyproject.toml", settings), ("requirements.txt", "pytest")],
            slim,
            &["pip install -r requirements.txt", PYTEST],
        );
    }

    #[test]
    fn unittest_and_django_run_where_the_project_says_so_and_never_mentions_pytest() {
        let requirements = ("requirements.txt", "flask");
        let install = "pip install -r requirements.txt";
        let makefile = ("Makefile", "test:\n\tpython3 -m unittest\n");
        check(&[requirements, makefile], "python:3.12-slim", &[install, "python -m unittest discover"]);
        check(
            &[requirements, makefile, ("conftest.py", "")],
            "python:3.12-slim",
            &[install, "pip install pytest", PYTEST],
        );
        check(&[requirements, ("manage.py", "")], "python:3.12-slim", &[install, "python manage.py test"]);
    }

    #[test]
    fn node_projects() {
        let package = ("package.json", r#"{"scripts": {"test": "jest"}}"#);
        let node = "node:22-slim";
        check(&[package], node, &["npm install", "npm test"]);
        check(&[package, ("package-lock.json", "")], node, &["npm ci", "npm test"]);
        check(&[package, ("yarn.lock", "")], node, &["yarn install --frozen-lockfile", "yarn test"]);
        check(
            &[package, ("yarn.lock", ""), (".yarnrc.yml", "")],
            node,
            &["corepack enable", "yarn install --immutable", "yarn test"],
        );
        check(
            &[package, ("pnpm-lock.yaml", "")],
            node,
            &["corepack enable", "pnpm install --frozen-lockfile", "pnpm test"],
        );
        check(&[package, (".nvmrc", "v20.11\n")], "node:20.11-slim", &["npm install", "npm test"]);
        check(&[package, (".nvmrc", "lts/*")], node, &["npm install", "npm test"]);
        check(
            &[package, ("Dockerfile", "FROM node:18-alpine")],
            "node:18-alpine",
            &["npm install", "npm test"],
        );
    }

    #[test]
    fn a_package_json_without_tests_of_its_own_does_not_count() {
        let placeholder = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
        for package in
            [placeholder, "{}", r#"{"scripts": {"test": " "}}"#, r#"{"scripts": []}"#, "not JSON", ""]
        {
            assert!(
                found(&[("package.json", package)]).contains("has no `test` script of its own"),
                "{package}"
            );
            check(&[("package.json", package), ("go.mod", "")], "golang:1", &["go test ./..."]);
        }
    }

    #[test]
    fn other_languages() {
        check(&[("go.mod", "")], "golang:1", &["go test ./..."]);
        check(
            &[("go.mod", ""), ("Dockerfile", "FROM golang:1.22 AS b\nFROM scratch")],
            "golang:1.22",
            &["go test ./..."],
        );
        check(&[("Cargo.toml", "")], "rust:1", &["cargo test"]);
        check(&[("Cargo.toml", ""), ("Cargo.lock", "")], "rust:1", &["cargo test --locked"]);
        check(&[("pom.xml", "")], "maven:3-eclipse-temurin-21", &["mvn --batch-mode test"]);
        check(
            &[("pom.xml", ""), ("mvnw", "")],
            "maven:3-eclipse-temurin-21",
            &["sh ./mvnw --batch-mode test"],
        );
        check(
            &[("gradlew", ""), ("build.gradle", "")],
            "eclipse-temurin:21",
            &["sh ./gradlew --no-daemon test"],
        );
        check(&[("build.gradle.kts", "")], "gradle:8-jdk21", &["gradle --no-daemon test"]);
        let dotnet = &["DOTNET_ROLL_FORWARD=Major dotnet test"];
        for project in ["Web.sln", "Web.slnx", "Web.csproj", "Web.fsproj"] {
            check(&[(project, "")], "mcr.microsoft.com/dotnet/sdk:10.0", dotnet);
        }
        let dockerfile = ("Dockerfile", "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS build");
        check(&[("Web.sln", ""), dockerfile], "mcr.microsoft.com/dotnet/sdk:8.0", dotnet);
    }

    #[test]
    fn make_comes_last() {
        let makefile = ("Makefile", "all:\n\tcc x.c\ntest: all\n\t./x\n");
        check(&[makefile], "buildpack-deps:bookworm", &["make test"]);
        check(&[makefile, ("Cargo.toml", "")], "rust:1", &["cargo test"]);
        check(&[makefile, ("Dockerfile", "FROM gcc:14")], "gcc:14", &["make test"]);
    }

    #[test]
    fn targets_of_makefiles() {
        for text in ["test:", "test : x", "lint test: y", "x = 1\ntest:: z", "test: A = 1\n"] {
            assert!(has_target(text, "test"), "{text}");
        }
        for text in [
            "",
            "tests:",
            ".PHONY: test",
            "test := 1",
            "test ::= 1",
            "test = a:b",
            "\ttest: x",
            "# test: x",
            "x: test",
        ] {
            assert!(!has_target(text, "test"), "{text}");
        }
    }

    #[test]
    fn the_log_says_what_was_found_and_how_to_replace_it() {
        insta::assert_snapshot!(found(&[("go.mod", "")]), @r#"no tests are configured; there is a go.mod, so these are run, which the project's configuration can replace: "test": {"in": {"image":"golang:1"}, "commands": ["go test ./..."]}"#);
        insta::assert_snapshot!(found(&[("Dockerfile", "FROM a AS test")]), @r#"no tests are configured; the Dockerfile has a stage named `test`, so these are run, which the project's configuration can replace: "test": {"in": {"dockerfile":"Dockerfile","target":"test"}}"#);
        insta::assert_snapshot!(found(&[("Makefile", "test:\n"), ("Dockerfile", "FROM gcc:14")]), @r#"no tests are configured; the Makefile has a target `test`, which does not say what tools it needs; the image has make and a C and C++ compiler, and the Dockerfile starts from gcc:14, so these are run, which the project's configuration can replace: "test": {"in": {"image":"gcc:14"}, "commands": ["make test"]}"#);
    }

    #[test]
    fn where_nothing_is_found_the_way_out_is_said() {
        insta::assert_snapshot!(found(&[("README.md", "")]), @r#"no tests are configured and none were found: the root of the repository has no Dockerfile with a stage named `test`, no Python, Go, Rust, Maven, Gradle or .NET project, no package.json with a `test` script and no Makefile with a target `test`. Say how this project is tested, as in "test": {"in": {"image": "python:3.12-slim"}, "commands": ["pytest -q"]}, or say that it has no tests: "test": "none""#);
    }

    /// A name that a folder listing shows but that cannot be read, such as a link to nowhere or a huge file.
    #[test]
    fn a_file_that_cannot_be_read_suggests_what_its_name_does() {
        let names = ["requirements.txt".to_owned(), "package.json".to_owned()];
        let detected = detect(&names, &|_| None).unwrap();
        assert_eq!(detected.commands, ["pip install -r requirements.txt", "pip install pytest", PYTEST]);
    }
}
