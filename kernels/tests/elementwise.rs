//! Max-pooling, ReLU, dropout, loss and optimiser against the reference.

mod common;

use approx::assert_relative_eq;
use common::{assert_same_for_any_thread_count, assert_within_rounding, bits, nans, random, widen};
use dawn21_kernels::dropout::{MaskKey, apply_mask};
use dawn21_kernels::rmsprop::{self, RmsProp};
use dawn21_kernels::{MaxPool2dShape, loss, max_pool2d, reference, relu};

#[test]
fn max_pool2d_matches_reference() {
    for (image, window) in [
        ([1, 1, 1], [1, 1]),
        ([2, 4, 6], [2, 2]),
        ([3, 5, 7], [2, 2]),
        ([2, 7, 8], [3, 3]),
        ([1, 6, 9], [6, 1]),
        ([1, 16, 33], [16, 16]),
    ] {
        let shape = MaxPool2dShape::new(image, window).expect("shape");
        let mut x = random::<f32>(3 * shape.input_len(), 1);
        // Ties and whole windows of equal values, as ionized regions have.
        for x in x.iter_mut().step_by(3) {
            *x = 0.0;
        }
        let (y, argmax) = reference::max_pool2d_forward(&shape, &x);
        let (mut actual, mut position) = (nans::<f32>(y.len()), vec![255; y.len()]);
        max_pool2d::forward(&shape, &x, &mut actual, &mut position).expect("shapes fit");
        assert_eq!(bits(&actual), bits(&y));
        assert_eq!(position, argmax);

        let dy = random::<f32>(y.len(), 2);
        let mut dx = nans::<f32>(x.len());
        max_pool2d::backward(&shape, &dy, &argmax, &mut dx).expect("shapes fit");
        assert_eq!(
            bits(&dx),
            bits(&reference::max_pool2d_backward(&shape, &dy, &argmax))
        );
    }
}

#[test]
fn max_pool2d_and_relu_keep_nan() {
    let shape = MaxPool2dShape::new([1, 2, 4], [2, 2]).expect("shape");
    let x = [1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0, f32::NAN, 8.0];
    let (mut y, mut argmax) = ([0.0; 2], [0; 2]);
    max_pool2d::forward(&shape, &x, &mut y, &mut argmax).expect("shapes fit");
    assert!(
        y.iter().all(|y| y.is_nan()) && argmax == [1, 2],
        "{y:?} {argmax:?}"
    );
    let mut values = [f32::NAN, -1.0, -0.0, 2.0];
    relu::forward_in_place(&mut values);
    assert!(values[0].is_nan());
    assert_eq!(bits(&values[1..]), bits(&[0.0, 0.0, 2.0]));
}

#[test]
fn max_pool2d_rejects_bad_shapes_and_positions() {
    assert!(
        MaxPool2dShape::new([1, 20, 20], [17, 16]).is_err(),
        "more than one byte"
    );
    assert!(
        MaxPool2dShape::new([1, 1, 9], [2, 2]).is_err(),
        "window higher than image"
    );
    let shape = MaxPool2dShape::new([1, 2, 2], [2, 2]).expect("shape");
    let error =
        max_pool2d::backward(&shape, &[1.0_f32], &[4], &mut [0.0; 4]).expect_err("position");
    assert!(error.to_string().contains("`argmax` holds 4"), "{error}");
    let error = max_pool2d::forward(&shape, &[1.0_f32; 4], &mut [0.0; 2], &mut [0]).expect_err("y");
    assert!(
        error.to_string().contains("`y` has 2 values, expected 1"),
        "{error}"
    );
}

#[test]
fn relu_matches_reference() {
    let x = random::<f32>(200_001, 3);
    let dy = random::<f32>(x.len(), 4);
    let mut y = x.clone();
    relu::forward_in_place(&mut y);
    assert_eq!(bits(&y), bits(&reference::relu_forward(&x)));
    let mut dx = dy.clone();
    relu::backward_in_place(&y, &mut dx).expect("same length");
    assert_eq!(bits(&dx), bits(&reference::relu_backward(&x, &dy)));
    assert!(relu::backward_in_place(&y, &mut dx[1..]).is_err());
}

const KEY: MaskKey = MaskKey {
    seed: 7,
    layer: 3,
    step: 11,
};

/// The mask of `images` images of `features` features.
fn mask(key: MaskKey, rate: f64, images: usize, features: usize) -> Vec<f32> {
    let mut values = vec![1.0; images * features];
    apply_mask(key, rate, features, &mut values).expect("rate");
    values
}

#[test]
fn dropout_keeps_the_expected_fraction_and_the_mean() {
    for rate in [0.2, 0.5, 0.9] {
        for (images, features) in [(1, 1_000_000), (1000, 1000)] {
            let mask = mask(KEY, rate, images, features);
            let kept = mask.iter().filter(|&&v| v > 0.0).count() as f64 / 1e6;
            // Five standard deviations of a binomial.
            let tolerance = 5.0 * (rate * (1.0 - rate) / 1e6).sqrt();
            assert!(
                (kept - (1.0 - rate)).abs() < tolerance,
                "{kept} kept at rate {rate}"
            );
            let scale = (1.0 / (1.0 - rate)) as f32;
            assert!(
                mask.iter()
                    .all(|&v| v.to_bits() == 0 || v.to_bits() == scale.to_bits())
            );
        }
    }
}

