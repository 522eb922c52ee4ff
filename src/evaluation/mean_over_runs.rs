//! The mean of what several networks predicted for the same images, from their `predictions.csv`.

use std::collections::{BTreeSet, HashMap};

use super::comparison::Images;
use super::prediction::ImagePrediction;
use super::results::StoredPrediction;
use super::scores::{
    ParameterScores, mean_by_light_cone, of_first_images, of_images_before, parameter_scores,
};
use crate::data::batches::ImageIndex;

/// The mean over runs of the images that all of them predicted, in the order of the first run; none when a run knows other
/// truths of them, or when a light-cone of any run has no image in common, so that they are not of the same light-cones.
#[must_use]
pub fn mean_over_runs(runs: &[Vec<StoredPrediction>]) -> Option<Vec<StoredPrediction>> {
    let (first, others) = runs.split_first()?;
    let by_image: Vec<HashMap<_, &StoredPrediction>> = others
        .iter()
        .map(|run| {
            run.iter()
                .map(|stored| (image_of(stored), stored))
                .collect()
        })
        .collect();
    let mut means = Vec::with_capacity(first.len());
    for stored in first {
        let of_others = by_image
            .iter()
            .map(|run| run.get(&image_of(stored)).copied());
        let Some(of_others) = of_others.collect::<Option<Vec<_>>>() else {
            continue;
        };
        let mut pairs = stored.pairs.clone();
        for (index, pair) in pairs.iter_mut().enumerate() {
            let of_others = of_others.iter().map(|other| other.pairs[index]);
            if of_others
                .clone()
                .any(|other| other.truth.to_bits() != pair.truth.to_bits())
            {
                return None;
            }
            let sum = pair.prediction + of_others.map(|other| other.prediction).sum::<f64>();
            pair.prediction = sum / runs.len() as f64;
        }
        means.push(StoredPrediction {
            pairs,
            ..stored.clone()
        });
    }
    let light_cones = |run: &[StoredPrediction]| -> BTreeSet<String> {
        run.iter().map(|stored| stored.id.clone()).collect()
    };
    let common = light_cones(&means);
    runs.iter()
        .all(|run| light_cones(run) == common)
        .then_some(means)
}

/// What tells an image from others.
fn image_of(stored: &StoredPrediction) -> (&str, &str, &str) {
    (&stored.id, &stored.axis, &stored.place)
}

