//! The engine that trains against the plain network: the same results but for rounding, whatever the
//! vector level and the algorithm.

mod cases;

use cases::{Case, MODE, OPTIMIZER, architectures, executions, random};
use dawn21::model::activations::Mode;
use dawn21::model::engine::Engine;
use dawn21::model::network::Network;
use dawn21::model::parameters::Parameters;
use dawn21_kernels::rmsprop;

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Asserts agreement within f32 rounding through the whole network, some 1e-6 of `scale`.
fn assert_close(what: &str, actual: &[f32], exact: &[f64], scale: f64) {
    assert_eq!(actual.len(), exact.len(), "{what}");
    for (i, (&actual, &exact)) in actual.iter().zip(exact).enumerate() {
        let error = (f64::from(actual) - exact).abs();
        assert!(
            error <= 1e-5 * scale,
            "{what}[{i}]: {actual} instead of {exact}, the scale is {scale}"
        );
    }
}

#[test]
fn engine_agrees_with_the_plain_network_in_f64() {
    for (name, architecture) in architectures() {
        let case = Case::new(architecture);
        let (loss, gradients, input_gradient, prediction) = case.reference();
        for execution in executions() {
            let what = format!("{name}, {execution:?}");
            let mut engine = case.engine(execution);
            let actual = case.gradients(&mut engine);
            assert!((actual.loss - loss).abs() < 1e-5 * loss, "{what}: loss");
            let sizes = gradients.trainable.iter().map(|t| largest(&t.values));
            let of_all = sizes.fold(0.0, f64::max);
            for (actual, exact) in actual.parameters.trainable.iter().zip(&gradients.trainable) {
                let what = format!("{what}: {}", actual.name);
                // The gradient of a bias before a normalisation cancels to 0: there is only rounding.
                let scale = match largest(&exact.values) {
                    own if own > 1e-9 * of_all => own,
                    _ => of_all,
                };
                assert_close(&what, &actual.values, &exact.values, scale);
            }
            assert_close(
                &what,
                &actual.input,
                &input_gradient,
                largest(&input_gradient),
            );
            *engine.input_mut() = case.input.clone();
            let actual = engine.predict().expect("fits");
            assert_close(&what, actual, &prediction, largest(&prediction));
        }
    }
}

fn bits(parameters: &Parameters<f32>) -> Vec<Vec<u32>> {
    parameters
        .tensors()
        .map(|t| t.values.iter().map(|v| v.to_bits()).collect())
        .collect()
}

#[test]
fn training_steps_are_the_gradients_and_rmsprop() {
    for (name, architecture) in architectures() {
        for execution in executions() {
            let mut case = Case::new(architecture.clone());
            let mut engine = case.engine(execution);
            let mut moments = case.zero_moments();
            for step in 0..4 {
                let mode = Mode::Training { seed: 8, step };
                *engine.input_mut() = case.input.clone();
                let loss = engine
                    .train_step(&case.targets, mode, &OPTIMIZER)
                    .expect("fits");
                let mut fresh = case.engine(execution);
                *fresh.input_mut() = case.input.clone();
                let gradients = fresh.gradients(&case.targets, mode, false).expect("fits");
                assert_eq!(loss.to_bits(), gradients.loss.to_bits(), "{name}");
                let tensors = case.parameters.trainable.iter_mut();
                let gradients = gradients.parameters.trainable.iter();
                for ((tensor, gradient), moments) in tensors.zip(gradients).zip(&mut moments) {
                    rmsprop::step(&OPTIMIZER, &mut tensor.values, &gradient.values, moments)
                        .expect("lengths");
                }
                let learned = engine.parameters().expect("loaded");
                // Running averages are the network's own business.
                case.parameters.buffers.clone_from(&learned.buffers);
                assert!(
                    bits(&learned) == bits(&case.parameters),
                    "{name}, {execution:?}, step {step}"
                );
                assert_eq!(engine.mean_squares().expect("loaded"), moments, "{name}");
            }
        }
    }
}

