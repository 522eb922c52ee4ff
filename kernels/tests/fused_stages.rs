//! Fused stages at every SIMD level and with every algorithm against the reference.

mod common;

use common::{assert_same_for_any_thread_count, bits, magnitudes, random, widen};
use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::dropout::{MaskKey, apply_mask};
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::{
    ConvStack, DEAD, FeatureMap, StackActivations, StageGradients, StageShape, StageWeights,
};
use dawn21_kernels::{Conv2dShape, MaxPool2dShape, reference};

/// Levels of this machine; on x86 under CI the two that must be there are required.
fn levels() -> Vec<Level> {
    let levels = Level::available();
    println!("levels run: {levels:?}");
    if cfg!(target_arch = "x86_64") && std::env::var("CI").is_ok_and(|v| v == "true") {
        for name in ["avx2", "portable"] {
            assert!(
                levels.iter().any(|l| l.name() == name),
                "{name} was not run"
            );
        }
    }
    levels
}

/// Euclidean norm of each of `count` equal parts.
fn norms(values: &[f64], count: usize) -> Vec<f64> {
    values
        .chunks(values.len() / count)
        .map(|part| part.iter().map(|v| v * v).sum::<f64>().sqrt())
        .collect()
}

/// Bound on the error of a correlation by transforms whose operands have norms `a` and `b`.
///
/// Each transform of length T has a relative error of at most `c u log2(T)` in the norm (Higham 2002,
/// theorem 24.2, c about 4 to 5 in practice below 2), the product one of `gamma(2)`; an inverse
/// transform turns a norm of the spectrum into a bound on every element (Cauchy-Schwarz). There are
/// three transforms in two directions, of at most 128 = 2^7 points each.
fn transform_bound(a: f64, b: f64, sums: usize) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    (3.0 * 2.0 * 7.0 + 2.0 + (sums as f64).sqrt()) * unit * a * b
}

struct Case {
    image: [usize; 3],
    filters: usize,
    kernel: [usize; 2],
    window: [usize; 2],
    batch: usize,
}

impl Case {
    fn shape(&self) -> StageShape {
        let conv = Conv2dShape::new(self.image, self.filters, self.kernel).expect("shape");
        StageShape::new(conv, self.window).expect("window")
    }
}

fn case(
    image: [usize; 3],
    filters: usize,
    kernel: [usize; 2],
    window: [usize; 2],
    batch: usize,
) -> Case {
    Case {
        image,
        filters,
        kernel,
        window,
        batch,
    }
}

fn planar(map: FeatureMap, internal: &[f32]) -> Vec<f32> {
    let images = internal.len() / map.internal_len();
    let mut planar = vec![f32::NAN; images * map.planar_len()];
    map.to_planar(internal, &mut planar).expect("lengths");
    planar
}

fn planar_codes(map: FeatureMap, codes: &[u8]) -> Vec<u8> {
    let numbers: Vec<f32> = codes.iter().map(|c| f32::from(*c)).collect();
    planar(map, &numbers).iter().map(|c| *c as u8).collect()
}

