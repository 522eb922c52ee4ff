//! Stacks of fused stages: determinism, hand-over between stages, layouts, wrong arguments, dropout.

mod common;

use common::stage::{Case, levels, planar, planar_codes};
use common::{assert_same_for_any_thread_count, bits, random};
use dawn21_kernels::Conv2dShape;
use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::dropout::{MaskKey, apply_mask};
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::{
    ConvStack, DEAD, StackActivations, StageGradients, StageShape, StageWeights,
};

/// Two stages as in Table 1, with images of a few tiles.
fn table_1_stages() -> [StageShape; 2] {
    let first = Conv2dShape::new([1, 70, 151], 8, [10, 10]).expect("shape");
    let second = Conv2dShape::new([8, 30, 71], 16, [10, 10]).expect("shape");
    [first, second].map(|conv| StageShape::new(conv, [2, 2]).expect("window"))
}

/// Weight and bias of each stage.
fn random_parameters(shapes: &[StageShape; 2]) -> [(Vec<f32>, Vec<f32>); 2] {
    shapes.map(|shape| {
        let conv = shape.conv();
        (
            random::<f32>(conv.weight_len(), 2),
            random::<f32>(conv.bias_len(), 3),
        )
    })
}

#[test]
fn stacks_are_the_same_for_any_thread_count() {
    let shapes = table_1_stages();
    let x = random::<f32>(70 * shapes[0].conv().input_len(), 1);
    let parameters = random_parameters(&shapes);
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

#[test]
fn stacks_compute_what_their_stages_do() {
    let shapes = table_1_stages();
    let x = random::<f32>(2 * shapes[0].conv().input_len(), 1);
    let parameters = random_parameters(&shapes);
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
    let case = Case::new([1, 14, 33], 11, [5, 5], [2, 2], 3);
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
