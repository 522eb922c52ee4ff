//! Dense layer and batch normalisation against the reference.

mod common;

use common::{
    assert_same_for_any_thread_count, assert_within_rounding, bits, magnitudes, nans, random, widen,
};
use dawn21_kernels::batch_norm::{self, Affine, BatchNormGradients, BatchStatistics};
use dawn21_kernels::dense::fused::{self, DenseParameters, InputGradient, WeightGradients};
use dawn21_kernels::dense::{self, DenseGradients};
use dawn21_kernels::rmsprop::{self, RmsProp};
use dawn21_kernels::simd::Level;
use dawn21_kernels::{BatchNormShape, DenseShape, Float, reference};

fn dense_gradients<T: Float>(
    shape: &DenseShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let mut dx = nans::<T>(x.len());
    let mut dweight = nans::<T>(shape.weight_len());
    let mut dbias = nans::<T>(shape.outputs());
    let gradients = DenseGradients {
        input: Some(&mut dx),
        weight: &mut dweight,
        bias: &mut dbias,
    };
    dense::backward(shape, x, weight, dy, gradients).expect("shapes fit");
    (dx, dweight, dbias)
}

#[test]
fn no_images_have_no_gradients() {
    let shape = DenseShape::new(3, 2).expect("shape");
    let weight = random::<f32>(6, 1);
    let (dx, dweight, dbias) = dense_gradients::<f32>(&shape, &[], &weight, &[]);
    assert_eq!((dx, dweight, dbias), (vec![], vec![0.0; 6], vec![0.0; 2]));
}

fn compare_dense<T: Float>(inputs: usize, outputs: usize, batch: usize) {
    let shape = DenseShape::new(inputs, outputs).expect("shape");
    let x = random::<T>(batch * inputs, 1);
    let weight = random::<T>(shape.weight_len(), 2);
    let bias = random::<T>(outputs, 3);
    let dy = random::<T>(batch * outputs, 4);

    let mut y = nans::<T>(dy.len());
    dense::forward(&shape, &x, &weight, &bias, &mut y).expect("shapes fit");
    let exact = reference::dense_forward(&shape, &widen(&x), &widen(&weight), &widen(&bias));
    let magnitude = reference::dense_forward(
        &shape,
        &magnitudes(&x),
        &magnitudes(&weight),
        &magnitudes(&bias),
    );
    assert_within_rounding("y", &y, &exact, &magnitude, inputs + 1);

    let actual = dense_gradients(&shape, &x, &weight, &dy);
    let exact = reference::dense_backward(&shape, &widen(&x), &widen(&weight), &widen(&dy));
    let magnitude = reference::dense_backward(
        &shape,
        &magnitudes(&x),
        &magnitudes(&weight),
        &magnitudes(&dy),
    );
    assert_within_rounding("dx", &actual.0, &exact.0, &magnitude.0, outputs);
    assert_within_rounding("dw", &actual.1, &exact.1, &magnitude.1, batch);
    assert_within_rounding("db", &actual.2, &exact.2, &magnitude.2, batch);
}

#[test]
fn dense_matches_reference() {
    // One task, several forward blocks, a block that is not full, more blocks than partial sums.
    for (inputs, outputs) in [(1, 1), (3, 5), (1024, 2), (2049, 7), (5000, 3), (70_001, 2)] {
        for batch in [1, 2, 9] {
            compare_dense::<f32>(inputs, outputs, batch);
        }
        compare_dense::<f64>(inputs, outputs, 3);
    }
}

