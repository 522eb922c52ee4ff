//! The reference kernels themselves: known answers, and gradients against finite differences in f64.

mod common;

use common::{assert_gradient, random, weighted_sum};
use dawn21_kernels::{
    BatchNormShape, Conv2dShape, DenseShape, MaxPool2dShape, reference, rmsprop::RmsProp,
};

#[test]
fn conv2d_forward_known_answer() {
    let shape = Conv2dShape::new([1, 2, 3], 1, [2, 2]).expect("shape");
    let y = reference::conv2d_forward::<f64>(
        &shape,
        &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        &[1.0, 10.0, 100.0, 1000.0],
        &[0.5],
    );
    // 1 + 20 + 400 + 5000 + 0.5: correlation, the kernel is not flipped.
    assert_eq!(y, [5421.5, 6532.5]);
}

#[test]
fn conv2d_backward_matches_finite_differences() {
    for (image, filters, kernel) in [
        ([1, 4, 5], 2, [2, 3]),
        ([3, 5, 4], 2, [1, 1]),
        ([2, 3, 3], 3, [3, 3]),
    ] {
        let shape = Conv2dShape::new(image, filters, kernel).expect("shape");
        let batch = 2;
        let x = random::<f64>(batch * shape.input_len(), 1);
        let weight = random::<f64>(shape.weight_len(), 2);
        let bias = random::<f64>(shape.bias_len(), 3);
        let dy = random::<f64>(batch * shape.output_len(), 4);
        let (dx, dweight, dbias) = reference::conv2d_backward(&shape, &x, &weight, &dy);
        let loss = |x: &[f64], w: &[f64], b: &[f64]| {
            weighted_sum(&reference::conv2d_forward(&shape, x, w, b), &dy)
        };
        assert_gradient("dx", &x, &dx, 1e-9, |x| loss(x, &weight, &bias));
        assert_gradient("dw", &weight, &dweight, 1e-9, |w| loss(&x, w, &bias));
        assert_gradient("db", &bias, &dbias, 1e-9, |b| loss(&x, &weight, b));
    }
}

#[test]
fn max_pool2d_known_answer_and_ties() {
    let shape = MaxPool2dShape::new([1, 3, 5], [2, 2]).expect("shape");
    #[rustfmt::skip]
    let x = [
        1.0, 2.0, 7.0, 7.0, 9.0,
        4.0, 3.0, 7.0, 7.0, 9.0,
        9.0, 9.0, 9.0, 9.0, 9.0, // dropped, as is the last column
    ];
    let (y, argmax) = reference::max_pool2d_forward::<f64>(&shape, &x);
    assert_eq!(y, [4.0, 7.0]);
    assert_eq!(argmax, [2, 0], "the first of equal values");
}

#[test]
fn max_pool2d_backward_matches_finite_differences() {
    let shape = MaxPool2dShape::new([2, 5, 7], [2, 3]).expect("shape");
    let x = random::<f64>(3 * shape.input_len(), 5);
    let dy = random::<f64>(3 * shape.output_len(), 6);
    let (_, argmax) = reference::max_pool2d_forward(&shape, &x);
    let dx = reference::max_pool2d_backward(&shape, &dy, &argmax);
    assert_gradient("dx", &x, &dx, 1e-9, |x| {
        weighted_sum(&reference::max_pool2d_forward(&shape, x).0, &dy)
    });
}

#[test]
fn relu_backward_matches_finite_differences() {
    let x: Vec<f64> = random::<f64>(50, 7)
        .into_iter()
        .filter(|x| x.abs() > 1e-3)
        .collect();
    let dy = random::<f64>(x.len(), 8);
    let dx = reference::relu_backward(&x, &dy);
    assert_gradient("dx", &x, &dx, 1e-9, |x| {
        weighted_sum(&reference::relu_forward(x), &dy)
    });
    assert_eq!(reference::relu_backward(&[0.0], &[1.0]), [0.0]);
}

