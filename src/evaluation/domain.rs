//! The images that a model may be asked about: those like the ones it was trained on.
//!
//! A network gives an answer for any image. Three things are compared with the training and validation
//! images: the range of temperatures, the structure of the image, and what the network makes of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::feature_space::FeatureSpace;
use super::image_statistics::{Temperatures, structure_len};

/// What is compared, of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFeatures {
    /// Before clipping.
    pub temperatures: Temperatures,
    /// See [`super::image_statistics::structure`].
    pub structure: Vec<f64>,
    /// See [`crate::model::engine::Engine::features`].
    pub network: Vec<f64>,
}

/// Lowest and highest value among the images seen, in mK.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRange {
    /// Lowest.
    pub low_mk: f64,
    /// Highest.
    pub high_mk: f64,
}

/// Values may lie beyond those seen by this share of their range.
const RANGE_MARGIN: f64 = 0.1;

impl SeenRange {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            low_mk: values.clone().fold(f64::INFINITY, f64::min),
            high_mk: values.fold(f64::NEG_INFINITY, f64::max),
        }
    }

    fn holds(&self, value_mk: f64) -> bool {
        let margin = RANGE_MARGIN * (self.high_mk - self.low_mk);
        (self.low_mk - margin..=self.high_mk + margin).contains(&value_mk)
    }
}

/// The domain of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Of the coldest cell.
    pub coldest: SeenRange,
    /// Of the mean over an image.
    pub mean: SeenRange,
    /// Of the hottest cell.
    pub hottest: SeenRange,
    /// The structure of the images.
    pub structure: FeatureSpace,
    /// What the network makes of them; none of a network with a single dense layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<FeatureSpace>,
}

/// A way in which an image is unlike those seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Departure {
    /// A temperature beyond those seen.
    Temperature {
        /// Which one.
        what: &'static str,
        /// Its value in mK.
        found_mk: f64,
        /// Those seen.
        seen: SeenRange,
    },
    /// Fluctuations or their course with redshift are unlike those seen.
    Structure {
        /// Distance from the mean of the training images.
        distance: f64,
        /// That of the farthest image seen.
        limit: f64,
    },
    /// The network's features are unlike those seen.
    Network {
        /// Distance from the mean of the training images.
        distance: f64,
        /// That of the farthest image seen.
        limit: f64,
    },
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let distance = |f: &mut fmt::Formatter<'_>, what, distance, limit| {
            write!(
                f,
                "{what} unlike anything in images known to the model (distance {distance:.2}, limit {limit:.2})"
            )
        };
        match *self {
            Self::Temperature {
                what,
                found_mk,
                seen,
            } => write!(
                f,
                "{what} {found_mk:.3} mK, {:.3} to {:.3} mK in images known to the model",
                seen.low_mk, seen.high_mk
            ),
            Self::Structure { distance: d, limit } => distance(f, "structure", d, limit),
            Self::Network { distance: d, limit } => distance(f, "network features", d, limit),
        }
    }
}

impl Domain {
    /// The domain of training images, with limits from validation images, of which no warning is given. None
    /// when a set is empty.
    #[must_use]
    pub fn fit(training: &[ImageFeatures], validation: &[ImageFeatures]) -> Option<Self> {
        let seen = |value: fn(&Temperatures) -> f64| {
            let all = training.iter().chain(validation);
            SeenRange::of(all.map(move |image| value(&image.temperatures)))
        };
        let space = |features: fn(&ImageFeatures) -> &Vec<f64>| {
            let of = |images: &[ImageFeatures]| -> Vec<Vec<f64>> {
                images.iter().map(|image| features(image).clone()).collect()
            };
            FeatureSpace::fit(&of(training), &of(validation))
        };
        Some(Self {
            coldest: seen(|t| t.coldest_mk),
            mean: seen(|t| t.mean_mk),
            hottest: seen(|t| t.hottest_mk),
            structure: space(|image| &image.structure)?,
            network: space(|image| &image.network),
        })
    }

    /// Whether a domain read from a file is one of images of `columns` and a network of `features`.
    #[must_use]
    pub fn is_consistent(&self, columns: usize, features: usize) -> bool {
        self.structure.is_consistent(structure_len(columns))
            && match &self.network {
                Some(space) => space.is_consistent(features),
                None => features == 0,
            }
    }

    /// All ways in which an image is unlike those seen; none of a usual image.
    #[must_use]
    pub fn departures(&self, image: &ImageFeatures) -> Vec<Departure> {
        let temperatures = &image.temperatures;
        let mut departures: Vec<Departure> = [
            ("coldest cell", temperatures.coldest_mk, self.coldest),
            ("mean", temperatures.mean_mk, self.mean),
            ("hottest cell", temperatures.hottest_mk, self.hottest),
        ]
        .into_iter()
        .filter(|(_, found_mk, seen)| !seen.holds(*found_mk))
        .map(|(what, found_mk, seen)| Departure::Temperature {
            what,
            found_mk,
            seen,
        })
        .collect();
        let distance = self.structure.distance(&image.structure);
        if distance > self.structure.limit {
            departures.push(Departure::Structure {
                distance,
                limit: self.structure.limit,
            });
        }
        if let Some(network) = &self.network {
            let distance = network.distance(&image.network);
            if distance > network.limit {
                departures.push(Departure::Network {
                    distance,
                    limit: network.limit,
                });
            }
        }
        departures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spread of images whose numbers follow one another.
    fn images(shift: f64) -> Vec<ImageFeatures> {
        (0..40)
            .map(|i| {
                let value = shift + f64::from(i) / 40.0;
                let ripple = 0.1 * f64::from(i * 7 % 10);
                ImageFeatures {
                    temperatures: Temperatures {
                        coldest_mk: -100.0 * (1.0 + value),
                        mean_mk: -50.0 * value,
                        hottest_mk: 10.0 + value,
                    },
                    structure: vec![value, 2.0 * value + ripple],
                    network: vec![value - ripple],
                }
            })
            .collect()
    }

    #[test]
    fn each_departure_is_named_and_usual_images_have_none() {
        let (training, validation) = (images(0.0), images(0.01));
        let domain = Domain::fit(&training, &validation).expect("images");
        for image in validation.iter().chain(&training) {
            assert_eq!(domain.departures(image), []);
        }

        let usual = validation[20].clone();
        let mut kelvin = usual.clone();
        kelvin.temperatures.coldest_mk /= 1000.0;
        let named = |image: &ImageFeatures| {
            let departures = domain.departures(image).into_iter();
            departures
                .map(|d| d.to_string())
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(
            named(&kelvin),
            "coldest cell -0.151 mK, -198.500 to -100.000 mK in images known to the model"
        );
        let mut noisy = usual.clone();
        noisy.structure[1] += 8.0;
        assert!(
            named(&noisy).starts_with("structure unlike"),
            "{}",
            named(&noisy)
        );
        let mut strange = usual;
        strange.network[0] = -9.0;
        strange.temperatures.hottest_mk = 400.0;
        let text = named(&strange);
        assert!(text.contains("hottest cell 400.000 mK"), "{text}");
        assert!(text.contains("network features unlike"), "{text}");
    }

    #[test]
    fn an_empty_set_makes_no_domain() {
        assert_eq!(Domain::fit(&[], &images(0.0)), None);
        assert_eq!(Domain::fit(&images(0.0), &[]), None);
    }
}
