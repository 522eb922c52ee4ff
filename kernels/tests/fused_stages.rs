//! Fused stages at every SIMD level and with every algorithm against the reference.

mod common;

use common::random;
use common::stage::{Case, Data, Expected, check, levels, planar};
use dawn21_kernels::ShapeError;
use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::reference;
use dawn21_kernels::stage::{ConvStack, Prepared, StackActivations, StageGradients, StageWeights};

/// Every algorithm at every level, with and without input gradient.
fn check_everywhere(case: &Case, data: &Data) {
    let mut expected = Expected::new(case, data);
    for level in levels() {
        for algorithm in Algorithm::ALL {
            for input_gradient in [false, true] {
                check(case, data, &mut expected, level, algorithm, input_gradient);
            }
        }
    }
}

#[test]
fn stages_match_reference_for_odd_shapes() {
    for case in [
        Case::new([1, 1, 1], 1, [1, 1], [1, 1], 1),
        Case::new([1, 12, 40], 8, [3, 3], [2, 2], 2),
        Case::new([1, 70, 141], 8, [10, 10], [2, 2], 1),
        Case::new([8, 45, 121], 16, [10, 10], [2, 2], 2),
        Case::new([1, 37, 65], 3, [10, 1], [2, 2], 3),
        Case::new([3, 20, 33], 5, [4, 7], [3, 2], 2),
        Case::new([9, 17, 18], 17, [2, 3], [1, 1], 1),
        Case::new([17, 11, 130], 24, [5, 4], [2, 3], 1),
        Case::new([2, 90, 16], 9, [40, 9], [4, 1], 1),
        Case::new([1, 66, 70], 20, [33, 64], [2, 2], 1),
        Case::new([16, 5, 5], 8, [5, 5], [1, 1], 2),
        // One channel and windows of one cell: tiles of 6 numbers over 11 taps overlap.
        Case::new([1, 9, 40], 16, [3, 11], [1, 1], 1),
        // Windows larger than any block of pixels or windows.
        Case::new([1, 3, 260], 2, [2, 3], [2, 120], 1),
        Case::new([8, 130, 4], 2, [2, 1], [120, 2], 1),
    ] {
        check_everywhere(&case, &Data::random(&case, 1));
    }
}

#[test]
fn stages_bear_mixed_magnitudes_and_regions_of_zero() {
    // The bounds of `check` grow with the norm of the image, as the error of transforms does; windows
    // in which all cells tie are compared by value, since any of them is a maximum.
    let case = Case::new([1, 60, 130], 8, [10, 10], [2, 2], 1);
    let mut data = Data::random(&case, 1);
    for (i, x) in data.x.iter_mut().enumerate() {
        let (row, column) = (i / 130, i % 130);
        if (20..50).contains(&row) && column < 90 {
            *x = 0.0;
        } else if row < 5 {
            *x *= 1e4;
        } else if column > 110 {
            *x *= 1e-4;
        }
    }
    check_everywhere(&case, &data);
    data.x.fill(0.0);
    check_everywhere(&case, &data);
}

#[test]
fn a_nan_shows_in_every_output_that_reads_it() {
    // By transforms it reaches all outputs of a pair of tiles.
    for case in [
        Case::new([1, 12, 40], 5, [3, 3], [2, 2], 1),
        Case::new([9, 11, 13], 17, [2, 4], [3, 2], 1),
    ] {
        let mut data = Data::random(&case, 1);
        let plane = case.image[1] * case.image[2];
        data.x[(case.image[0] - 1) * plane + plane / 2] = f32::NAN;
        let conv = case.conv();
        let y = reference::conv2d_forward(&conv, &data.x, &data.weight, &data.bias);
        for level in levels() {
            for algorithm in [Algorithm::Direct, Algorithm::Im2col] {
                let stack = case.stack(level, Some(algorithm), false);
                let weights = [StageWeights {
                    weight: &data.weight,
                    bias: &data.bias,
                }];
                let prepared = stack.prepare(&weights, false).expect("prepare");
                let mut kept = StackActivations::default();
                stack
                    .forward(&prepared, &data.x, &mut kept)
                    .expect("forward");
                let map = stack.output();
                let [_, height, width] = map.shape();
                let [rows, columns] = case.window;
                for (i, value) in planar(map, kept.features()).iter().enumerate() {
                    let (o, row, column) = (i / (height * width), i / width % height, i % width);
                    let nan = (0..rows * columns).any(|k| {
                        let row = o * conv.out_height() + row * rows + k / columns;
                        y[row * conv.out_width() + column * columns + k % columns].is_nan()
                    });
                    assert_eq!(
                        value.is_nan(),
                        nan,
                        "{algorithm} {level}: [{o},{row},{column}]"
                    );
                }
            }
        }
    }
}

#[test]
fn weights_of_another_stack_are_refused() {
    let case = Case::new([1, 12, 40], 8, [3, 3], [2, 2], 1);
    let weight = random::<f32>(case.conv().weight_len(), 1);
    let bias = random::<f32>(8, 2);
    let weights = [StageWeights {
        weight: &weight,
        bias: &bias,
    }];
    let level = levels()[0];
    let direct = case.stack(level, Some(Algorithm::Direct), false);
    let transforms = case.stack(level, Some(Algorithm::Fft), false);
    let prepared = direct.prepare(&weights, false).expect("prepare");
    let x = vec![0.0; case.conv().input_len()];
    let error = transforms
        .forward(&prepared, &x, &mut StackActivations::default())
        .expect_err("other weights");
    assert!(error.to_string().contains("another"), "{error}");
}

#[test]
fn weights_and_activations_of_fewer_stages_are_refused() {
    let first = Case::new([1, 12, 40], 8, [3, 3], [2, 2], 1);
    let second = Case::new([8, 5, 19], 8, [2, 2], [2, 2], 1);
    let level = levels()[0];
    let one = first.stack(level, None, false);
    let shapes = [first.shape(), second.shape()];
    let two = ConvStack::new(&shapes, level, None).expect("stack");
    let tensors = [&first, &second].map(|case| {
        let weight = random::<f32>(case.conv().weight_len(), 1);
        (weight, random::<f32>(8, 2))
    });
    let weights = tensors
        .each_ref()
        .map(|(weight, bias)| StageWeights { weight, bias });
    let x = vec![0.5; first.conv().input_len()];
    let fewer = one.prepare(&weights[..1], true).expect("prepare");
    let all = two.prepare(&weights, true).expect("prepare");
    let mut kept = StackActivations::default();
    let mut features = vec![0.0; two.output().internal_len()];
    let refused = |result: Result<(), ShapeError>, argument: &str| {
        let error = result.expect_err("a stage is missing").to_string();
        assert!(error.contains(argument), "{error}");
    };
    refused(two.forward(&fewer, &x, &mut kept), "prepared");
    refused(two.infer(&fewer, &x, &mut features), "prepared");
    let mut buffers =
        [&first, &second].map(|case| (vec![0.0; case.conv().weight_len()], vec![0.0; 8]));
    let mut backward = |prepared: &Prepared, kept: &StackActivations| {
        let mut gradients = buffers
            .each_mut()
            .map(|(weight, bias)| StageGradients { weight, bias });
        two.backward(prepared, &x, kept, &features, &mut gradients, None)
    };
    one.forward(&fewer, &x, &mut kept).expect("one stage");
    refused(backward(&all, &kept), "activations");
    two.forward(&all, &x, &mut kept).expect("two stages");
    refused(backward(&fewer, &kept), "prepared");
    backward(&all, &kept).expect("both stages");
}
