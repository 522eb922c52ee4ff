//! The trained networks that are kept with the paper's experiment can be used at once, uncertainties included.

use std::path::Path;

use dawn21::data::symmetry::Symmetries;
use dawn21::evaluation::calibration::{Answer, Calibration};
use dawn21::model::ensemble::merge;
use dawn21::model::model_file::{self, Model};
use dawn21::model::network::Network;

#[test]
fn kept_models_know_where_they_know_little() {
    for experiment in ["3000", "6000-planes-10-epochs-36"] {
        let results = Path::new("docs/gillet2019/results").join(experiment);
        let run = results.join("deep-1");
        let model = model_file::read(&run.join("model.safetensors")).expect("model");
        let calibration = Calibration::read(&run.join("calibration.json"), &model);
        let calibration = calibration.expect("of this model").expect("kept");
        for of in calibration
            .means_known()
            .map(Answer::Mean)
            .chain([Answer::Image])
        {
            let uncertainty_of_zeta = |log10_tvir: f64| {
                let recoveries = calibration.recoveries(of, &[log10_tvir, 60.0, 40.0, 0.7]);
                recoveries[1].expect("known").uncertainty
            };
            // So few galaxies that hardly a bubble forms before the nearest redshift.
            let ratio = uncertainty_of_zeta(5.9) / uncertainty_of_zeta(4.5);
            assert!(ratio > 1.5, "{experiment}, {of:?}: {ratio}");
        }
    }
}

#[test]
fn kept_calibrations_are_of_the_means_of_kept_models() {
    let results = Path::new("docs/gillet2019/results");
    let models: Vec<Model> = (1..=3)
        .map(|seed| {
            let run = format!("6000-planes-10-epochs-36/deep-{seed}/model.safetensors");
            model_file::read(&results.join(run)).expect("model")
        })
        .collect();
    let ten_views = Symmetries {
        shifts: 5,
        flip: true,
    };
    for (symmetries, run) in [
        (
            Symmetries::default(),
            "6000-planes-10-epochs-36/deep-ensemble-1-2-3",
        ),
        (ten_views, "6000-whole-cubes/deep-symmetric-1-2-3"),
    ] {
        let (description, architecture, parameters) = merge(&models, symmetries).expect("alike");
        let model = Model {
            description,
            network: Network::new(architecture),
            parameters,
        };
        let calibration = Calibration::read(&results.join(run).join("calibration.json"), &model);
        let calibration = calibration.expect("of this model").expect("kept");
        // Of ten images, and of both directions.
        assert_eq!(calibration.means_known().count(), 2);
        assert_eq!(calibration.light_cones, 600);
    }
}
