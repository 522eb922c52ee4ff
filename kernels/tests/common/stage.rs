//! One fused stage against the reference, within the rounding bound of its algorithm.

use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::{
    ConvStack, DEAD, FeatureMap, StackActivations, StageGradients, StageShape, StageWeights,
};
use dawn21_kernels::{Conv2dShape, MaxPool2dShape, reference};

use super::{bits, gamma, magnitudes, random, widen};

/// Levels of this machine. `DAWN21_REQUIRE_LEVELS` (names, comma-separated) says which must be among them:
/// a test that silently leaves one out would be worse than none.
pub(crate) fn levels() -> Vec<Level> {
    let levels = Level::available();
    for name in ["avx512", "avx2", "portable"] {
        let found = levels.iter().any(|level| level.name() == name);
        println!("level {name}: {}", if found { "run" } else { "NOT RUN" });
    }
    for name in std::env::var("DAWN21_REQUIRE_LEVELS")
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
    {
        assert!(
            levels.iter().any(|level| level.name() == name),
            "DAWN21_REQUIRE_LEVELS asks for `{name}`, which this processor does not have: {levels:?}"
        );
    }
    levels
}

/// What a stage is to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// (C,H,W).
    pub(crate) image: [usize; 3],
    pub(crate) filters: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) window: [usize; 2],
    pub(crate) relu: bool,
    pub(crate) batch: usize,
}

impl Case {
    pub(crate) fn new(
        image: [usize; 3],
        filters: usize,
        kernel: [usize; 2],
        window: [usize; 2],
        batch: usize,
    ) -> Self {
        Self {
            image,
            filters,
            kernel,
            window,
            relu: true,
            batch,
        }
    }

    pub(crate) fn conv(&self) -> Conv2dShape {
        Conv2dShape::new(self.image, self.filters, self.kernel).expect("shape")
    }

    pub(crate) fn shape(&self) -> StageShape {
        let shape = StageShape::new(self.conv(), self.window).expect("window");
        if self.relu {
            shape
        } else {
            shape.without_relu()
        }
    }

    fn pool(&self) -> MaxPool2dShape {
        MaxPool2dShape::new(self.conv().output(), self.window).expect("pool")
    }

    /// The stage alone, with or without the gradient of its input.
    pub(crate) fn stack(
        &self,
        level: Level,
        algorithm: Option<Algorithm>,
        input_gradient: bool,
    ) -> ConvStack {
        let shapes = [self.shape()];
        let stack = if input_gradient {
            ConvStack::with_input_gradient(&shapes, level, algorithm)
        } else {
            ConvStack::new(&shapes, level, algorithm)
        };
        stack.expect("plan")
    }
}

/// What goes into a stage.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) x: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    /// Gradient of the pooled map, (N,O,H',W').
    pub(crate) gradient: Vec<f32>,
}

impl Data {
    /// Numbers in [-1, 1).
    pub(crate) fn random(case: &Case, seed: u64) -> Self {
        let conv = case.conv();
        Self {
            x: random(case.batch * conv.input_len(), seed),
            weight: random(conv.weight_len(), seed + 1),
            bias: random(conv.bias_len(), seed + 2),
            gradient: random(case.batch * case.pool().output_len(), seed + 3),
        }
    }
}

impl Data {
    fn is_whole(&self) -> bool {
        [&self.x, &self.weight, &self.bias, &self.gradient]
            .into_iter()
            .flatten()
            .all(|value| value.fract().abs() <= 0.0)
    }
}

/// What the reference makes of it, in f64; made once for all algorithms and levels.
pub(crate) struct Expected {
    /// Outputs of the convolution, and the sums of the magnitudes of their terms.
    y: Vec<f64>,
    magnitude: Vec<f64>,
    /// Gradients for each set of positions of maxima that was met.
    backward: Vec<(Vec<u8>, Gradients)>,
}

/// Gradients of input, weight and bias, and the sums of the magnitudes of their terms.
#[derive(Clone)]
struct Gradients {
    values: [Vec<f64>; 3],
    magnitudes: [Vec<f64>; 3],
    /// Gradient of the convolution's output.
    dy: Vec<f64>,
}