#[test]
fn dense_backward_matches_finite_differences() {
    let shape = DenseShape::new(7, 3).expect("shape");
    let x = random::<f64>(4 * 7, 9);
    let weight = random::<f64>(shape.weight_len(), 10);
    let bias = random::<f64>(3, 11);
    let dy = random::<f64>(4 * 3, 12);
    let (dx, dweight, dbias) = reference::dense_backward(&shape, &x, &weight, &dy);
    let loss = |x: &[f64], w: &[f64], b: &[f64]| {
        weighted_sum(&reference::dense_forward(&shape, x, w, b), &dy)
    };
    assert_gradient("dx", &x, &dx, 1e-9, |x| loss(x, &weight, &bias));
    assert_gradient("dw", &weight, &dweight, 1e-9, |w| loss(&x, w, &bias));
    assert_gradient("db", &bias, &dbias, 1e-9, |b| loss(&x, &weight, b));
}

#[test]
fn batch_norm_normalises() {
    let shape = BatchNormShape::new(2, 3).expect("shape");
    let x = random::<f64>(4 * shape.image_len(), 13);
    let (mean, variance) = reference::batch_norm_statistics(&shape, &x);
    let (ones, zeros) = (vec![1.0; 2], vec![0.0; 2]);
    let y = reference::batch_norm_apply(&shape, &x, [&mean, &variance], [&ones, &zeros], 0.0);
    let (mean, variance) = reference::batch_norm_statistics(&shape, &y);
    for channel in 0..2 {
        assert!(mean[channel].abs() < 1e-14);
        assert!((variance[channel] - 1.0).abs() < 1e-14);
    }
}

#[test]
fn batch_norm_backward_matches_finite_differences() {
    for (channels, pixels) in [(3, 1), (2, 5)] {
        let shape = BatchNormShape::new(channels, pixels).expect("shape");
        let epsilon = 1e-3;
        let x = random::<f64>(4 * shape.image_len(), 14);
        let gamma = random::<f64>(channels, 15);
        let beta = random::<f64>(channels, 16);
        let dy = random::<f64>(x.len(), 17);
        let (dx, dgamma, dbeta) = reference::batch_norm_backward(&shape, &x, &gamma, epsilon, &dy);
        let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| {
            let (mean, variance) = reference::batch_norm_statistics(&shape, x);
            let statistics = [&mean[..], &variance];
            let y = reference::batch_norm_apply(&shape, x, statistics, [gamma, beta], epsilon);
            weighted_sum(&y, &dy)
        };
        assert_gradient("dx", &x, &dx, 1e-8, |x| loss(x, &gamma, &beta));
        assert_gradient("dgamma", &gamma, &dgamma, 1e-9, |g| loss(&x, g, &beta));
        assert_gradient("dbeta", &beta, &dbeta, 1e-9, |b| loss(&x, &gamma, b));
    }
}

#[test]
fn mean_squared_error_gradient_matches_finite_differences() {
    let prediction = random::<f64>(12, 18);
    let target = random::<f64>(12, 19);
    let (_, gradient) = reference::mean_squared_error(&prediction, &target);
    assert_gradient("dp", &prediction, &gradient, 1e-9, |p| {
        reference::mean_squared_error(p, &target).0
    });
    let (loss, _) = reference::mean_squared_error(&[1.0_f64, 5.0], &[0.0, 2.0]);
    assert!((loss - 5.0).abs() < 1e-15, "(1 + 9) / 2");
}

#[test]
fn rmsprop_known_answer() {
    let optimizer = RmsProp {
        learning_rate: 0.1,
        rho: 0.75,
        epsilon: 1.0,
    };
    let (mut weight, mut mean_square) = ([2.0_f64], [16.0]);
    reference::rmsprop_step(&optimizer, &mut weight, &[4.0], &mut mean_square);
    // v = 0.75 * 16 + 0.25 * 16 = 16; w = 2 - 0.1 * 4 / (4 + 1).
    assert!((mean_square[0] - 16.0).abs() < 1e-15);
    assert!((weight[0] - 1.92).abs() < 1e-15);
}
