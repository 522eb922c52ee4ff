//! dawn21's passes over the same numbers.

use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::dense::fused::{self, DenseParameters, InputGradient};
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::{
    ConvStack, DEAD, Prepared, StackActivations, StageGradients, StageShape, StageWeights,
};

use crate::convolution::Convolution;
use crate::dense::{Dense, Order};
use crate::table_1::OPTIMIZER;

/// A stage of convolution, bias, ReLU and pooling.
pub struct Stage {
    stack: ConvStack,
    shape: StageShape,
    prepared: Prepared,
    kept: StackActivations,
    /// Gradient of the pooled map, internal layout.
    gradient: Vec<f32>,
    pub dweight: Vec<f32>,
    dbias: Vec<f32>,
    pub dx: Option<Vec<f32>>,
}

impl Stage {
    /// A stage with the weights of `peer`; the first layer has no input gradient.
    pub fn new(
        shape: StageShape,
        level: Level,
        algorithm: Option<Algorithm>,
        peer: &Convolution,
        gradient: &[f32],
    ) -> Self {
        let wanted = !peer.dx.is_empty();
        let stack = if wanted {
            ConvStack::with_input_gradient(&[shape], level, algorithm)
        } else {
            ConvStack::new(&[shape], level, algorithm)
        }
        .expect("stage");
        let weights = StageWeights {
            weight: &peer.weight,
            bias: &peer.bias,
        };
        Self {
            prepared: stack.prepare(&[weights], true).expect("prepare"),
            stack,
            shape,
            kept: StackActivations::default(),
            gradient: gradient.to_vec(),
            dweight: vec![0.0; peer.weight.len()],
            dbias: vec![0.0; peer.bias.len()],
            dx: wanted.then(|| vec![0.0; peer.x.len()]),
        }
    }

    /// How the stage is computed.
    pub fn algorithm(&self) -> Algorithm {
        self.stack.plans().next().expect("one stage").algorithm()
    }

    pub fn forward(&mut self, x: &[f32]) {
        let result = self.stack.forward(&self.prepared, x, &mut self.kept);
        result.expect("forward");
    }

    pub fn backward(&mut self, x: &[f32]) {
        let gradients = StageGradients {
            weight: &mut self.dweight,
            bias: &mut self.dbias,
        };
        self.stack
            .backward(
                &self.prepared,
                x,
                &self.kept,
                &self.gradient,
                &mut [gradients],
                self.dx.as_deref_mut(),
            )
            .expect("backward");
    }

    /// For each window of the pooled map of all images that is not dead: its value, the place of its maximum
    /// in the map of the convolution (N,O,H',W'), and its gradient.
    pub fn windows(&self) -> Vec<(f32, usize, f32)> {
        let map = self.shape.output();
        let [_, rows, columns] = map.shape();
        let [_, height, width] = self.shape.conv().output();
        let (values, codes) = self.kept.stage(0);
        let mut windows = Vec::new();
        let images = values.chunks_exact(map.internal_len());
        for (image, values) in images.enumerate() {
            let first = image * map.internal_len();
            for (i, &value) in values.iter().enumerate() {
                let (Some(window), code) = (map.planar_index(i), codes[first + i]) else {
                    continue;
                };
                if code != DEAD {
                    let (channel, row, column) = (
                        window / (rows * columns),
                        window / columns % rows,
                        window % columns,
                    );
                    let row = 2 * row + usize::from(code) / 2;
                    let column = 2 * column + usize::from(code) % 2;
                    let place = (channel * height + row) * width + column;
                    let place = image * self.shape.conv().output_len() + place;
                    windows.push((value, place, self.gradient[first + i]));
                }
            }
        }
        windows
    }
}

/// The fused dense layer.
pub struct FusedDense {
    level: Level,
    pub weight: Vec<f32>,
    weight_mean_square: Vec<f32>,
    bias: Vec<f32>,
    bias_mean_square: Vec<f32>,
    pub y: Vec<f32>,
    pub dx: Vec<f32>,
}

impl FusedDense {
    /// A layer with the weights of `peer`.
    pub fn new(level: Level, peer: &Dense) -> Self {
        let outputs = peer.shape.outputs();
        Self {
            level,
            weight: peer.weight[Order::InputMajor as usize].clone(),
            weight_mean_square: peer.mean_square.clone(),
            bias: vec![0.0; outputs],
            bias_mean_square: vec![1.0; outputs],
            y: vec![0.0; peer.y.len()],
            dx: vec![0.0; peer.dx.len()],
        }
    }

    pub fn forward(&mut self, peer: &Dense) {
        let (weight, bias, y) = (&self.weight, &self.bias, &mut self.y);
        fused::forward(self.level, &peer.shape, &peer.x, weight, bias, y).expect("dense");
    }

    pub fn backward(&mut self, peer: &Dense) {
        let parameters = DenseParameters {
            weight: &mut self.weight,
            weight_mean_square: &mut self.weight_mean_square,
            bias: &mut self.bias,
            bias_mean_square: &mut self.bias_mean_square,
        };
        let shape = &peer.shape;
        let dx = Some(InputGradient {
            values: &mut self.dx,
            scale: 1.0,
        });
        fused::backward_and_update(
            self.level, shape, &OPTIMIZER, &peer.x, &peer.dy, parameters, dx,
        )
        .expect("dense");
    }
}
