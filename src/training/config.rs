//! Everything that a user may set about a training: presets, configuration files, `--set key=value`.

mod rules;
mod sources;

use std::path::{Path, PathBuf};

use dawn21_kernels::rmsprop::RmsProp;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use sources::{apply_override, merge, preset, recorded};

use crate::atomic_file::FileError;
use crate::data::augmentation::Augmentation;
use crate::data::scaling::InputScaling;
use crate::data::slices::SliceConfig;
use crate::data::split::SplitConfig;
use crate::model::execution::ExecutionConfig;
use crate::model::layer_spec::LayerSpec;
use crate::training::schedule::{
    CosineDecay, EarlyStopping, NormalizationRecalibration, ReduceOnPlateau, WeightAveraging,
};

/// The preset used when nothing else is asked for: the paper's.
pub const DEFAULT_PRESET: &str = "gillet2019";

/// A complete configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed of initial weights, order of images and dropout.
    pub seed: u64,
    /// Images cut from each light-cone.
    #[serde(default)]
    pub slices: SliceConfig,
    /// Division of the light-cones.
    #[serde(default)]
    pub split: SplitConfig,
    /// Scaling of the input.
    #[serde(default)]
    pub input: InputScaling,
    /// How the network is computed.
    #[serde(default)]
    pub execution: ExecutionConfig,
    /// The fit itself.
    pub training: TrainingConfig,
    /// The network.
    #[serde(rename = "layer")]
    pub layers: Vec<LayerSpec>,
}

/// How the weights are fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Passes over the training images.
    pub epochs: u64,
    /// Images per step.
    pub batch_size: usize,
    /// Images of each light-cone that are trained on, the first ones; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_per_light_cone: Option<usize>,
    /// Whether every epoch has its own order of images; if not, that of the table.
    pub shuffle: bool,
    /// When given, replaces the rate of every dropout layer; 0 switches dropout off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Longest time between two checkpoints.
    pub checkpoint_minutes: f64,
    /// The optimiser.
    pub rmsprop: RmsPropConfig,
    /// Learning-rate schedule.
    pub reduce_on_plateau: ReduceOnPlateau,
    /// Another learning-rate schedule.
    #[serde(default)]
    pub cosine_decay: CosineDecay,
    /// Average of the weights over the last steps.
    #[serde(default)]
    pub weight_averaging: WeightAveraging,
    /// Running averages of normalisations made anew for validation.
    #[serde(default)]
    pub normalization_recalibration: NormalizationRecalibration,
    /// Random symmetries of the images.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// End before the last epoch.
    pub early_stopping: EarlyStopping,
}

/// RMSprop as in Keras 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RmsPropConfig {
    /// Learning rate of the first epoch.
    pub learning_rate: f64,
    /// Decay of the mean of squared gradients.
    pub rho: f64,
    /// Added to the root of that mean.
    pub epsilon: f64,
}

impl RmsPropConfig {
    /// The optimiser at a learning rate.
    #[must_use]
    pub fn at_rate(self, learning_rate: f64) -> RmsProp {
        RmsProp {
            learning_rate,
            rho: self.rho,
            epsilon: self.epsilon,
        }
    }

    /// The optimiser of the first epoch.
    #[must_use]
    pub fn optimizer(self) -> RmsProp {
        self.at_rate(self.learning_rate)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no TOML.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        source: Box<toml::de::Error>,
    },
    /// A preset of another name.
    #[error("there is no preset `{name}`; the presets are {known}")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A run record whose settings cannot be taken.
    #[error("{}: {detail}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A `--set` that is not of the form `key=value`, or whose key leads nowhere.
    #[error("--set {argument}: {detail}")]
    Override {
        /// The argument as given.
        argument: String,
        /// What is wrong.
        detail: String,
    },
    /// A field that is missing, unknown or of the wrong type.
    #[error("configuration: {0}")]
    Field(Box<toml::de::Error>),
    /// A field with an impossible value.
    #[error("configuration: {field} = {found}: expected {expected}")]
    Value {
        /// Its name.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// Where a configuration comes from; later parts override earlier ones.
#[derive(Debug, Clone, Default)]
pub struct ConfigSources<'a> {
    /// Name of the preset to start from; absent: the one that the file names, or the paper's.
    pub preset: Option<&'a str>,
    /// A TOML file with some or all fields, and optionally `preset`; or the `run.toml` of a run, whose fields are all
    /// taken.
    pub file: Option<&'a Path>,
    /// `key=value` arguments, with keys such as `training.epochs` or `layer.0.filters`.
    pub overrides: &'a [String],
    /// Replaces `seed`.
    pub seed: Option<u64>,
}

impl Config {
    /// Puts a configuration together and checks it.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or argument, the field, and what was expected.
    pub fn load(sources: &ConfigSources<'_>) -> Result<Self, ConfigError> {
        let mut file_table = Table::new();
        if let Some(path) = sources.file {
            let text = std::fs::read_to_string(path).map_err(FileError::at(path, "reading"))?;
            file_table = text.parse().map_err(|source| ConfigError::Syntax {
                path: path.to_path_buf(),
                source: Box::new(source),
            })?;
        }
        let recorded = match sources.file {
            Some(path) => recorded(path, &mut file_table)?,
            None => None,
        };
        let mut table = match (recorded, sources.preset) {
            (Some(recorded), None) => recorded,
            (Some(_), Some(name)) => {
                return Err(ConfigError::Record {
                    path: sources.file.unwrap_or(Path::new("")).to_path_buf(),
                    detail: format!("a run record has all settings; leave out --preset {name}"),
                });
            }
            (None, _) => {
                let named = match file_table.remove("preset") {
                    None => None,
                    Some(Value::String(name)) => Some(name),
                    Some(other) => {
                        return Err(ConfigError::Value {
                            field: "preset",
                            found: other.to_string(),
                            expected: "the name of a preset, in quotes",
                        });
                    }
                };
                let name = sources.preset.or(named.as_deref());
                let mut table = preset(name.unwrap_or(DEFAULT_PRESET))?;
                merge(&mut table, file_table);
                table
            }
        };
        for argument in sources.overrides {
            apply_override(&mut table, argument)?;
        }
        if let Some(seed) = sources.seed {
            // TOML integers are signed; seeds above i64::MAX would not survive the run record.
            let seed = i64::try_from(seed).map_err(|_| ConfigError::Value {
                field: "seed",
                found: seed.to_string(),
                expected: "a number below 2^63",
            })?;
            table.insert("seed".to_string(), Value::Integer(seed));
        }
        Self::from_table(table)
    }