impl Expected {
    pub(crate) fn new(case: &Case, data: &Data) -> Self {
        let conv = case.conv();
        Self {
            y: reference::conv2d_forward(
                &conv,
                &widen(&data.x),
                &widen(&data.weight),
                &widen(&data.bias),
            ),
            magnitude: reference::conv2d_forward(
                &conv,
                &magnitudes(&data.x),
                &magnitudes(&data.weight),
                &magnitudes(&data.bias),
            ),
            backward: Vec::new(),
        }
    }

    /// Gradients through the positions `codes` (N,O,H',W').
    fn gradients(&mut self, case: &Case, data: &Data, codes: &[u8]) -> Gradients {
        if let Some((_, gradients)) = self.backward.iter().find(|(known, _)| known == codes) {
            return gradients.clone();
        }
        let alive: Vec<f64> = data
            .gradient
            .iter()
            .zip(codes)
            .map(|(g, code)| if *code == DEAD { 0.0 } else { f64::from(*g) })
            .collect();
        let positions: Vec<u8> = codes
            .iter()
            .map(|code| if *code == DEAD { 0 } else { *code })
            .collect();
        let conv = case.conv();
        let dy = reference::max_pool2d_backward(&case.pool(), &alive, &positions);
        let dy_magnitude: Vec<f64> = dy.iter().map(|v| v.abs()).collect();
        let (dx, dw, db) =
            reference::conv2d_backward(&conv, &widen(&data.x), &widen(&data.weight), &dy);
        let (dx_sum, dw_sum, db_sum) = reference::conv2d_backward(
            &conv,
            &magnitudes(&data.x),
            &magnitudes(&data.weight),
            &dy_magnitude,
        );
        let gradients = Gradients {
            values: [dx, dw, db],
            magnitudes: [dx_sum, dw_sum, db_sum],
            dy,
        };
        self.backward.push((codes.to_vec(), gradients.clone()));
        gradients
    }
}

/// Features, codes and gradients of one stage, as bits.
pub(crate) type Outcome = (Vec<u32>, Vec<u8>, [Vec<u32>; 3]);

/// Forward and backward pass on memory that a first run left full of NaN, with the input gradient if the
/// stack makes it.
pub(crate) fn run(stack: &ConvStack, data: &Data, input_gradient: bool) -> Outcome {
    let weights = [StageWeights {
        weight: &data.weight,
        bias: &data.bias,
    }];
    let prepared = stack.prepare(&weights, true).expect("prepare");
    let mut kept = StackActivations::default();
    let mut internal = Vec::new();
    let mut outcome: Option<Outcome> = None;
    for repeat in ["first", "second"] {
        stack
            .forward(&prepared, &data.x, &mut kept)
            .expect("forward");
        if internal.is_empty() {
            internal = vec![f32::NAN; kept.features().len()];
            let map = stack.output();
            map.to_internal(&data.gradient, &mut internal)
                .expect("lengths");
        }
        // What the backward pass may not read: only features that were filled up are finite by now.
        let mut dw = vec![f32::NAN; data.weight.len()];
        let mut db = vec![f32::NAN; data.bias.len()];
        let mut dx = vec![f32::NAN; data.x.len()];
        let mut gradients = [StageGradients {
            weight: &mut dw,
            bias: &mut db,
        }];
        stack.poison();
        stack
            .backward(
                &prepared,
                &data.x,
                &kept,
                &internal,
                &mut gradients,
                input_gradient.then_some(&mut dx[..]),
            )
            .expect("backward");
        let result = (
            bits(kept.features()),
            kept.stage(0).1.to_vec(),
            [bits(&dx), bits(&dw), bits(&db)],
        );
        if let Some(before) = &outcome {
            assert!(*before == result, "the {repeat} run differs");
        }
        outcome = Some(result);
        kept.poison();
        stack.poison();
    }
    let mut features = vec![f32::NAN; internal.len()];
    stack
        .infer(&prepared, &data.x, &mut features)
        .expect("infer");
    let outcome = outcome.expect("two runs");
    assert!(bits(&features) == outcome.0, "inference differs");
    outcome
}

