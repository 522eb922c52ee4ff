//! The passes of Table 1, each computed by all.

use std::sync::Mutex;

use dawn21_kernels::conv2d::plan::Algorithm;
use dawn21_kernels::conv2d::{self, Conv2dGradients};
use dawn21_kernels::simd::Level;
use dawn21_kernels::stage::StageShape;
use rayon::ThreadPool;

use crate::check::{agree, agree_all};
use crate::convolution::{Convolution, blocks};
use crate::dense::{Dense, Order, Variant};
use crate::openblas::OpenBlas;
use crate::ours::{FusedDense, Stage};
use crate::product::Library;
use crate::rounds::{Contestant, Outcome, compete, fastest};
use crate::table_1::{OPTIMIZER, dense1, stages, uniform};

/// Algorithms of dawn21.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Im2col, Algorithm::Fft];

/// Who competes, with how many threads.
pub struct Setting<'a> {
    pub pool: &'a ThreadPool,
    pub level: Level,
    pub rounds: usize,
    pub openblas: &'a OpenBlas,
    pub libraries: [Library<'a>; 3],
}

/// One pass, the planned dawn21 first.
pub struct Row {
    pub pass: String,
    pub images: usize,
    pub outcomes: Vec<Outcome>,
}

/// Runs one of two passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Forward,
    Backward,
}

