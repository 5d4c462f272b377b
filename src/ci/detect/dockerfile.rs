//! What a Dockerfile says about itself: its stages and the images they start from. Pure. Reads as much of the
//! format as these two need: continued lines, comments and here-documents.

/// The `FROM` instructions of a Dockerfile.
#[derive(Debug, Default)]
pub struct Dockerfile {
    stages: Vec<From>,
}

#[derive(Debug)]
struct From {
    image: String,
    /// In lower case, as Docker compares it.
    name: Option<String>,
}

impl Dockerfile {
    /// Reads the text of a Dockerfile; what is none has no stages.
    pub fn parse(text: &str) -> Self {
        Self { stages: instructions(text).iter().filter_map(|line| from(line)).collect() }
    }

    /// Whether there is a stage of that name, given in lower case.
    pub fn has_stage(&self, name: &str) -> bool {
        self.stages.iter().any(|stage| stage.name.as_deref() == Some(name))
    }

    /// The image that the last stage of those on `repository` starts from, with its tag.
    pub fn base(&self, repository: &str) -> Option<String> {
        let is_tag = |tag: &str| {
            !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:".contains(&b))
        };
        let is_on = |image: &str| {
            image.strip_prefix(repository).and_then(|rest| rest.strip_prefix(':')).is_some_and(is_tag)
        };
        self.stages.iter().rev().map(|stage| &stage.image).find(|image| is_on(image)).cloned()
    }
}

/// The instructions, each on one line, without what here-documents contain.
fn instructions(text: &str) -> Vec<String> {
    let mut instructions = Vec::new();
    let mut instruction = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            instruction.push_str(begun);
            instruction.push(' ');
            continue;
        }
        instruction.push_str(line);
        for end in here_documents(&instruction) {
            lines.by_ref().find(|line| line.trim_start_matches('\t') == end);
        }
        instructions.push(std::mem::take(&mut instruction));
    }
    instructions
}

/// The words that end the here-documents which an instruction begins.
fn here_documents(instruction: &str) -> Vec<String> {
    let takes_documents = ["RUN", "COPY", "ADD"]
        .iter()
        .any(|word| instruction.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)));
    if !takes_documents {
        return Vec::new();
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = |rest: &str| -> String {
        rest.trim_start_matches('-')
            .trim_start_matches(['"', '\''])
            .chars()
            .take_while(|&c| is_word(c))
            .collect()
    };
    instruction.split("<<").skip(1).map(end).filter(|end| !end.is_empty()).collect()
}

fn from(instruction: &str) -> Option<From> {
    let mut words = instruction.split_ascii_whitespace();
    words.next().filter(|word| word.eq_ignore_ascii_case("FROM"))?;
    let image = words.find(|word| !word.starts_with("--"))?.to_owned();
    let name = words.next().filter(|word| word.eq_ignore_ascii_case("AS")).and_then(|_| words.next());
    Some(From { image, name: name.map(str::to_ascii_lowercase) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Dockerfile;

    #[test]
    fn stages_are_found_however_they_are_written() {
        for text in [
            "FROM alpine AS test",
            "from alpine as Test\nRUN x",
            "FROM --platform=$BUILDPLATFORM alpine:3 AS test",
            "# syntax=docker/dockerfile:1\nARG V=1\nFROM x AS base\n\n  FROM base AS test  \nFROM base",
            "FROM alpine \\\n  # why\n  AS test",
            "RUN <<EOF\nfoo\nEOF\nFROM alpine AS test",
        ] {
            assert!(Dockerfile::parse(text).has_stage("test"), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_stage_is_none() {
        for text in [
            "",
            "FROM alpine",
            "FROM alpine AS tests",
            "# FROM alpine AS test",
            "FROM test\nCOPY --from=test / /",
            "RUN echo \\\nFROM alpine AS test",
            "FROM a\nRUN <<-'EOF' cat\nFROM alpine AS test\n\tEOF\nRUN y",
            "FROM a\nCOPY <<A <<B /x/\nA\nFROM alpine AS test\nB\n",
        ] {
            assert!(!Dockerfile::parse(text).has_stage("test"), "{text}");
        }
    }

    #[test]
    fn the_base_is_that_of_the_last_stage_on_the_language() {
        let base = |text: &str| Dockerfile::parse(text).base("python");
        assert_eq!(base("FROM python:3.9-alpine\n").as_deref(), Some("python:3.9-alpine"));
        assert_eq!(
            base("FROM python:3.8 AS a\nFROM python:3.11-slim\nFROM nginx").as_deref(),
            Some("python:3.11-slim")
        );
        for other in
            ["FROM python", "FROM python:$V", "FROM python:${V}-slim", "FROM mypython:3", "FROM python-x:3"]
        {
            assert_eq!(base(other), None, "{other}");
        }
    }
}
