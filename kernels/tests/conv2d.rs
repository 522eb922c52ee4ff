//! Convolution by im2col and GEMM against the reference.

mod common;

use common::{
    assert_same_for_any_thread_count, assert_within_rounding, bits, magnitudes, nans, random, widen,
};
use dawn21_kernels::conv2d::{self, Conv2dGradients};
use dawn21_kernels::{Conv2dShape, Float, ShapeError, im2col, reference};

/// Odd sizes, single cells, kernels as large as the image, several blocks of pixels, Table 1's kernel.
fn shapes() -> Vec<Conv2dShape> {
    [
        ([1, 1, 1], 1, [1, 1]),
        ([1, 1, 9], 2, [1, 4]),
        ([2, 7, 1], 3, [3, 1]),
        ([3, 5, 6], 4, [5, 6]),
        ([2, 9, 11], 5, [2, 3]),
        ([5, 8, 8], 7, [3, 3]),
        ([1, 23, 140], 8, [10, 10]),
        ([8, 14, 73], 16, [10, 10]),
        ([3, 40, 90], 2, [1, 2]),
    ]
    .into_iter()
    .map(|(image, filters, kernel)| Conv2dShape::new(image, filters, kernel).expect("shape"))
    .collect()
}

/// All gradients of one batch, computed on dirty buffers.
fn gradients<T: Float>(
    shape: &Conv2dShape,
    x: &[T],
    weight: &[T],
    dy: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let mut dx = nans::<T>(x.len());
    let mut dweight = nans::<T>(shape.weight_len());
    let mut dbias = nans::<T>(shape.bias_len());
    let gradients = Conv2dGradients {
        input: Some(&mut dx),
        weight: &mut dweight,
        bias: &mut dbias,
    };
    conv2d::backward(shape, x, weight, dy, gradients).expect("shapes fit");
    (dx, dweight, dbias)
}

fn compare_with_reference<T: Float>(shape: &Conv2dShape, batch: usize) {
    let x = random::<T>(batch * shape.input_len(), 1);
    let weight = random::<T>(shape.weight_len(), 2);
    let bias = random::<T>(shape.bias_len(), 3);
    let dy = random::<T>(batch * shape.output_len(), 4);

    let mut y = nans::<T>(dy.len());
    conv2d::forward(shape, &x, &weight, &bias, &mut y).expect("shapes fit");
    let exact = reference::conv2d_forward(shape, &widen(&x), &widen(&weight), &widen(&bias));
    let magnitude = reference::conv2d_forward(
        shape,
        &magnitudes(&x),
        &magnitudes(&weight),
        &magnitudes(&bias),
    );
    assert_within_rounding("y", &y, &exact, &magnitude, shape.patch_len() + 1);

    let (dx, dweight, dbias) = gradients(shape, &x, &weight, &dy);
    let exact = reference::conv2d_backward(shape, &widen(&x), &widen(&weight), &widen(&dy));
    let magnitude = reference::conv2d_backward(
        shape,
        &magnitudes(&x),
        &magnitudes(&weight),
        &magnitudes(&dy),
    );
    let terms = batch * shape.out_pixels() + 1;
    assert_within_rounding("dx", &dx, &exact.0, &magnitude.0, shape.weight_len());
    assert_within_rounding("dw", &dweight, &exact.1, &magnitude.1, terms);
    assert_within_rounding("db", &dbias, &exact.2, &magnitude.2, terms);
}

#[test]
fn conv2d_matches_reference_in_f32() {
    for shape in shapes() {
        for batch in [1, 3] {
            compare_with_reference::<f32>(&shape, batch);
        }
    }
}

#[test]
fn conv2d_matches_reference_in_f64() {
    for shape in shapes() {
        compare_with_reference::<f64>(&shape, 2);
    }
}

#[test]
fn conv2d_backward_adds_up_many_images_in_chunks() {
    let shape = Conv2dShape::new([1, 4, 5], 2, [2, 2]).expect("shape");
    compare_with_reference::<f32>(&shape, 131);
}

#[test]
fn conv2d_backward_is_adjoint_of_forward() {
    for shape in shapes() {
        let x = random::<f64>(2 * shape.input_len(), 5);
        let weight = random::<f64>(shape.weight_len(), 6);
        let dy = random::<f64>(2 * shape.output_len(), 7);
        let mut y = nans::<f64>(dy.len());
        let zero = vec![0.0; shape.bias_len()];
        conv2d::forward(&shape, &x, &weight, &zero, &mut y).expect("shapes fit");
        let (dx, dweight, _) = gradients(&shape, &x, &weight, &dy);
        let forward: f64 = y.iter().zip(&dy).map(|(a, b)| a * b).sum();
        let by_input: f64 = x.iter().zip(&dx).map(|(a, b)| a * b).sum();
        let by_weight: f64 = weight.iter().zip(&dweight).map(|(a, b)| a * b).sum();
        let tolerance = 1e-11 * (1.0 + forward.abs());
        assert!(
            (forward - by_input).abs() < tolerance,
            "{forward} {by_input}"
        );
        assert!(
            (forward - by_weight).abs() < tolerance,
            "{forward} {by_weight}"
        );
    }
}