#[test]
fn running_averages_move_as_in_the_plain_network() {
    let (_, architecture) = architectures().swap_remove(0);
    let case = Case::new(architecture);
    let all: Vec<Vec<Vec<f32>>> = executions()
        .into_iter()
        .map(|execution| {
            let mut engine = case.engine(execution);
            *engine.input_mut() = case.input.clone();
            engine
                .train_step(&case.targets, MODE, &OPTIMIZER)
                .expect("fits");
            let parameters = engine.parameters().expect("loaded");
            assert_ne!(parameters.buffers, case.parameters.buffers, "they moved");
            parameters.buffers.into_iter().map(|t| t.values).collect()
        })
        .collect();
    for (i, plain) in all[4].iter().enumerate() {
        let plain: Vec<f64> = plain.iter().map(|&v| v.into()).collect();
        for other in &all {
            assert_close("running average", &other[i], &plain, largest(&plain));
        }
    }
}

#[test]
fn recalibrated_averages_are_the_plain_mean_of_batches_without_dropout() {
    for (name, architecture) in architectures() {
        let case = Case::new(architecture);
        // The same images twice have the same statistics; halves have others.
        let half = case.input.len() / 2;
        let parts = [&case.input[..half], &case.input[half..]];
        let network = Network::new(case.architecture.clone());
        let mut exact: Parameters<f64> = case.parameters.convert();
        let mut activations = network.activations();
        for (before, part) in parts.iter().enumerate() {
            *activations.input_mut() = part.iter().map(|&v| v.into()).collect();
            network
                .forward(&exact, &mut activations, Mode::Statistics)
                .expect("fits");
            network
                .average_running_statistics(&mut exact, &activations, before)
                .expect("fits");
        }
        for execution in executions() {
            let mut engine = case.engine(execution);
            for (before, part) in parts.iter().enumerate() {
                *engine.input_mut() = part.to_vec();
                engine.recalibrate(before).expect("fits");
            }
            let parameters = engine.parameters().expect("loaded");
            assert_eq!(parameters.trainable, case.parameters.trainable, "{name}");
            for (actual, exact) in parameters.buffers.iter().zip(&exact.buffers) {
                let what = format!("{name}: {}", actual.name);
                assert_close(&what, &actual.values, &exact.values, largest(&exact.values));
            }
        }
    }
}

#[test]
fn engine_gives_the_same_bits_for_any_thread_count() {
    for (name, architecture) in architectures() {
        let case = Case::new(architecture);
        for execution in executions() {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.expect("threads").install(|| {
                    let mut engine = case.engine(execution);
                    for step in 0..2 {
                        *engine.input_mut() = case.input.clone();
                        let mode = Mode::Training { seed: 8, step };
                        engine
                            .train_step(&case.targets, mode, &OPTIMIZER)
                            .expect("fits");
                    }
                    bits(&engine.parameters().expect("loaded"))
                })
            };
            let one = run(1);
            assert!(one == run(2) && one == run(5), "{name}, {execution:?}");
        }
    }
}

#[test]
fn parameters_come_back_as_they_were_loaded() {
    for (name, architecture) in architectures() {
        let case = Case::new(architecture);
        for execution in executions() {
            let engine = case.engine(execution);
            assert!(
                bits(&engine.parameters().expect("loaded")) == bits(&case.parameters),
                "{name}"
            );
            let mut moments = case.zero_moments();
            for (key, moments) in moments.iter_mut().enumerate() {
                *moments = random(moments.len(), key as u64);
            }
            let mut engine = engine;
            engine
                .load(&case.parameters, Some(&moments))
                .expect("own parameters");
            assert_eq!(engine.mean_squares().expect("loaded"), moments, "{name}");
        }
    }
}