impl Setting<'_> {
    /// Forward and backward passes of both convolutions.
    pub fn convolutions(&self, images: usize) -> Vec<Row> {
        // Images are what the threads share: OpenBLAS itself must not start more.
        self.openblas.set_threads(1);
        let mut rows = Vec::new();
        for (name, shape) in stages() {
            rows.extend(self.pool.install(|| self.convolution(name, shape, images)));
        }
        rows
    }

    fn convolution(&self, name: &str, shape: StageShape, images: usize) -> Vec<Row> {
        let conv = *shape.conv();
        let scale = 2.0 / (conv.patch_len() as f32).sqrt();
        let mut peer = Convolution {
            shape: conv,
            images,
            x: uniform(images * conv.input_len(), 1.0, 1),
            weight: uniform(conv.weight_len(), scale, 2),
            bias: uniform(conv.bias_len(), 0.1, 3),
            y: vec![0.0; images * conv.output_len()],
            dy: vec![0.0; images * conv.output_len()],
            dx: vec![
                0.0;
                if name == "conv1" {
                    0
                } else {
                    images * conv.input_len()
                }
            ],
            dweight: vec![0.0; conv.weight_len()],
        };
        let gradient = uniform(images * shape.output().internal_len(), 1.0, 4);
        let mut ours: Vec<Stage> = [None]
            .into_iter()
            .chain(ALGORITHMS.map(Some))
            .map(|algorithm| Stage::new(shape, self.level, algorithm, &peer, &gradient))
            .collect();
        let planned = ours[0].algorithm();
        for stage in &mut ours {
            stage.forward(&peer.x);
            stage.backward(&peer.x);
        }
        // The gradient that pooling hands back, for those who compute the convolution alone.
        for (_, place, gradient) in ours[0].windows() {
            peer.dy[place] = gradient;
        }
        for library in self.libraries {
            let block = blocks(&conv)[0];
            peer.forward(library, block);
            peer.backward(library, block);
            let what = format!("{name} by {}", library.name());
            let windows = ours[0].windows();
            let maxima = windows.iter().map(|&(y, place, _)| (y, peer.y[place]));
            agree(&what, maxima);
            agree_all(&what, &ours[0].dweight, &peer.dweight);
            if let Some(dx) = &ours[0].dx {
                agree_all(&what, dx, &peer.dx);
            }
        }

        let x = peer.x.clone();
        let peer = Mutex::new(peer);
        let mut rows = Vec::new();
        for (pass, what) in [(Pass::Forward, "forward"), (Pass::Backward, "backward")] {
            let mut contestants = Vec::new();
            for (i, stage) in ours.iter_mut().enumerate() {
                let algorithm = stage.algorithm();
                // The planned one stands first; it needs no second place.
                if i > 0 && algorithm == planned {
                    continue;
                }
                let x = &x;
                let run = move || match pass {
                    Pass::Forward => stage.forward(x),
                    Pass::Backward => stage.backward(x),
                };
                let forced = if i == 0 { "planned" } else { "forced" };
                contestants.push(Contestant {
                    name: format!("dawn21: stage, {algorithm} ({forced})"),
                    run: Box::new(run),
                });
            }
            contestants.push(Contestant {
                name: "dawn21: `conv2d`, f32 and f64 alike".to_owned(),
                run: Box::new(|| generic(&peer, pass)),
            });
            for library in self.libraries {
                let candidates = blocks(&conv).into_iter().map(|block| Contestant {
                    name: format!("{}: {block} pixels at a time", library.name()),
                    run: Box::new({
                        let peer = &peer;
                        move || {
                            let mut peer = peer.lock().expect("no panic");
                            match pass {
                                Pass::Forward => peer.forward(library, block),
                                Pass::Backward => peer.backward(library, block),
                            }
                        }
                    }),
                });
                let mut candidates: Vec<_> = candidates.collect();
                let best = fastest(self.pool, &mut candidates);
                contestants.push(candidates.swap_remove(best));
            }
            rows.push(Row {
                pass: format!("{name} {what}"),
                images,
                outcomes: compete(self.pool, self.rounds, &mut contestants),
            });
        }
        rows
    }

    /// Forward pass, and backward pass with update, of the first dense layer.
    pub fn dense(&self, rows: usize) -> Vec<Row> {
        let shape = dense1();
        let weight = uniform(shape.weight_len(), 0.005, 1);
        let mut transposed = weight.clone();
        for (k, weight) in weight.chunks_exact(shape.outputs()).enumerate() {
            for (o, &weight) in weight.iter().enumerate() {
                transposed[o * shape.inputs() + k] = weight;
            }
        }
        let initial = [weight, transposed];
        let mut peer = Dense {
            shape,
            x: uniform(rows * shape.inputs(), 1.0, 2),
            mean_square: vec![1.0; shape.weight_len()],
            weight: initial.clone(),
            y: vec![0.0; rows * shape.outputs()],
            dy: uniform(rows * shape.outputs(), 1e-3, 3),
            dx: vec![0.0; rows * shape.inputs()],
            dweight: vec![0.0; shape.weight_len()],
        };
        let mut ours = FusedDense::new(self.level, &peer);
        self.pool.install(|| {
            ours.forward(&peer);
            ours.backward(&peer);
        });
        let threads = self.pool.current_num_threads();
        let variants = Variant::all(shape.inputs());
        for library in self.libraries {
            for &variant in &variants {
                self.share(variant);
                peer.weight.clone_from(&initial);
                peer.mean_square.fill(1.0);
                self.pool.install(|| {
                    peer.forward(library, variant, threads);
                    peer.backward(library, variant, threads, &OPTIMIZER);
                });
                let what = format!("dense1 by {}, {}", library.name(), variant.name());
                agree_all(&what, &ours.y, &peer.y);
                agree_all(&what, &ours.dx, &peer.dx);
                if variant.order == Order::InputMajor {
                    agree_all(&what, &ours.weight, &peer.weight[0]);
                }
            }
        }

        let copy = peer.clone();
        let peer = Mutex::new(peer);
        let mut table = Vec::new();
        for (pass, what) in [
            (Pass::Forward, "forward"),
            (Pass::Backward, "backward + RMSprop"),
        ] {
            let mut contestants = vec![Contestant {
                name: "dawn21: fused".to_owned(),
                run: Box::new(|| match pass {
                    Pass::Forward => ours.forward(&copy),
                    Pass::Backward => ours.backward(&copy),
                }),
            }];
            for library in self.libraries {
                let candidates = variants.iter().map(|&variant| Contestant {
                    name: format!("{}: {}", library.name(), variant.name()),
                    run: Box::new({
                        let peer = &peer;
                        move || {
                            self.share(variant);
                            let mut peer = peer.lock().expect("no panic");
                            match pass {
                                Pass::Forward => peer.forward(library, variant, threads),
                                Pass::Backward => {
                                    peer.backward(library, variant, threads, &OPTIMIZER);
                                }
                            }
                        }
                    }),
                });
                let mut candidates: Vec<_> = candidates.collect();
                let best = fastest(self.pool, &mut candidates);
                contestants.push(candidates.swap_remove(best));
            }
            let outcomes = compete(self.pool, self.rounds, &mut contestants);
            table.push(Row {
                pass: format!("dense1 {what}"),
                images: rows,
                outcomes,
            });
        }
        table
    }

    /// OpenBLAS shares a single product among its own threads, but not one of our tasks.
    fn share(&self, variant: Variant) {
        let threads = match variant.chunk {
            None => self.pool.current_num_threads(),
            Some(_) => 1,
        };
        self.openblas.set_threads(threads);
    }
}

/// dawn21's auditable convolution.
fn generic(peer: &Mutex<Convolution>, pass: Pass) {
    let mut peer = peer.lock().expect("no panic");
    let Convolution {
        shape,
        x,
        weight,
        bias,
        y,
        dy,
        dx,
        dweight,
        ..
    } = &mut *peer;
    match pass {
        Pass::Forward => conv2d::forward(shape, x, weight, bias, y).expect("forward"),
        Pass::Backward => {
            let mut dbias = vec![0.0; bias.len()];
            let gradients = Conv2dGradients {
                input: (!dx.is_empty()).then_some(&mut dx[..]),
                weight: dweight,
                bias: &mut dbias,
            };
            conv2d::backward(shape, x, weight, dy, gradients).expect("backward");
        }
    }
}
