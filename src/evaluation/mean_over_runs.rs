//! The mean of what several networks predicted for the same images, from their `predictions.csv`.

use super::comparison::Images;
use super::metrics::Pair;
use super::prediction::ImagePrediction;
use super::results::StoredPrediction;
use super::scores::{
    ParameterScores, mean_by_light_cone, of_first_images, of_images_before, parameter_scores,
};
use crate::data::batches::ImageIndex;

/// The mean over runs, image by image; none when they predicted other images, or know other truths of them.
#[must_use]
pub fn mean_over_runs(runs: &[Vec<StoredPrediction>]) -> Option<Vec<StoredPrediction>> {
    let (first, others) = runs.split_first()?;
    let alike = |a: &StoredPrediction, b: &StoredPrediction| {
        let truths = |of: &StoredPrediction| -> Vec<u64> {
            of.pairs.iter().map(|pair| pair.truth.to_bits()).collect()
        };
        (&a.id, &a.axis, &a.place) == (&b.id, &b.axis, &b.place) && truths(a) == truths(b)
    };
    let same_images = |other: &Vec<StoredPrediction>| {
        other.len() == first.len() && other.iter().zip(first).all(|(a, b)| alike(a, b))
    };
    if !others.iter().all(same_images) {
        return None;
    }
    let mean = |image: usize, parameter: usize| {
        let predictions = runs
            .iter()
            .map(|run| run[image].pairs[parameter].prediction);
        predictions.sum::<f64>() / runs.len() as f64
    };
    let means = first.iter().enumerate().map(|(image, stored)| {
        let pairs = stored.pairs.iter().enumerate().map(|(index, pair)| Pair {
            truth: pair.truth,
            prediction: mean(image, index),
        });
        StoredPrediction {
            pairs: pairs.collect(),
            ..stored.clone()
        }
    });
    Some(means.collect())
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
    fn runs_on_other_images_have_no_mean() {
        let mut others = [run(0.1), run(0.1), run(0.1)];
        others[0][2].id = "c".to_string();
        others[1][2].pairs[0].truth = 1.5;
        others[2].pop();
        for other in others {
            assert_eq!(mean_over_runs(&[run(0.1), other]), None);
        }
    }
}