#[test]
fn dropout_of_neighbours_images_and_steps_is_independent() {
    // Correlations of the mask with itself, shifted: neighbours, rows and planes of a map, images, steps.
    let (images, features, rate) = (50, 20_000, 0.3);
    let at = |step| mask(MaskKey { step, ..KEY }, rate, images, features);
    let (first, next) = (at(11), at(12));
    let dropped = |v: f32| if v > 0.0 { rate } else { rate - 1.0 };
    let correlation = |pairs: &mut dyn Iterator<Item = (f32, f32)>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for (a, b) in pairs {
            sum += dropped(a) * dropped(b);
            count += 1.0;
        }
        // In units of its standard deviation when the two are independent.
        sum / (rate * (1.0 - rate)) / f64::sqrt(count)
    };
    for shift in [1, 2, 8, 45, 64, 547, 1024, 4096, 16_384, features] {
        let pairs = first.iter().zip(&first[shift..]);
        let size = correlation(&mut pairs.map(|(a, b)| (*a, *b)));
        assert!(
            size.abs() < 5.0,
            "shift {shift}: {size} standard deviations"
        );
    }
    let size = correlation(&mut first.iter().zip(&next).map(|(a, b)| (*a, *b)));
    assert!(size.abs() < 5.0, "next step: {size} standard deviations");
}

#[test]
fn dropout_mask_depends_on_key_image_and_feature_only() {
    let whole = mask(KEY, 0.3, 5, 4000);
    assert_eq!(bits(&mask(KEY, 0.3, 2, 4000)), bits(&whole[..8000]));
    assert_eq!(bits(&mask(KEY, 0.3, 1, 901)), bits(&whole[..901]));
    assert_ne!(bits(&whole[..4000]), bits(&whole[4000..8000]), "images");
    for other in [
        MaskKey { seed: 8, ..KEY },
        MaskKey { layer: 4, ..KEY },
        MaskKey { step: 12, ..KEY },
    ] {
        assert_ne!(bits(&mask(other, 0.3, 5, 4000)), bits(&whole));
    }
    assert_same_for_any_thread_count(|| bits(&mask(KEY, 0.3, 11, 5000)));
    let mut wide = vec![1.0_f64; 20_000];
    apply_mask(KEY, 0.3, 4000, &mut wide).expect("rate");
    assert!(
        wide.iter()
            .zip(&whole)
            .all(|(a, b)| (*a > 0.0) == (*b > 0.0)),
        "f64 as f32"
    );
}

#[test]
fn dropout_arguments_are_checked_and_rate_zero_keeps_everything() {
    let mut values = random::<f32>(100, 5);
    let before = values.clone();
    apply_mask(KEY, 0.0, 50, &mut values).expect("rate 0");
    assert_eq!(bits(&values), bits(&before));
    for rate in [1.0, -0.1, f64::NAN] {
        let error = apply_mask(KEY, rate, 50, &mut values).expect_err("rate");
        assert!(error.to_string().contains("[0, 1)"), "{error}");
    }
    assert!(apply_mask(KEY, 0.2, 30, &mut values).is_err());
    assert!(apply_mask(KEY, 0.2, 0, &mut values).is_err());
}

#[test]
fn mean_squared_error_matches_reference() {
    let prediction = random::<f32>(800, 6);
    let target = random::<f32>(800, 7);
    let mut gradient = nans::<f32>(800);
    let value = loss::mean_squared_error(&prediction, &target, &mut gradient).expect("same length");
    let (p, t) = (widen(&prediction), widen(&target));
    let (exact, exact_gradient) = reference::mean_squared_error(&p, &t);
    assert_relative_eq!(value, exact, max_relative = 1e-14);
    let magnitude: Vec<f64> = exact_gradient.iter().map(|g| g.abs()).collect();
    assert_within_rounding("gradient", &gradient, &exact_gradient, &magnitude, 2);
    assert!(loss::mean_squared_error::<f32>(&[], &[], &mut []).is_err());
    assert!(loss::mean_squared_error(&[1.0_f32], &[1.0, 2.0], &mut [0.0]).is_err());
}

#[test]
fn rmsprop_matches_reference_and_closed_form() {
    let optimizer = RmsProp {
        learning_rate: 1e-3,
        rho: 0.9,
        epsilon: 1e-7,
    };
    let mut weight = random::<f64>(100_003, 8);
    let mut mean_square = vec![0.0; weight.len()];
    let (mut expected, mut expected_square) = (weight.clone(), mean_square.clone());
    for step in 0..3 {
        let gradient = random::<f64>(weight.len(), 9 + step);
        rmsprop::step(&optimizer, &mut weight, &gradient, &mut mean_square).expect("lengths");
        reference::rmsprop_step(&optimizer, &mut expected, &gradient, &mut expected_square);
    }
    for i in 0..weight.len() {
        assert_relative_eq!(weight[i], expected[i], max_relative = 1e-13);
        assert_relative_eq!(mean_square[i], expected_square[i], max_relative = 1e-13);
    }
    // A constant gradient g: v = g^2 (1 - rho^n), so step n is lr / sqrt(1 - rho^n).
    let (mut weight, mut mean_square) = ([0.0_f64], [0.0]);
    let mut closed = 0.0;
    for n in 1..=20 {
        rmsprop::step(&optimizer, &mut weight, &[0.5], &mut mean_square).expect("lengths");
        let root = 0.5 * (1.0 - 0.9_f64.powi(n)).sqrt();
        closed -= 1e-3 * 0.5 / (root + 1e-7);
    }
    assert_relative_eq!(weight[0], closed, max_relative = 1e-12);
    assert!(rmsprop::step(&optimizer, &mut weight, &[], &mut mean_square).is_err());
}