/// One stage, forward and backward, on dirty memory.
fn check(case: &Case, level: Level, algorithm: Algorithm, input_gradient: bool, x: &[f32]) {
    let shape = case.shape();
    let conv = *shape.conv();
    let pool = MaxPool2dShape::new(conv.output(), case.window).expect("pool");
    let weight = random::<f32>(conv.weight_len(), 2);
    let bias = random::<f32>(conv.bias_len(), 3);
    let stack = if input_gradient {
        ConvStack::with_input_gradient(&[shape], level, Some(algorithm))
    } else {
        ConvStack::new(&[shape], level, Some(algorithm))
    };
    let stack = stack.expect("plan");
    let what = format!(
        "{} {level} {:?} x{}",
        stack.plans().next().expect("plan"),
        case.window,
        case.batch
    );
    let weights = [StageWeights {
        weight: &weight,
        bias: &bias,
    }];
    let prepared = stack.prepare(&weights, true).expect("prepare");
    let mut kept = StackActivations::default();
    // The second run finds the memory that the first one allocated full of NaN.
    stack.forward(&prepared, x, &mut kept).expect("forward");
    let (before, codes_before) = (bits(kept.features()), kept.stage(0).1.to_vec());
    kept.poison();
    stack.poison();
    stack.forward(&prepared, x, &mut kept).expect("forward");
    assert_eq!(bits(kept.features()), before, "{what}: repeat");
    assert_eq!(kept.stage(0).1, codes_before, "{what}: repeat");
    let mut features = vec![f32::NAN; kept.features().len()];
    stack.infer(&prepared, x, &mut features).expect("infer");
    assert_eq!(bits(&features), before, "{what}: inference");

    let map = stack.output();
    let values = planar(map, &features);
    let codes = planar_codes(map, kept.stage(0).1);
    let y = reference::conv2d_forward(&conv, &widen(x), &widen(&weight), &widen(&bias));
    let magnitude = reference::conv2d_forward(
        &conv,
        &magnitudes(x),
        &magnitudes(&weight),
        &magnitudes(&bias),
    );
    let channels = case.image[0];
    let x_norms = norms(&widen(x), case.batch * channels);
    let w_norms = norms(&widen(&weight), case.filters * channels);
    let patch = conv.weight_len() / case.filters;
    let cells = case.window[0] * case.window[1];
    let [_, height, width] = map.shape();
    for n in 0..case.batch {
        for o in 0..case.filters {
            let norm: f64 = (0..channels)
                .map(|c| x_norms[n * channels + c] * w_norms[o * channels + c])
                .sum();
            for i in 0..height {
                for j in 0..width {
                    let index = ((n * case.filters + o) * height + i) * width + j;
                    let cell = |k: usize| {
                        let row = i * case.window[0] + k / case.window[1];
                        let column = j * case.window[1] + k % case.window[1];
                        ((n * case.filters + o) * conv.out_height() + row) * conv.out_width()
                            + column
                    };
                    let exact = (0..cells).map(|k| y[cell(k)]).fold(f64::MIN, f64::max);
                    let largest = (0..cells).map(|k| magnitude[cell(k)]).fold(0.0, f64::max);
                    let bound = match algorithm {
                        Algorithm::Fft => {
                            transform_bound(norm, 1.0, channels) + 1e-7 * bias[o].abs() as f64
                        }
                        Algorithm::Im2col => common::gamma::<f32>(patch + 1) * largest,
                    };
                    let value = f64::from(values[index]);
                    let error = (value - exact.max(0.0)).abs();
                    assert!(
                        error <= bound,
                        "{what}: [{n},{o},{i},{j}] {value} instead of {exact}: {error:e} > {bound:e}"
                    );
                    if codes[index] == DEAD {
                        assert!(
                            values[index] == 0.0 && exact <= bound,
                            "{what}: dead {exact}"
                        );
                    } else {
                        let chosen = y[cell(usize::from(codes[index]))];
                        assert!(
                            exact - chosen <= 2.0 * bound && values[index] > 0.0,
                            "{what}: chose {chosen}, not {exact}"
                        );
                    }
                }
            }
        }
    }

    // Backward, through the positions that the forward pass chose.
    let gradient = random::<f32>(values.len(), 4);
    let mut internal = vec![0.0; features.len()];
    map.to_internal(&gradient, &mut internal).expect("lengths");
    let alive: Vec<f64> = gradient
        .iter()
        .zip(&codes)
        .map(|(g, code)| if *code == DEAD { 0.0 } else { f64::from(*g) })
        .collect();
    let positions: Vec<u8> = codes
        .iter()
        .map(|c| if *c == DEAD { 0 } else { *c })
        .collect();
    let dy = reference::max_pool2d_backward(&pool, &alive, &positions);
    let (dx, dw, db) = reference::conv2d_backward(&conv, &widen(x), &widen(&weight), &dy);
    let abs = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let (dx_sum, dw_sum, db_sum) =
        reference::conv2d_backward(&conv, &magnitudes(x), &magnitudes(&weight), &abs(&dy));
    stack.poison();
    let mut actual_w = vec![f32::NAN; dw.len()];
    let mut actual_b = vec![f32::NAN; db.len()];
    let mut actual_x = vec![f32::NAN; dx.len()];
    let mut gradients = [StageGradients {
        weight: &mut actual_w,
        bias: &mut actual_b,
    }];
    stack
        .backward(
            &prepared,
            x,
            &kept,
            &internal,
            &mut gradients,
            input_gradient.then_some(&mut actual_x),
        )
        .expect("backward");
    let y_norms = norms(&dy, case.batch * case.filters);
    let terms = case.batch * conv.out_pixels();
    for (i, (actual, exact)) in actual_w.iter().zip(&dw).enumerate() {
        let taps = case.kernel[0] * case.kernel[1];
        let (o, c) = (i / (taps * channels), i / taps % channels);
        let norm: f64 = (0..case.batch)
            .map(|n| x_norms[n * channels + c] * y_norms[n * case.filters + o])
            .sum();
        let bound = match algorithm {
            Algorithm::Fft => transform_bound(norm, 1.0, case.batch),
            Algorithm::Im2col => common::gamma::<f32>(terms) * dw_sum[i],
        };
        let error = (f64::from(*actual) - exact).abs();
        assert!(
            error <= bound,
            "{what}: dw[{i}] {actual} {exact}: {error:e} > {bound:e}"
        );
    }
    for (o, (actual, exact)) in actual_b.iter().zip(&db).enumerate() {
        // Sums of at most log2(T) levels and then over tiles and images.
        let bound = common::gamma::<f32>(case.batch * 40) * db_sum[o] + 1e-30;
        let error = (f64::from(*actual) - exact).abs();
        assert!(
            error <= bound,
            "{what}: db[{o}] {actual} {exact}: {error:e} > {bound:e}"
        );
    }
    if input_gradient {
        let plane = case.image[1] * case.image[2];
        for (i, (actual, exact)) in actual_x.iter().zip(&dx).enumerate() {
            let (n, c) = (i / (plane * channels), i / plane % channels);
            let norm: f64 = (0..case.filters)
                .map(|o| y_norms[n * case.filters + o] * w_norms[o * channels + c])
                .sum();
            let bound = match algorithm {
                Algorithm::Fft => transform_bound(norm, 1.0, case.filters),
                Algorithm::Im2col => common::gamma::<f32>(case.filters * patch) * dx_sum[i],
            };
            let error = (f64::from(*actual) - exact).abs();
            assert!(
                error <= bound,
                "{what}: dx[{i}] {actual} {exact}: {error:e} > {bound:e}"
            );
        }
    }
}