/// One stage, forward and backward, against the reference.
pub(crate) fn check(
    case: &Case,
    data: &Data,
    expected: &mut Expected,
    level: Level,
    algorithm: Algorithm,
    input_gradient: bool,
) {
    let stack = case.stack(level, Some(algorithm), input_gradient);
    let what = format!(
        "{} {case:?}, input gradient {input_gradient}",
        stack.plans().next().expect("plan"),
    );
    let (features, codes, gradients) = run(&stack, data, input_gradient);
    let floats = |bits: &[u32]| bits.iter().map(|b| f32::from_bits(*b)).collect::<Vec<_>>();
    let map = stack.output();
    let features = floats(&features);
    for (i, value) in features.iter().enumerate() {
        let fills_up = map.planar_index(i % map.internal_len()).is_none();
        assert!(
            !fills_up || value.abs() <= 0.0,
            "{what}: {value} in no channel"
        );
    }
    let values = planar(map, &features);
    let codes = planar_codes(map, &codes);
    let bounds = Bounds {
        case,
        algorithm,
        whole: data.is_whole(),
        x: norms(&widen(&data.x), case.batch * case.image[0]),
        weight: norms(&widen(&data.weight), case.filters * case.image[0]),
    };
    check_forward(case, data, expected, &bounds, &values, &codes, &what);

    let exact = expected.gradients(case, data, &codes);
    let dy = norms(&exact.dy, case.batch * case.filters);
    for (tensor, name) in ["dx", "dw", "db"].into_iter().enumerate() {
        if tensor == 0 && !input_gradient {
            continue;
        }
        let actual = floats(&gradients[tensor]);
        assert_eq!(actual.len(), exact.values[tensor].len(), "{what}: {name}");
        for (i, (actual, value)) in actual.iter().zip(&exact.values[tensor]).enumerate() {
            let bound = bounds.gradient(tensor, i, exact.magnitudes[tensor][i], &dy);
            let error = (f64::from(*actual) - value).abs();
            assert!(
                error <= bound,
                "{what}: {name}[{i}] {actual} instead of {value}: {error:e} > {bound:e}"
            );
        }
    }
}

fn check_forward(
    case: &Case,
    data: &Data,
    expected: &Expected,
    bounds: &Bounds<'_>,
    values: &[f32],
    codes: &[u8],
    what: &str,
) {
    let conv = case.conv();
    let pool = case.pool();
    let [window_rows, window_columns] = case.window;
    let cells = window_rows * window_columns;
    for (index, (&value, &code)) in values.iter().zip(codes).enumerate() {
        let (j, rest) = (index % pool.out_width(), index / pool.out_width());
        let (i, plane) = (rest % pool.out_height(), rest / pool.out_height());
        let (n, o) = (plane / case.filters, plane % case.filters);
        let cell = |k: usize| {
            let row = i * window_rows + k / window_columns;
            let column = j * window_columns + k % window_columns;
            (plane * conv.out_height() + row) * conv.out_width() + column
        };
        let exact = (0..cells)
            .map(|k| expected.y[cell(k)])
            .fold(f64::MIN, f64::max);
        let largest = (0..cells)
            .map(|k| expected.magnitude[cell(k)])
            .fold(0.0, f64::max);
        let bound = bounds.output([n, o], largest, data.bias[o]);
        let wanted = if case.relu { exact.max(0.0) } else { exact };
        let error = (f64::from(value) - wanted).abs();
        assert!(
            error <= bound,
            "{what}: [{n},{o},{i},{j}] {value} instead of {wanted}: {error:e} > {bound:e}"
        );
        if code == DEAD {
            assert!(
                case.relu && value == 0.0 && exact <= bound,
                "{what}: dead {exact}"
            );
        } else {
            // Of cells that tie within the rounding, any may be chosen.
            let chosen = expected.y[cell(usize::from(code))];
            assert!(
                exact - chosen <= 2.0 * bound && (value > 0.0 || !case.relu),
                "{what}: chose {chosen}, not {exact}"
            );
            if bounds.whole && bounds.algorithm != Algorithm::Fft {
                let first = (0..cells).find(|&k| expected.y[cell(k)] >= exact);
                assert_eq!(
                    Some(usize::from(code)),
                    first,
                    "{what}: not the first of equals"
                );
            }
        }
    }
}