/// Forward, and backward with the update, at every level: the gradient shows as the change of the mean
/// square (rho 0) and its sign.
fn compare_fused(inputs: usize, outputs: usize, batch: usize) {
    let shape = DenseShape::new(inputs, outputs).expect("shape");
    let x = random::<f32>(batch * inputs, 1);
    let weight = random::<f32>(shape.weight_len(), 2);
    let bias = random::<f32>(outputs, 3);
    let dy = random::<f32>(batch * outputs, 4);
    let mut input_major = vec![0.0; weight.len()];
    for (i, w) in weight.iter().enumerate() {
        input_major[i % inputs * outputs + i / inputs] = *w;
    }
    let optimizer = RmsProp {
        learning_rate: 1.0,
        rho: 0.0,
        epsilon: 1e-7,
    };
    let wide = (widen(&x), widen(&weight), widen(&dy));
    let large = (magnitudes(&x), magnitudes(&weight), magnitudes(&dy));
    let (dx, dw, db) = reference::dense_backward(&shape, &wide.0, &wide.1, &wide.2);
    let (dx_sum, dw_sum, _) = reference::dense_backward(&shape, &large.0, &large.1, &large.2);
    for level in Level::available() {
        println!("ran level {level}");
        let mut y = nans::<f32>(dy.len());
        fused::forward(level, &shape, &x, &input_major, &bias, &mut y).expect("shapes fit");
        let exact = reference::dense_forward(&shape, &wide.0, &wide.1, &widen(&bias));
        let magnitude = reference::dense_forward(&shape, &large.0, &large.1, &magnitudes(&bias));
        assert_within_rounding("y", &y, &exact, &magnitude, inputs + 1);

        let (mut w, mut b) = (input_major.clone(), bias.clone());
        let (mut v, mut bv) = (vec![7.0; w.len()], vec![7.0; outputs]);
        let mut actual_dx = nans::<f32>(x.len());
        let parameters = DenseParameters {
            weight: &mut w,
            weight_mean_square: &mut v,
            bias: &mut b,
            bias_mean_square: &mut bv,
        };
        let wanted = Some(InputGradient {
            values: &mut actual_dx,
            scale: 1.0,
        });
        fused::backward_and_update(level, &shape, &optimizer, &x, &dy, parameters, wanted)
            .expect("shapes fit");
        assert_within_rounding("dx", &actual_dx, &dx, &dx_sum, outputs);
        for (i, exact) in dw.iter().enumerate() {
            let at = i % inputs * outputs + i / inputs;
            // Three more roundings: square, root.
            let bound = common::gamma::<f32>(batch + 3) * dw_sum[i] + 1e-18;
            let size = f64::from(v[at].sqrt());
            assert!(
                (size - exact.abs()).abs() <= bound,
                "dw[{i}] {size} {exact}"
            );
            let step = input_major[at] - w[at];
            if exact.abs() > 1e-3 {
                assert!(
                    (f64::from(step) - exact.signum()).abs() < 1e-3,
                    "step {step}"
                );
            }
        }
        for (o, exact) in db.iter().enumerate() {
            assert!(
                (f64::from(bv[o].sqrt()) - exact.abs()).abs() < 1e-5,
                "db[{o}]"
            );
        }
        // The gradients alone, whose update is the same.
        let mut scaled_dx = nans::<f32>(x.len());
        let (mut gradient, mut bias_gradient) = (nans::<f32>(w.len()), nans::<f32>(outputs));
        let gradients = WeightGradients {
            weight: &mut gradient,
            bias: &mut bias_gradient,
        };
        let wanted = Some(InputGradient {
            values: &mut scaled_dx,
            scale: 1.25,
        });
        fused::backward(level, &shape, &x, &input_major, &dy, gradients, wanted)
            .expect("shapes fit");
        let expected: Vec<f32> = actual_dx.iter().map(|v| 1.25 * v).collect();
        assert_eq!(bits(&scaled_dx), bits(&expected), "scaled dx");
        let (mut w1, mut v1) = (input_major.clone(), vec![7.0; w.len()]);
        rmsprop::step(&optimizer, &mut w1, &gradient, &mut v1).expect("lengths");
        assert_eq!(bits(&v1), bits(&v), "mean squares of the gradient");
        assert_eq!(bits(&w1), bits(&w), "steps of the gradient");
        for (o, exact) in db.iter().enumerate() {
            assert!(
                (f64::from(bias_gradient[o]) - exact).abs() < 1e-5,
                "db[{o}]"
            );
        }
        // Without input gradient the update is the same.
        let (mut w2, mut b2) = (input_major.clone(), bias.clone());
        let (mut v2, mut bv2) = (vec![7.0; w.len()], vec![7.0; outputs]);
        let parameters = DenseParameters {
            weight: &mut w2,
            weight_mean_square: &mut v2,
            bias: &mut b2,
            bias_mean_square: &mut bv2,
        };
        fused::backward_and_update(level, &shape, &optimizer, &x, &dy, parameters, None)
            .expect("shapes fit");
        assert_eq!(
            [bits(&w), bits(&v), bits(&b), bits(&bv)],
            [bits(&w2), bits(&v2), bits(&b2), bits(&bv2)]
        );
    }
}

#[test]
fn fused_dense_matches_reference_at_every_level() {
    for (inputs, outputs) in [(1, 1), (3, 5), (48, 16), (191, 64), (1000, 33), (1601, 4)] {
        for batch in [1, 4, 11] {
            compare_fused(inputs, outputs, batch);
        }
    }
}