/// Every algorithm that can compute the case, at every level, with and without input gradient.
fn check_everywhere(case: &Case, x: &[f32]) {
    for level in levels() {
        for algorithm in [Algorithm::Im2col, Algorithm::Fft] {
            for input_gradient in [false, true] {
                check(case, level, algorithm, input_gradient, x);
            }
        }
    }
}

#[test]
fn stages_match_reference_for_odd_shapes() {
    for case in [
        case([1, 1, 1], 1, [1, 1], [1, 1], 1),
        case([1, 12, 40], 8, [3, 3], [2, 2], 2),
        case([1, 70, 141], 8, [10, 10], [2, 2], 1),
        case([8, 45, 121], 16, [10, 10], [2, 2], 2),
        case([1, 37, 65], 3, [10, 1], [2, 2], 3),
        case([3, 20, 33], 5, [4, 7], [3, 2], 2),
        case([9, 17, 18], 17, [2, 3], [1, 1], 1),
        case([17, 11, 130], 24, [5, 4], [2, 3], 1),
        case([2, 90, 16], 9, [40, 9], [4, 1], 1),
        case([1, 66, 70], 20, [33, 64], [2, 2], 1),
        case([16, 5, 5], 8, [5, 5], [1, 1], 2),
    ] {
        let x = random::<f32>(case.batch * case.image.iter().product::<usize>(), 1);
        check_everywhere(&case, &x);
    }
}

