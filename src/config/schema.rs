//! The JSON Schema of the configuration, generated from the written structs, for editors and `homeport schema`.
//! Pure.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::config::Config;

/// The schema, in the 2020-12 dialect.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    schema.insert("title".to_owned(), Value::from("homeport's configuration"));
    schema.to_value()
}

/// Every key that a configuration may hold, as `projects[].deploy.ports`, in alphabetical order.
pub fn key_paths() -> BTreeSet<String> {
    let schema = schema();
    let mut paths = BTreeSet::new();
    collect(&schema, &schema, "", &mut paths);
    paths
}

/// The structs do not contain themselves, so following every reference ends.
fn collect(root: &Value, part: &Value, path: &str, paths: &mut BTreeSet<String>) {
    if let Some(reference) = part.get("$ref").and_then(Value::as_str)
        && let Some(target) = root.pointer(reference.trim_start_matches('#'))
    {
        collect(root, target, path, paths);
    }
    let alternatives = ["anyOf", "oneOf"].into_iter().filter_map(|key| part.get(key)?.as_array());
    for alternative in alternatives.flatten() {
        collect(root, alternative, path, paths);
    }
    if let Some(items) = part.get("items") {
        collect(root, items, &format!("{path}[]"), paths);
    }
    for (key, value) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect(root, value, &inner, paths);
        paths.insert(inner);
    }
}