#[test]
fn fused_dense_is_the_same_for_any_thread_count() {
    let shape = DenseShape::new(5000, 6).expect("shape");
    let x = random::<f32>(20 * 5000, 5);
    let weight = random::<f32>(shape.weight_len(), 6);
    let bias = random::<f32>(6, 7);
    let dy = random::<f32>(20 * 6, 8);
    let optimizer = RmsProp {
        learning_rate: 1e-3,
        rho: 0.9,
        epsilon: 1e-7,
    };
    for level in Level::available() {
        assert_same_for_any_thread_count(|| {
            let mut y = nans::<f32>(dy.len());
            fused::forward(level, &shape, &x, &weight, &bias, &mut y).expect("shapes fit");
            let (mut w, mut b) = (weight.clone(), bias.clone());
            let (mut v, mut bv) = (vec![0.5; w.len()], vec![0.5; 6]);
            let mut dx = nans::<f32>(x.len());
            let parameters = DenseParameters {
                weight: &mut w,
                weight_mean_square: &mut v,
                bias: &mut b,
                bias_mean_square: &mut bv,
            };
            let wanted = Some(InputGradient {
                values: &mut dx,
                scale: 0.8,
            });
            fused::backward_and_update(level, &shape, &optimizer, &x, &dy, parameters, wanted)
                .expect("shapes fit");
            [bits(&y), bits(&w), bits(&v), bits(&b), bits(&bv), bits(&dx)]
        });
    }
}

#[test]
fn dense_is_the_same_for_any_thread_count() {
    let shape = DenseShape::new(5000, 6).expect("shape");
    let x = random::<f32>(20 * 5000, 5);
    let weight = random::<f32>(shape.weight_len(), 6);
    let bias = random::<f32>(6, 7);
    let dy = random::<f32>(20 * 6, 8);
    assert_same_for_any_thread_count(|| {
        let mut y = nans::<f32>(dy.len());
        dense::forward(&shape, &x, &weight, &bias, &mut y).expect("shapes fit");
        let (dx, dweight, dbias) = dense_gradients(&shape, &x, &weight, &dy);
        [bits(&y), bits(&dx), bits(&dweight), bits(&dbias)]
    });
}

#[test]
fn dense_rejects_wrong_lengths_by_name() {
    let shape = DenseShape::new(3, 2).expect("shape");
    let mut y = [0.0_f64; 4];
    let error =
        dense::forward(&shape, &[0.0; 6], &[0.0; 5], &[0.0; 2], &mut y).expect_err("weight");
    assert!(
        error
            .to_string()
            .contains("`weight` has 5 values, expected 6"),
        "{error}"
    );
    let error = dense::forward(&shape, &[0.0; 7], &[0.0; 6], &[0.0; 2], &mut y).expect_err("x");
    assert!(error.to_string().contains("`x`"), "{error}");
    assert!(DenseShape::new(0, 2).is_err());
}

struct Normalized<T> {
    y: Vec<T>,
    dx: Vec<T>,
    dgamma: Vec<T>,
    dbeta: Vec<T>,
}

/// Training-mode forward and backward on dirty buffers.
fn normalize<T: Float>(
    shape: &BatchNormShape,
    x: &[T],
    affine: Affine<'_, T>,
    dy: &[T],
) -> Normalized<T> {
    let statistics = BatchStatistics::of(shape, x).expect("not empty");
    let mut result = Normalized {
        y: nans::<T>(x.len()),
        dx: nans::<T>(x.len()),
        dgamma: nans::<T>(shape.channels()),
        dbeta: nans::<T>(shape.channels()),
    };
    let (mean, variance) = (&statistics.mean, &statistics.variance);
    batch_norm::forward(shape, x, mean, variance, affine, &mut result.y).expect("shapes fit");
    let gradients = BatchNormGradients {
        input: &mut result.dx,
        gamma: &mut result.dgamma,
        beta: &mut result.dbeta,
    };
    batch_norm::backward_training(shape, x, &statistics, affine, dy, gradients)
        .expect("shapes fit");
    result
}

fn compare_batch_norm<T: Float>(channels: usize, pixels: usize, batch: usize, offset: f64) {
    let shape = BatchNormShape::new(channels, pixels).expect("shape");
    let epsilon = 1e-3;
    let x: Vec<T> = random::<T>(batch * shape.image_len(), 9)
        .iter()
        .map(|v| T::from_f64(v.to_f64() + offset))
        .collect();
    let (gamma, beta) = (random::<T>(channels, 10), random::<T>(channels, 11));
    let dy = random::<T>(x.len(), 12);
    let affine = Affine {
        gamma: &gamma,
        beta: &beta,
        epsilon,
    };
    let actual = normalize(&shape, &x, affine, &dy);

    let (x, dy) = (widen(&x), widen(&dy));
    let (gamma, beta) = (widen(&gamma), widen(&beta));
    let (mean, variance) = reference::batch_norm_statistics(&shape, &x);
    let y = reference::batch_norm_apply(&shape, &x, [&mean, &variance], [&gamma, &beta], epsilon);
    let (dx, dgamma, dbeta) = reference::batch_norm_backward(&shape, &x, &gamma, epsilon, &dy);
    // Sums are accumulated in f64, so only the few operations on each value round in T; the mean
    // itself is rounded to T, which an offset magnifies.
    let deviation = variance.iter().fold(f64::INFINITY, |m, v| m.min(v.sqrt()));
    let magnitude = 4.0 + 4.0 * (1.0 + offset.abs()) / deviation;
    let terms = (batch * pixels) as f64;
    let bound = |len: usize, scale: f64| vec![magnitude * scale; len];
    let inverse = 1.0 / deviation;
    assert_within_rounding("y", &actual.y, &y, &bound(y.len(), 1.0), 8);
    assert_within_rounding(
        "dx",
        &actual.dx,
        &dx,
        &bound(dx.len(), inverse * magnitude),
        16,
    );
    assert_within_rounding(
        "dgamma",
        &actual.dgamma,
        &dgamma,
        &bound(channels, terms),
        8,
    );
    assert_within_rounding("dbeta", &actual.dbeta, &dbeta, &bound(channels, terms), 8);
}