/// Two stages as in Table 1, with images of a few tiles.
fn table_1_stages() -> [StageShape; 2] {
    let first = Conv2dShape::new([1, 70, 151], 8, [10, 10]).expect("shape");
    let second = Conv2dShape::new([8, 30, 71], 16, [10, 10]).expect("shape");
    [first, second].map(|conv| StageShape::new(conv, [2, 2]).expect("window"))
}

#[test]
fn stacks_are_the_same_for_any_thread_count() {
    let shapes = table_1_stages();
    let x = random::<f32>(70 * shapes[0].conv().input_len(), 1);
    let parameters = shapes.map(|shape| {
        let conv = shape.conv();
        (
            random::<f32>(conv.weight_len(), 2),
            random::<f32>(conv.bias_len(), 3),
        )
    });
    let weights = [0, 1].map(|i| StageWeights {
        weight: &parameters[i].0,
        bias: &parameters[i].1,
    });
    for level in levels() {
        assert_same_for_any_thread_count(|| {
            let stack = ConvStack::new(&shapes, level, Some(Algorithm::Fft)).expect("plan");
            let prepared = stack.prepare(&weights, true).expect("prepare");
            let mut kept = StackActivations::default();
            stack.forward(&prepared, &x, &mut kept).expect("forward");
            let gradient = random::<f32>(kept.features().len(), 4);
            let mut gradients = parameters.clone();
            let mut targets: Vec<_> = gradients
                .iter_mut()
                .map(|(weight, bias)| StageGradients { weight, bias })
                .collect();
            stack
                .backward(&prepared, &x, &kept, &gradient, &mut targets, None)
                .expect("backward");
            let [(a, b), (c, d)] = &gradients;
            [bits(kept.features()), bits(a), bits(b), bits(c), bits(d)]
        });
    }
}

/// A shape drawn from the whole range that stages must handle.
fn random_case(generator: &mut impl FnMut(usize) -> usize) -> Case {
    let kernel = [1 + generator(12), 1 + generator(12)];
    let window = [1 + generator(3), 1 + generator(3)];
    let image = [
        1 + generator(11),
        kernel[0] + window[0] + generator(30),
        kernel[1] + window[1] + generator(70),
    ];
    case(image, 1 + generator(20), kernel, window, 1 + generator(2))
}

#[test]
fn stages_match_reference_for_random_shapes() {
    let mut state = 20_261_124_u64;
    let mut generator = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for i in 0..12 {
        let case = random_case(&mut generator);
        let x = random::<f32>(case.batch * case.image.iter().product::<usize>(), i);
        // One level and one direction in turn: the other test does all of them.
        let all = levels();
        let level = all[i as usize % all.len()];
        for algorithm in [Algorithm::Im2col, Algorithm::Fft] {
            check(&case, level, algorithm, i % 2 == 0, &x);
        }
    }
}

#[test]
fn stages_bear_mixed_magnitudes_and_regions_of_zero() {
    // The bounds of `check` grow with the norm of the image, as the error of transforms does; windows
    // in which all cells tie are compared by value, since any of them is a maximum.
    let case = case([1, 60, 130], 8, [10, 10], [2, 2], 1);
    let mut x = random::<f32>(60 * 130, 1);
    for (i, x) in x.iter_mut().enumerate() {
        let (row, column) = (i / 130, i % 130);
        if (20..50).contains(&row) && column < 90 {
            *x = 0.0;
        } else if row < 5 {
            *x *= 1e4;
        } else if column > 110 {
            *x *= 1e-4;
        }
    }
    check_everywhere(&case, &x);
    check_everywhere(&case, &vec![0.0; 60 * 130]);
}