/// Scores of stored predictions by the images that count; none where these were not predicted, or of calibrated means,
/// which the predictions alone do not give.
///
/// `parameters` are names and units; `seed` is that of the bootstrap.
#[must_use]
pub fn scores_of(
    stored: &[StoredPrediction],
    images: Images,
    parameters: &[(&str, &str)],
    seed: u64,
) -> Option<Vec<ParameterScores>> {
    // Images of a light-cone follow one another, those of the direction trained on first.
    let upright_axis = &stored.first()?.axis;
    let mut index = ImageIndex {
        light_cone: 0,
        image: 0,
    };
    let mut upright = 0;
    let mut all = Vec::with_capacity(stored.len());
    for (number, prediction) in stored.iter().enumerate() {
        if number > 0 && stored[number - 1].id != prediction.id {
            index.light_cone += 1;
            index.image = 0;
        }
        if prediction.axis == *upright_axis {
            upright = upright.max(index.image + 1);
        }
        all.push(ImagePrediction {
            index,
            parameters: prediction.pairs.clone(),
        });
        index.image += 1;
    }
    let of_upright = of_images_before(upright, &all);
    let light_cones = index.light_cone + 1;
    let counted = match images {
        Images::First => of_first_images(&all),
        Images::Each if of_upright.len() > light_cones => of_upright,
        Images::Mean if of_upright.len() > light_cones => mean_by_light_cone(&of_upright),
        Images::MeanOfBothDirections if all.len() > of_upright.len() => mean_by_light_cone(&all),
        _ => return None,
    };
    let scores = parameters
        .iter()
        .enumerate()
        .map(|(index, (name, unit))| parameter_scores(&counted, index, name, unit, seed));
    Some(scores.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::Pair;

    fn stored(id: &str, axis: &str, place: &str, truth: f64, prediction: f64) -> StoredPrediction {
        StoredPrediction {
            id: id.to_string(),
            axis: axis.to_string(),
            place: place.to_string(),
            pairs: vec![Pair { truth, prediction }],
        }
    }

    /// Two light-cones of two images of constant y and one of constant x.
    fn run(error: f64) -> Vec<StoredPrediction> {
        vec![
            stored("a", "y", "0,0", 1.0, 1.0 + error),
            stored("a", "y", "5,0", 1.0, 1.0 - 2.0 * error),
            stored("a", "x", "0,0", 1.0, 1.0 + 4.0 * error),
            stored("b", "y", "0,0", 3.0, 3.0 + error),
            stored("b", "y", "5,0", 3.0, 3.0),
            stored("b", "x", "0,0", 3.0, 3.0 - error),
        ]
    }

    #[test]
    fn the_mean_is_scored_by_the_images_that_count() {
        let mean = mean_over_runs(&[run(0.1), run(0.5)]).expect("the same images");
        let r2 = |images| {
            let scores = scores_of(&mean, images, &[("level", "")], 1)?;
            scores[0].r2
        };
        // Errors of the mean are those of 0.3; the truths' squares around their mean sum up to 2 for one image each.
        let expected = |squares: f64, total: f64| 1.0 - 0.09 * squares / total;
        for (images, expected) in [
            (Images::First, expected(2.0, 2.0)),
            (Images::Each, expected(6.0, 4.0)),
            (Images::Mean, expected(0.5, 2.0)),
            (Images::MeanOfBothDirections, expected(1.0, 2.0)),
        ] {
            let found = r2(images).expect("a score");
            assert!((found - expected).abs() < 1e-12, "{images:?}: {found}");
        }
        assert_eq!(r2(Images::CalibratedMean), None);
    }

    #[test]
    fn images_that_were_not_predicted_have_no_scores() {
        let first: Vec<StoredPrediction> = run(0.1).into_iter().step_by(3).collect();
        let scores = |images| scores_of(&first, images, &[("level", "")], 1);
        assert!(scores(Images::First).is_some());
        for images in [Images::Each, Images::Mean, Images::MeanOfBothDirections] {
            assert_eq!(scores(images), None, "{images:?}");
        }
    }

    #[test]
    fn images_that_one_run_has_alone_are_left_out() {
        let upright: Vec<StoredPrediction> =
            run(0.5).into_iter().filter(|s| s.axis == "y").collect();
        for runs in [[run(0.1), upright.clone()], [upright.clone(), run(0.1)]] {
            let mean = mean_over_runs(&runs).expect("the same light-cones");
            assert_eq!(mean.len(), 4);
            let scores = |images| scores_of(&mean, images, &[("level", "")], 1);
            let r2 = scores(Images::Mean).expect("scores")[0]
                .r2
                .expect("a score");
            assert!((r2 - (1.0 - 0.09 * 0.5 / 2.0)).abs() < 1e-12, "{r2}");
            assert_eq!(scores(Images::MeanOfBothDirections), None);
        }
    }

    #[test]
    fn runs_on_other_light_cones_have_no_mean() {
        let mut others = [run(0.1), run(0.1), run(0.1)];
        for stored in &mut others[0][3..] {
            stored.id = "c".to_string();
        }
        others[1][2].pairs[0].truth = 1.5;
        others[2].truncate(3);
        for other in others {
            assert_eq!(mean_over_runs(&[run(0.1), other.clone()]), None);
            assert_eq!(mean_over_runs(&[other, run(0.1)]), None);
        }
    }
}