/// Bounds on rounding errors.
struct Bounds<'a> {
    case: &'a Case,
    algorithm: Algorithm,
    /// All numbers are whole and small: sums in any order are exact.
    whole: bool,
    /// Norms of the planes of the input (N,C) and of the kernels (O,C).
    x: Vec<f64>,
    weight: Vec<f64>,
}

impl Bounds<'_> {
    /// Bound on the error of a correlation by transforms whose operands have norms whose products add up
    /// to `norm`.
    ///
    /// Each transform of length T has a relative error of at most `c u log2(T)` in the norm (Higham 2002,
    /// theorem 24.2, c about 4 to 5 in practice below 2), the product one of `gamma(2)`; an inverse
    /// transform turns a norm of the spectrum into a bound on every element (Cauchy-Schwarz). There are
    /// three transforms in two directions, of at most 128 = 2^7 points each.
    fn transforms(norm: f64, sums: usize) -> f64 {
        let unit = f64::from(f32::EPSILON) / 2.0;
        (3.0 * 2.0 * 7.0 + 2.0 + (sums as f64).sqrt()) * unit * norm
    }

    fn output(&self, [n, o]: [usize; 2], magnitude: f64, bias: f32) -> f64 {
        let channels = self.case.image[0];
        if self.algorithm == Algorithm::Fft {
            let norm = (0..channels)
                .map(|c| self.x[n * channels + c] * self.weight[o * channels + c])
                .sum();
            return Self::transforms(norm, channels) + 1e-7 * f64::from(bias.abs());
        }
        if self.whole {
            return 0.0;
        }
        let [rows, columns] = self.case.kernel;
        gamma::<f32>(channels * rows * columns + 1) * magnitude
    }

    /// Of entry `i` of tensor 0 (input), 1 (weight) or 2 (bias).
    fn gradient(&self, tensor: usize, i: usize, magnitude: f64, dy: &[f64]) -> f64 {
        let Case {
            image: [channels, height, width],
            filters,
            batch,
            kernel: [rows, columns],
            ..
        } = *self.case;
        let transforms = self.algorithm == Algorithm::Fft;
        if self.whole && !transforms {
            return 0.0;
        }
        match tensor {
            0 if transforms => {
                let (n, c) = (
                    i / (height * width * channels),
                    i / (height * width) % channels,
                );
                let norm = (0..filters)
                    .map(|o| dy[n * filters + o] * self.weight[o * channels + c])
                    .sum();
                Self::transforms(norm, filters)
            }
            0 => gamma::<f32>(filters * rows * columns) * magnitude,
            1 if transforms => {
                let taps = rows * columns;
                let (o, c) = (i / (taps * channels), i / taps % channels);
                let norm = (0..batch)
                    .map(|n| self.x[n * channels + c] * dy[n * filters + o])
                    .sum();
                Self::transforms(norm, batch)
            }
            1 => gamma::<f32>(batch * self.case.conv().out_pixels()) * magnitude,
            // Sums of at most log2(T) levels, then over tiles and images.
            _ if transforms => gamma::<f32>(batch * 40) * magnitude,
            // Rows of at most 64 windows in f32, then f64, then images.
            _ => gamma::<f32>(65 + batch) * magnitude,
        }
    }
}

/// Euclidean norm of each of `count` equal parts.
fn norms(values: &[f64], count: usize) -> Vec<f64> {
    values
        .chunks(values.len() / count)
        .map(|part| part.iter().map(|v| v * v).sum::<f64>().sqrt())
        .collect()
}

/// From the internal layout to (N,C,H,W).
pub(crate) fn planar(map: FeatureMap, internal: &[f32]) -> Vec<f32> {
    let images = internal.len() / map.internal_len();
    let mut planar = vec![f32::NAN; images * map.planar_len()];
    map.to_planar(internal, &mut planar).expect("lengths");
    planar
}

/// The same of codes.
pub(crate) fn planar_codes(map: FeatureMap, codes: &[u8]) -> Vec<u8> {
    let numbers: Vec<f32> = codes.iter().map(|c| f32::from(*c)).collect();
    planar(map, &numbers).iter().map(|c| *c as u8).collect()
}