#[test]
fn stacks_compute_what_their_stages_do() {
    let shapes = table_1_stages();
    let x = random::<f32>(2 * shapes[0].conv().input_len(), 1);
    let parameters = shapes.map(|shape| {
        let conv = shape.conv();
        (
            random::<f32>(conv.weight_len(), 2),
            random::<f32>(conv.bias_len(), 3),
        )
    });
    let weights = [0, 1].map(|i| StageWeights {
        weight: &parameters[i].0,
        bias: &parameters[i].1,
    });
    for level in levels() {
        let make = |shapes: &[StageShape]| {
            ConvStack::with_input_gradient(shapes, level, Some(Algorithm::Fft)).expect("plan")
        };
        let both = ConvStack::new(&shapes, level, Some(Algorithm::Fft)).expect("plan");
        let prepared = both.prepare(&weights, true).expect("prepare");
        let mut kept = StackActivations::default();
        both.forward(&prepared, &x, &mut kept).expect("forward");
        let gradient = random::<f32>(kept.features().len(), 4);
        let mut gradients = parameters.clone();
        let mut targets: Vec<_> = gradients
            .iter_mut()
            .map(|(weight, bias)| StageGradients { weight, bias })
            .collect();
        both.backward(&prepared, &x, &kept, &gradient, &mut targets, None)
            .expect("backward");

        // The second stage alone, on the first one's planar output.
        let second = make(&shapes[1..]);
        let middle = planar(shapes[0].output(), kept.stage(0).0);
        let prepared = second.prepare(&weights[1..], true).expect("prepare");
        let mut kept_2 = StackActivations::default();
        second
            .forward(&prepared, &middle, &mut kept_2)
            .expect("forward");
        assert_eq!(bits(kept_2.features()), bits(kept.features()), "{level}");
        let mut own = parameters[1].clone();
        let mut target = [StageGradients {
            weight: &mut own.0,
            bias: &mut own.1,
        }];
        let mut dx = vec![f32::NAN; middle.len()];
        second
            .backward(
                &prepared,
                &middle,
                &kept_2,
                &gradient,
                &mut target,
                Some(&mut dx),
            )
            .expect("backward");
        assert_eq!(
            bits(&own.0),
            bits(&gradients[1].0),
            "{level}: weights of stage 2"
        );

        // The first stage, given the gradient that the second one hands down.
        let first = ConvStack::new(&shapes[..1], level, Some(Algorithm::Fft)).expect("plan");
        let prepared = first.prepare(&weights[..1], true).expect("prepare");
        let mut kept_1 = StackActivations::default();
        first.forward(&prepared, &x, &mut kept_1).expect("forward");
        let mut handed = vec![0.0; kept_1.features().len()];
        shapes[0]
            .output()
            .to_internal(&dx, &mut handed)
            .expect("lengths");
        let mut own = parameters[0].clone();
        let mut target = [StageGradients {
            weight: &mut own.0,
            bias: &mut own.1,
        }];
        first
            .backward(&prepared, &x, &kept_1, &handed, &mut target, None)
            .expect("backward");
        assert_eq!(
            bits(&own.0),
            bits(&gradients[0].0),
            "{level}: weights of stage 1"
        );
    }
}

