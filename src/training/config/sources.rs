//! The parts that a configuration is put together from: presets, files, single fields.

use std::path::Path;

use toml::{Table, Value};

use super::ConfigError;

/// The presets that come with the program.
pub(super) const PRESETS: [(&str, &str); 3] = [
    ("gillet2019", include_str!("../../presets/gillet2019.toml")),
    ("deep", include_str!("../../presets/deep.toml")),
    (
        "few_light_cones",
        include_str!("../../presets/few_light_cones.toml"),
    ),
];

/// The fields of a preset.
pub(super) fn preset(name: &str) -> Result<Table, ConfigError> {
    let text = PRESETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
        .ok_or_else(|| ConfigError::UnknownPreset {
            name: name.to_string(),
            known: PRESETS.map(|(known, _)| known).join(", "),
        })?;
    text.parse()
        .map_err(|error| ConfigError::Field(Box::new(error)))
}

/// Takes the settings out of a run record, which has them in `[config]`; none when the file is no such record.
pub(super) fn recorded(path: &Path, table: &mut Table) -> Result<Option<Table>, ConfigError> {
    let error = |detail: &str| ConfigError::Record {
        path: path.to_path_buf(),
        detail: detail.to_string(),
    };
    if table.contains_key("imported") {
        return Err(error(
            "the record of an imported model, which has no training settings",
        ));
    }
    let Some(config) = table.remove("config") else {
        return Ok(None);
    };
    let known = [
        "version",
        "program",
        "data",
        "init_from",
        "members",
        "symmetries",
    ];
    if let Some(other) = table.keys().find(|key| !known.contains(&&key[..])) {
        return Err(error(&format!(
            "a run record has its settings in [config], but `{other}` is outside it; change it there or with --set"
        )));
    }
    match config {
        Value::Table(config) => Ok(Some(config)),
        _ => Err(error("`config` is not a table of settings")),
    }
}

/// Overrides fields of `base`; tables are merged, everything else (the list of layers too) replaced.
pub(super) fn merge(base: &mut Table, overrides: Table) {
    for (key, value) in overrides {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(overrides)) => merge(base, overrides),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Applies one `key=value`. The value is TOML; what is not is taken as a string.
pub(super) fn apply_override(table: &mut Table, argument: &str) -> Result<(), ConfigError> {
    let error = |detail: String| ConfigError::Override {
        argument: argument.to_string(),
        detail,
    };
    let (key, text) = argument
        .split_once('=')
        .ok_or_else(|| error("expected key=value".to_string()))?;
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.trim().to_string()));
    let parts: Vec<&str> = key.trim().split('.').collect();
    let Some((last, parents)) = parts.split_last() else {
        return Err(error("the key is empty".to_string()));
    };
    let mut place = table;
    let mut parents = parents.iter();
    while let Some(part) = parents.next() {
        if !place.contains_key(*part) {
            let known: Vec<&str> = place.keys().map(String::as_str).collect();
            let known = known.join(", ");
            return Err(error(format!(
                "there is no `{part}`, expected one of {known}"
            )));
        }
        let next = &mut place[*part];
        place = match next {
            Value::Table(table) => table,
            Value::Array(items) => {
                let count = items.len();
                parents
                    .next()
                    .and_then(|index| index.parse::<usize>().ok())
                    .and_then(|index| items.get_mut(index))
                    .and_then(Value::as_table_mut)
                    .ok_or_else(|| {
                        error(format!(
                            "`{part}` is a list: write `{part}.N.{last}` with N below {count}"
                        ))
                    })?
            }
            _ => return Err(error(format!("`{part}` is a value, not a section"))),
        };
    }
    // Two ways to say one thing: the one that is set replaces the other.
    match *last {
        "kernel" => place.remove("kernel_mpc"),
        "kernel_mpc" => place.remove("kernel"),
        _ => None,
    };
    place.insert((*last).to_string(), value);
    Ok(())
}