    /// Reads a complete configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the field and what was expected.
    pub fn from_table(table: Table) -> Result<Self, ConfigError> {
        let config: Self = table
            .try_into()
            .map_err(|error| ConfigError::Field(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    /// Layers with `training.dropout` applied.
    #[must_use]
    pub fn effective_layers(&self) -> Vec<LayerSpec> {
        let mut layers = self.layers.clone();
        if let Some(replacement) = self.training.dropout {
            for layer in &mut layers {
                if let LayerSpec::Dropout { rate } = layer {
                    *rate = replacement;
                }
            }
        }
        layers
    }

    /// What a training is but for its seed, to compare it with others: settings that change the result by rounding at
    /// most, and those of averages, recalibration and a cosine that are off, are the defaults.
    #[must_use]
    pub fn without_seed(&self) -> Self {
        let mut config = self.clone();
        config.seed = 0;
        config.execution = ExecutionConfig::default();
        config.layers = self.effective_layers();
        let training = &mut config.training;
        training.dropout = None;
        training.checkpoint_minutes = 1.0;
        if !training.cosine_decay.enabled {
            training.cosine_decay = CosineDecay::default();
        }
        if !training.weight_averaging.enabled {
            training.weight_averaging = WeightAveraging::default();
        }
        if !training.normalization_recalibration.enabled {
            training.normalization_recalibration = NormalizationRecalibration::default();
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::sources::PRESETS;
    use super::*;
    use crate::model::architecture::Architecture;

    fn load(overrides: &[&str]) -> Result<Config, ConfigError> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Config::load(&ConfigSources {
            overrides: &overrides,
            ..ConfigSources::default()
        })
    }

    #[test]
    fn every_preset_is_complete_and_valid() {
        for (name, _) in PRESETS {
            let sources = ConfigSources {
                preset: Some(name),
                ..ConfigSources::default()
            };
            Config::load(&sources).expect(name);
        }
    }

    #[test]
    fn the_deep_network_needs_48_rows() {
        let sources = ConfigSources {
            preset: Some("deep"),
            ..ConfigSources::default()
        };
        let layers = Config::load(&sources).expect("valid").effective_layers();
        let resolve = |rows| Architecture::resolve(&layers, [rows, 1042], 3.0, 4);
        assert!(resolve(48).is_ok() && resolve(50).is_ok());
        let error = resolve(47).expect_err("too low").to_string();
        assert!(error.contains("layer 11 (max_pool2d)"), "{error}");
    }

    #[test]
    fn settings_that_change_nothing_do_not_tell_trainings_apart() {
        let kind = |overrides: &[&str]| load(overrides).expect("valid").without_seed();
        let own = kind(&[]);
        for same in [
            "seed=5",
            "training.checkpoint_minutes=3.0",
            "execution.convolution=direct",
            "training.weight_averaging.decay=0.5",
            "training.dropout=0.2",
        ] {
            assert_eq!(kind(&[same]), own, "{same}");
        }
        for other in [
            "training.batch_size=50",
            "training.weight_averaging.enabled=true",
            "training.dropout=0.3",
        ] {
            assert_ne!(kind(&[other]), own, "{other}");
        }
    }

    #[test]
    fn overrides_reach_sections_and_layers() {
        let config =
            load(&["training.epochs=3", "layer.0.filters = 4", "slices.count=1"]).expect("valid");
        assert_eq!(config.training.epochs, 3);
        assert_eq!(config.slices.count, Some(1));
        assert!(matches!(
            config.layers[0],
            LayerSpec::Conv2d { filters: 4, .. }
        ));
        let config = load(&["training.dropout=0"]).expect("valid");
        let rates = config.effective_layers();
        assert!(rates.contains(&LayerSpec::Dropout { rate: 0.0 }));
    }

    #[test]
    fn wrong_fields_are_named() {
        for (argument, named) in [
            ("training.epoch=3", "epoch"),
            ("training.epochs=0", "training.epochs = 0"),
            ("training.epochs=many", "epochs"),
            ("trainin.epochs=3", "trainin"),
            ("layer.99.filters=3", "layer"),
            ("layer.0.filter=3", "filter"),
            ("training.rmsprop.rho=1.5", "training.rmsprop.rho = 1.5"),
            ("epochs", "key=value"),
        ] {
            let error = load(&[argument]).expect_err(argument).to_string();
            assert!(error.contains(named), "{argument}: {error}");
        }
        let error = Config::load(&ConfigSources {
            preset: Some("gillet2091"),
            ..ConfigSources::default()
        })
        .expect_err("no such preset")
        .to_string();
        assert!(error.contains("gillet2019"), "{error}");
    }
}