#[test]
fn averages_follow_the_weights_and_stay_out_of_the_steps() {
    for (name, architecture) in architectures() {
        let case = Case::new(architecture);
        for execution in executions() {
            let mut engine = case.engine(execution);
            let mut without = case.engine(execution);
            assert_eq!(engine.average().expect("shapes"), None);
            engine
                .load_average(Some(&case.parameters))
                .expect("own parameters");
            let mut expected = case.parameters.clone();
            for step in 0..3 {
                let mode = Mode::Training { seed: 8, step };
                for engine in [&mut engine, &mut without] {
                    *engine.input_mut() = case.input.clone();
                    engine
                        .train_step(&case.targets, mode, &OPTIMIZER)
                        .expect("fits");
                }
                engine.update_average(0.75);
                let weights = engine.parameters().expect("loaded");
                assert!(
                    bits(&weights) == bits(&without.parameters().expect("loaded")),
                    "{name}"
                );
                for (average, tensor) in expected.tensors_mut().zip(weights.tensors()) {
                    for (average, value) in average.values.iter_mut().zip(&tensor.values) {
                        *average += 0.25 * (value - *average);
                    }
                }
            }
            let average = engine.average().expect("shapes").expect("kept");
            assert!(bits(&average) == bits(&expected), "{name}, {execution:?}");
            // Predictions are those of the average while it is swapped in.
            engine.swap_average();
            *engine.input_mut() = case.input.clone();
            let swapped = engine.predict().expect("fits").to_vec();
            engine.swap_average();
            // Planned alike: whether the input's gradient is wanted may decide about the algorithm.
            let other = Engine::with_input_gradient(case.architecture.clone(), execution);
            let mut other = other.expect("plan");
            other.load(&average, None).expect("own parameters");
            *other.input_mut() = case.input.clone();
            assert_eq!(swapped, other.predict().expect("fits"), "{name}");
            engine.load_average(None).expect("nothing");
            assert_eq!(engine.average().expect("shapes"), None);
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_weights_alone() {
    for (name, architecture) in architectures() {
        let case = Case::new(architecture);
        for execution in executions() {
            let mut engine = case.engine(execution);
            *engine.input_mut() = case.input.clone();
            let mut targets = case.targets.clone();
            targets[1] = f32::INFINITY;
            let loss = engine
                .train_step(&targets, MODE, &OPTIMIZER)
                .expect("lengths fit");
            assert!(!loss.is_finite());
            assert!(
                bits(&engine.parameters().expect("loaded")) == bits(&case.parameters),
                "{name}"
            );
            assert_eq!(engine.first_non_finite(), None);
        }
    }
}

#[test]
fn tensors_that_are_not_finite_are_named() {
    for (_, architecture) in architectures() {
        let mut case = Case::new(architecture);
        let count = case.parameters.trainable.len();
        for index in 0..count {
            let before = case.parameters.trainable[index].values[0];
            case.parameters.trainable[index].values[0] = f32::INFINITY;
            let execution = executions().swap_remove(0);
            let name = case.engine(execution).first_non_finite();
            assert_eq!(name.as_ref(), Some(&case.parameters.trainable[index].name));
            case.parameters.trainable[index].values[0] = before;
        }
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let mut all = architectures();
    let (_, other) = all.swap_remove(1);
    let (_, architecture) = all.swap_remove(0);
    let case = Case::new(architecture);
    let execution = executions().swap_remove(0);
    let mut engine = case.engine(execution);
    let error = engine.load(&Parameters::zeros(&other), None);
    assert!(
        error
            .expect_err("another network")
            .to_string()
            .contains("another network")
    );
    engine.input_mut().resize(21 * 47 + 1, 0.0);
    assert!(engine.predict().is_err(), "a part of an image");
    // An engine that was loaded to predict has nothing to train with.
    for execution in executions() {
        let mut engine = Engine::new(case.architecture.clone(), execution).expect("plan");
        engine.load(&case.parameters, None).expect("own parameters");
        *engine.input_mut() = case.input.clone();
        let error = engine.train_step(&case.targets, MODE, &OPTIMIZER);
        let error = error.expect_err("no mean squares").to_string();
        assert!(error.contains("mean squares"), "{error}");
        assert!(engine.mean_squares().is_err());
        assert_eq!(engine.parameters().expect("as loaded"), case.parameters);
    }
    let mut without = Engine::new(case.architecture.clone(), execution).expect("plan");
    without
        .load(&case.parameters, None)
        .expect("own parameters");
    *without.input_mut() = case.input.clone();
    assert!(without.gradients(&case.targets, MODE, true).is_err());
}