#[test]
fn batch_norm_matches_reference() {
    for (channels, pixels, batch) in [(1, 1, 2), (64, 1, 200), (3, 7, 5), (8, 91, 3)] {
        compare_batch_norm::<f32>(channels, pixels, batch, 0.0);
        compare_batch_norm::<f32>(channels, pixels, batch, 100.0);
        compare_batch_norm::<f64>(channels, pixels, batch, 100.0);
    }
}

#[test]
fn batch_norm_is_the_same_for_any_thread_count() {
    let shape = BatchNormShape::new(5, 13).expect("shape");
    let x = random::<f32>(40 * shape.image_len(), 13);
    let dy = random::<f32>(x.len(), 14);
    let (gamma, beta) = (random::<f32>(5, 15), random::<f32>(5, 16));
    let affine = Affine {
        gamma: &gamma,
        beta: &beta,
        epsilon: 1e-3,
    };
    assert_same_for_any_thread_count(|| {
        let result = normalize(&shape, &x, affine, &dy);
        [&result.y, &result.dx, &result.dgamma, &result.dbeta].map(|values| bits(values))
    });
}

#[test]
fn batch_norm_running_averages_take_the_unbiased_variance() {
    let shape = BatchNormShape::new(1, 1).expect("shape");
    let statistics = BatchStatistics::of(&shape, &[1.0_f64, 3.0]).expect("not empty");
    let (mut mean, mut variance) = ([0.0], [1.0]);
    statistics
        .update_running(2, 0.9, &mut mean, &mut variance)
        .expect("shapes fit");
    assert!((mean[0] - 0.2).abs() < 1e-15);
    // Biased variance 1, unbiased 2.
    assert!((variance[0] - (0.9 + 0.1 * 2.0)).abs() < 1e-15);

    let single = BatchStatistics::of(&shape, &[4.0_f64]).expect("not empty");
    single
        .update_running(1, 0.9, &mut mean, &mut variance)
        .expect("shapes fit");
    assert!(
        (variance[0] - 1.1).abs() < 1e-15,
        "one value has no unbiased variance"
    );
    assert!(BatchStatistics::<f64>::of(&shape, &[]).is_err());
}

#[test]
fn batch_norm_inference_gradient_matches_finite_differences() {
    let shape = BatchNormShape::new(3, 2).expect("shape");
    let x = random::<f64>(4 * shape.image_len(), 17);
    let dy = random::<f64>(x.len(), 18);
    let (gamma, beta) = (random::<f64>(3, 19), random::<f64>(3, 20));
    let (mean, variance) = ([0.1, -0.2, 0.3], [0.5, 1.5, 2.5]);
    let run = |x: &[f64], gamma: &[f64], beta: &[f64]| {
        let affine = Affine {
            gamma,
            beta,
            epsilon: 1e-3,
        };
        let mut y = nans::<f64>(x.len());
        batch_norm::forward(&shape, x, &mean, &variance, affine, &mut y).expect("shapes fit");
        common::weighted_sum(&y, &dy)
    };
    let (mut dx, mut dgamma, mut dbeta) = (nans::<f64>(x.len()), nans(3), nans(3));
    let gradients = BatchNormGradients {
        input: &mut dx,
        gamma: &mut dgamma,
        beta: &mut dbeta,
    };
    let affine = Affine {
        gamma: &gamma,
        beta: &beta,
        epsilon: 1e-3,
    };
    batch_norm::backward_inference(&shape, &x, [&mean, &variance], affine, &dy, gradients)
        .expect("shapes fit");
    common::assert_gradient("dx", &x, &dx, 1e-9, |x| run(x, &gamma, &beta));
    common::assert_gradient("dgamma", &gamma, &dgamma, 1e-9, |g| run(&x, g, &beta));
    common::assert_gradient("dbeta", &beta, &dbeta, 1e-9, |b| run(&x, &gamma, b));
}
