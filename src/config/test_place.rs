//! How `test`, `test.in` and `test.network` are read, which are a word or an object. Written by hand, so that a
//! wrong one is answered with the right ones. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Deserializer;
use serde::de;
use serde::de::value::MapAccessDeserializer;

use crate::config::project::HostWord;
use crate::config::project::NoTests;
use crate::config::project::Test;
use crate::config::project::TestCommands;
use crate::config::project::TestDockerfile;
use crate::config::project::TestImage;
use crate::config::project::TestPlace;

const TESTS: &str = "`\"none\"` for no tests, or an object such as `{\"in\": {\"image\": \"python:3.12-slim\"}, \
                     \"commands\": [\"pytest -q\"]}`";
const PLACES: &str = "`{\"image\": \"python:3.12-slim\"}`, `{\"dockerfile\": \"Dockerfile\"}` or `\"host\"`";

impl<'de> Deserialize<'de> for Test {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TestVisitor)
    }
}

struct TestVisitor;

impl<'de> de::Visitor<'de> for TestVisitor {
    type Value = Test;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TESTS)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Test, E> {
        if word == "none" {
            Ok(Test::Word(NoTests::None))
        } else {
            Err(E::custom(format!("`{word}` is not a way to test: write {TESTS}")))
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Test, A::Error> {
        TestCommands::deserialize(MapAccessDeserializer::new(map)).map(Test::Commands)
    }
}

impl<'de> Deserialize<'de> for TestPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlaceVisitor)
    }
}

/// The word `none`, for tests that are to reach nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum TestNetwork {
    /// No network but the container's own loopback.
    None,
}

impl<'de> Deserialize<'de> for TestNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "none" => Ok(Self::None),
            word => Err(de::Error::custom(format!(
                "`{word}` is not a network for tests: write `none`, or leave it out for Docker's bridge"
            ))),
        }
    }
}

/// The keys that the objects of a place may have, before it is known which of the objects it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceKeys {
    image: Option<String>,
    dockerfile: Option<String>,
    target: Option<String>,
}

struct PlaceVisitor;

impl<'de> de::Visitor<'de> for PlaceVisitor {
    type Value = TestPlace;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PLACES)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<TestPlace, E> {
        if word == "host" {
            Ok(TestPlace::Host(HostWord::Host))
        } else {
            Err(E::custom(format!("`{word}` is not a place for tests: write {PLACES}")))
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TestPlace, A::Error> {
        let keys = PlaceKeys::deserialize(MapAccessDeserializer::new(map))?;
        match (keys.image, keys.dockerfile, keys.target) {
            (Some(image), None, None) => Ok(TestPlace::Image(TestImage { image })),
            (None, Some(dockerfile), target) => {
                Ok(TestPlace::Dockerfile(TestDockerfile { dockerfile, target }))
            }
            (Some(_), None, Some(_)) => Err(de::Error::custom(
                "`target` is a stage of a `dockerfile`; a ready `image` has none: remove it",
            )),
            (Some(_), Some(_), _) => Err(de::Error::custom(
                "tests run in a ready `image` or in a `dockerfile`: keep one of the two",
            )),
            (None, None, _) => Err(de::Error::custom(format!("this names no place: write {PLACES}"))),
        }
    }
}