#[test]
fn col2im_is_adjoint_of_im2col() {
    let shape = Conv2dShape::new([2, 6, 9], 1, [3, 2]).expect("shape");
    for pixels in [0..1, 0..shape.out_pixels(), 5..17, 7..8] {
        let x = random::<f64>(shape.input_len(), 8);
        let columns = random::<f64>(shape.patch_len() * pixels.len(), 9);
        let mut patches = nans::<f64>(columns.len());
        im2col::im2col(&shape, &x, pixels.clone(), &mut patches);
        let mut image = vec![0.0; x.len()];
        im2col::col2im_add(&shape, &columns, pixels, &mut image);
        let left: f64 = patches.iter().zip(&columns).map(|(a, b)| a * b).sum();
        let right: f64 = image.iter().zip(&x).map(|(a, b)| a * b).sum();
        assert!((left - right).abs() < 1e-12 * (1.0 + left.abs()));
    }
}

#[test]
fn conv2d_is_the_same_for_any_thread_count() {
    let shape = Conv2dShape::new([2, 12, 31], 4, [3, 5]).expect("shape");
    let x = random::<f32>(70 * shape.input_len(), 10);
    let weight = random::<f32>(shape.weight_len(), 11);
    let bias = random::<f32>(shape.bias_len(), 12);
    let dy = random::<f32>(70 * shape.output_len(), 13);
    assert_same_for_any_thread_count(|| {
        let mut y = nans::<f32>(dy.len());
        conv2d::forward(&shape, &x, &weight, &bias, &mut y).expect("shapes fit");
        let (dx, dweight, dbias) = gradients(&shape, &x, &weight, &dy);
        [bits(&y), bits(&dx), bits(&dweight), bits(&dbias)]
    });
}

#[test]
fn conv2d_without_input_gradient_gives_the_same_weight_gradient() {
    let shape = Conv2dShape::new([2, 9, 11], 5, [2, 3]).expect("shape");
    let x = random::<f32>(3 * shape.input_len(), 14);
    let weight = random::<f32>(shape.weight_len(), 15);
    let dy = random::<f32>(3 * shape.output_len(), 16);
    let (_, expected, _) = gradients(&shape, &x, &weight, &dy);
    let mut dweight = nans::<f32>(shape.weight_len());
    let mut dbias = nans::<f32>(shape.bias_len());
    let gradients = Conv2dGradients {
        input: None,
        weight: &mut dweight,
        bias: &mut dbias,
    };
    conv2d::backward(&shape, &x, &weight, &dy, gradients).expect("shapes fit");
    assert_eq!(bits(&dweight), bits(&expected));
}

#[test]
fn conv2d_rejects_wrong_lengths_by_name() {
    let shape = Conv2dShape::new([1, 4, 4], 2, [2, 2]).expect("shape");
    let (x, weight, bias) = (vec![0.0_f32; 16], vec![0.0; 8], vec![0.0; 2]);
    let error = conv2d::forward(&shape, &x, &weight, &bias, &mut [0.0; 17]).expect_err("y");
    assert_eq!(
        error,
        ShapeError::Length {
            operation: "conv2d forward",
            argument: "y",
            expected: 18,
            found: 17
        }
    );
    let mut y = [0.0; 18];
    for (x, weight, bias, name) in [
        (&x[..15], &weight[..], &bias[..], "`x`"),
        (&x, &weight[..7], &bias, "`weight`"),
        (&x, &weight, &bias[..1], "`bias`"),
    ] {
        let error = conv2d::forward(&shape, x, weight, bias, &mut y).expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
    }
    let mut scratch = vec![0.0; conv2d::scratch_len::<f32>(&shape) - 1];
    let error = conv2d::forward_image(&shape, &x, &weight, &bias, &mut y, &mut scratch)
        .expect_err("scratch");
    assert!(error.to_string().contains("`scratch`"), "{error}");
}

#[test]
fn conv2d_shape_rejects_impossible_dimensions() {
    let too_large = Conv2dShape::new([1, 3, 9], 1, [4, 2]).expect_err("kernel higher than image");
    assert!(too_large.to_string().contains("4 x 2"), "{too_large}");
    assert!(Conv2dShape::new([0, 3, 9], 1, [1, 1]).is_err());
    assert!(Conv2dShape::new([1, 3, 9], 0, [1, 1]).is_err());
    assert!(Conv2dShape::new([1, 3, 9], 1, [0, 1]).is_err());
    assert!(Conv2dShape::new([usize::MAX / 2, 3, 9], 1, [1, 1]).is_err());
    assert!(Conv2dShape::new([1, 1 << 20, 1 << 20], 1 << 30, [1, 1]).is_err());
}