#[test]
fn stacks_reject_what_does_not_fit_by_name() {
    let shapes = table_1_stages();
    let level = Level::available()[0];
    let error = ConvStack::new(&[shapes[1], shapes[0]], level, None).expect_err("order");
    assert!(error.to_string().contains("the next one reads"), "{error}");
    assert!(ConvStack::new(&[], level, None).is_err());
    let stack = ConvStack::new(&shapes[..1], level, None).expect("plan");
    let (weight, bias) = (vec![0.0; 800], vec![0.0; 8]);
    let short = [StageWeights {
        weight: &weight[1..],
        bias: &bias,
    }];
    let error = stack.prepare(&short, true).expect_err("weight");
    assert!(
        error.to_string().contains("`weight` has 799 values"),
        "{error}"
    );
    let right = [StageWeights {
        weight: &weight,
        bias: &bias,
    }];
    let prepared = stack.prepare(&right, false).expect("prepare");
    let mut kept = StackActivations::default();
    let x = vec![0.0; 70 * 151];
    let error = stack.forward(&prepared, &x[1..], &mut kept).expect_err("x");
    assert!(error.to_string().contains("`x`"), "{error}");
    stack.forward(&prepared, &x, &mut kept).expect("forward");
    let features = kept.features().to_vec();
    let mut gradients = (weight.clone(), bias.clone());
    let mut targets = [StageGradients {
        weight: &mut gradients.0,
        bias: &mut gradients.1,
    }];
    let error = stack
        .backward(&prepared, &x, &kept, &features, &mut targets, None)
        .expect_err("inference only");
    assert!(error.to_string().contains("inference only"), "{error}");
    assert!(stack.infer(&prepared, &x, &mut [0.0; 3]).is_err());
    let conv = Conv2dShape::new([1, 40, 40], 1, [1, 1]).expect("shape");
    assert!(StageShape::new(conv, [16, 16]).is_err());
}

#[test]
fn dense_weights_survive_the_way_to_the_internal_layout_and_back() {
    let conv = Conv2dShape::new([1, 9, 14], 11, [3, 3]).expect("shape");
    let map = StageShape::new(conv, [2, 2]).expect("window").output();
    let weight = random::<f32>(3 * map.planar_len(), 1);
    let mut internal = vec![f32::NAN; 3 * map.internal_len()];
    map.permute_inputs(3, &weight, &mut internal)
        .expect("lengths");
    let mut back = vec![f32::NAN; weight.len()];
    map.restore_inputs(3, &internal, &mut back)
        .expect("lengths");
    assert_eq!(bits(&back), bits(&weight));
    // The same sum over features in either order.
    let x = random::<f32>(map.planar_len(), 2);
    let mut features = vec![f32::NAN; map.internal_len()];
    map.to_internal(&x, &mut features).expect("lengths");
    let planar: f64 = x.iter().zip(&weight).map(|(x, w)| f64::from(x * w)).sum();
    let permuted: f64 = features
        .iter()
        .zip(internal.iter().step_by(3))
        .map(|(x, w)| f64::from(x * w))
        .sum();
    assert!((planar - permuted).abs() < 1e-9);
}

#[test]
fn dropout_of_features_is_the_mask_of_planar_features_and_stops_their_gradient() {
    // 11 channels: the second block of channels is not full.
    let case = case([1, 14, 33], 11, [5, 5], [2, 2], 3);
    let conv = *case.shape().conv();
    let weight = random::<f32>(conv.weight_len(), 2);
    let bias = random::<f32>(conv.bias_len(), 3);
    let x = random::<f32>(3 * conv.input_len(), 4);
    let key = MaskKey {
        seed: 5,
        layer: 7,
        step: 9,
    };
    for level in levels() {
        let stack = ConvStack::new(&[case.shape()], level, None).expect("plan");
        let weights = [StageWeights {
            weight: &weight,
            bias: &bias,
        }];
        let prepared = stack.prepare(&weights, true).expect("prepare");
        let mut kept = StackActivations::default();
        stack.forward(&prepared, &x, &mut kept).expect("forward");
        let map = stack.output();
        let mut expected = planar(map, kept.features());
        let alive = kept.stage(0).1.to_vec();
        apply_mask(key, 0.4, map.planar_len(), &mut expected).expect("rate");
        stack.drop_out(&mut kept, level, key, 0.4).expect("rate");
        assert_eq!(bits(&planar(map, kept.features())), bits(&expected));
        let mut ones = vec![1.0_f32; expected.len()];
        apply_mask(key, 0.4, map.planar_len(), &mut ones).expect("rate");
        let codes = planar_codes(map, kept.stage(0).1);
        for ((code, before), factor) in codes.iter().zip(planar_codes(map, &alive)).zip(&ones) {
            assert_eq!(*code, if *factor > 0.0 { before } else { DEAD });
        }
        assert!(stack.drop_out(&mut kept, level, key, 1.0).is_err());
    }
}
