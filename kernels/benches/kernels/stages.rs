//! Fused stages: convolution, bias, ReLU and pooling, with every algorithm.

use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::dropout::MaskKey;
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::{
    ConvStack, FeatureMap, Prepared, StackActivations, StageGradients, StageWeights,
};

use crate::numbers::uniform;
use crate::session::{Session, Work};
use crate::table_1::{Convolution, convolutions};

/// Ways to compute a stage.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Im2col, Algorithm::Fft];

/// One or more stages, their weights, and a mini-batch.
pub(crate) struct Stack {
    pub(crate) stack: ConvStack,
    parameters: Vec<(Vec<f32>, Vec<f32>)>,
    gradients: Vec<(Vec<f32>, Vec<f32>)>,
    pub(crate) prepared: Prepared,
    pub(crate) kept: StackActivations,
    pub(crate) x: Vec<f32>,
    /// Gradient of the features, or the features themselves.
    pub(crate) features: Vec<f32>,
    input_gradient: Option<Vec<f32>>,
}

impl Stack {
    /// The first of several layers has no input gradient, a second one on its own has.
    pub(crate) fn new(
        layers: &[Convolution],
        level: Level,
        images: usize,
        algorithm: Option<Algorithm>,
    ) -> Self {
        let shapes: Vec<_> = layers.iter().map(Convolution::stage).collect();
        let wanted = layers[0].name != "conv1";
        let stack = if wanted {
            ConvStack::with_input_gradient(&shapes, level, algorithm)
        } else {
            ConvStack::new(&shapes, level, algorithm)
        }
        .expect("stack");
        let parameters: Vec<_> = layers
            .iter()
            .map(|layer| {
                let scale = 2.0 / (layer.shape.patch_len() as f32).sqrt();
                (
                    uniform(layer.shape.weight_len(), scale, 1),
                    uniform(layer.shape.bias_len(), 0.1, 2),
                )
            })
            .collect();
        let x = uniform(images * stack.input().planar_len(), 1.0, 3);
        Self {
            prepared: prepare(&stack, &parameters),
            gradients: parameters.clone(),
            features: uniform(images * stack.output().internal_len(), 1.0, 4),
            input_gradient: wanted.then(|| vec![0.0; x.len()]),
            kept: StackActivations::default(),
            parameters,
            stack,
            x,
        }
    }

    pub(crate) fn prepare(&mut self) {
        self.prepared = prepare(&self.stack, &self.parameters);
    }

    pub(crate) fn forward(&mut self) {
        let result = self.stack.forward(&self.prepared, &self.x, &mut self.kept);
        result.expect("forward");
    }

    pub(crate) fn infer(&mut self) {
        let result = self
            .stack
            .infer(&self.prepared, &self.x, &mut self.features);
        result.expect("infer");
    }

    pub(crate) fn backward(&mut self) {
        let mut gradients: Vec<_> = self
            .gradients
            .iter_mut()
            .map(|(weight, bias)| StageGradients { weight, bias })
            .collect();
        self.stack
            .backward(
                &self.prepared,
                &self.x,
                &self.kept,
                &self.features,
                &mut gradients,
                self.input_gradient.as_deref_mut(),
            )
            .expect("backward");
    }
}

fn prepare(stack: &ConvStack, parameters: &[(Vec<f32>, Vec<f32>)]) -> Prepared {
    let weights: Vec<_> = parameters
        .iter()
        .map(|(weight, bias)| StageWeights { weight, bias })
        .collect();
    stack.prepare(&weights, true).expect("prepare")
}

/// What a pass over some layers has to do; `gradients` a layer: 0 forward, 1 of weights, 2 of inputs too.
fn work(layers: &[Convolution], images: usize, gradients: &[usize]) -> Work {
    let operations: f64 = layers
        .iter()
        .zip(gradients)
        .map(|(layer, &gradients)| layer.operations() * gradients.max(1) as f64)
        .sum();
    let values: usize = layers
        .iter()
        .zip(gradients)
        .map(|(layer, &gradients)| {
            // The pooled map has one code of a byte for each value.
            let pooled = layer.pool().output_len() * 5 / 4;
            layer.shape.input_len() * gradients.max(1) + pooled
        })
        .sum();
    Work {
        images: Some(images),
        operations: operations * images as f64,
        values: (values * images) as f64,
    }
}

/// All passes of each layer and of both.
pub(crate) fn run(session: &mut Session<'_>) {
    let (level, images) = (session.level, session.images);
    let both = convolutions();
    for algorithm in ALGORITHMS {
        for layer in both {
            let name = format!("{} {algorithm}", layer.name);
            let stack = move || Stack::new(&[layer], level, images, Some(algorithm));
            let forward = work(&[layer], images, &[0]);
            session.bench("stage::forward", &name, forward, stack, Stack::forward);
            session.bench("stage::infer", &name, forward, stack, Stack::infer);
            let gradients = if layer.name == "conv1" { 1 } else { 2 };
            let backward = work(&[layer], images, &[gradients]);
            let kept = move || {
                let mut stack = stack();
                stack.forward();
                stack
            };
            session.bench("stage::backward", &name, backward, kept, Stack::backward);
        }
    }
    let stack = move || Stack::new(&both, level, images, None);
    let none = Work {
        images: None,
        operations: 0.0,
        values: both.iter().map(|l| l.shape.weight_len() as f64).sum(),
    };
    session.bench("stage::prepare", "conv1+conv2", none, stack, Stack::prepare);
    let forward = work(&both, images, &[0, 0]);
    session.bench(
        "stage::forward",
        "conv1+conv2",
        forward,
        stack,
        Stack::forward,
    );
    session.bench("stage::infer", "conv1+conv2", forward, stack, Stack::infer);
    let backward = work(&both, images, &[1, 2]);
    let kept = move || {
        let mut stack = stack();
        stack.forward();
        stack
    };
    session.bench(
        "stage::backward",
        "conv1+conv2",
        backward,
        kept,
        Stack::backward,
    );
    let features = both[1].pool().output_len() * images;
    let mask = Work {
        images: Some(images),
        operations: features as f64,
        // Read and written, with a byte of code each.
        values: 2.0 * 1.25 * features as f64,
    };
    let key = MaskKey {
        seed: 21,
        layer: 7,
        step: 1,
    };
    session.bench("stage::drop_out", "pool2", mask, kept, move |s| {
        let result = s.stack.drop_out(&mut s.kept, level, key, 0.2);
        result.expect("drop out");
    });
    layouts(session);
}

/// The permutations between the layout of files and that of the stages.
fn layouts(session: &mut Session<'_>) {
    let [conv1, _] = convolutions();
    let map: FeatureMap = conv1.stage().output();
    let buffers = move || {
        (
            uniform(map.planar_len(), 1.0, 1),
            uniform(map.internal_len(), 1.0, 2),
        )
    };
    let work = Work {
        images: Some(1),
        operations: 0.0,
        values: (map.planar_len() + map.internal_len()) as f64,
    };
    session.bench(
        "stage::to_internal",
        "pool1",
        work,
        buffers,
        move |(planar, internal)| {
            map.to_internal(planar, internal).expect("layout");
        },
    );
    session.bench(
        "stage::to_planar",
        "pool1",
        work,
        buffers,
        move |(planar, internal)| {
            map.to_planar(internal, planar).expect("layout");
        },
    );
}
