//! Table 1 of any network: its layers, their outputs and numbers of parameters.

use std::fmt;

use super::architecture::{Architecture, LayerSpec, WindowSize};

/// Prints the layers of an architecture as a table.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a>(pub &'a Architecture);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, columns] = self.0.image();
        writeln!(f, "{:<28} {:>16} {:>12}", "layer", "output", "parameters")?;
        writeln!(
            f,
            "{:<28} {:>16} {:>12}",
            "input",
            format!("{rows} x {columns}"),
            0
        )?;
        let mut total = 0;
        let shapes = self.0.output_shapes();
        for ((spec, layer), shape) in self.0.specs().iter().zip(self.0.layers()).zip(shapes) {
            let count: usize = layer
                .trainable()
                .iter()
                .map(|tensor| tensor.shape.iter().product::<usize>())
                .sum();
            total += count;
            writeln!(f, "{:<28} {shape:>16} {count:>12}", describe(spec))?;
        }
        write!(f, "{:<28} {:>16} {total:>12}", "total trainable", "")
    }
}

/// One layer in a few words.
fn describe(spec: &LayerSpec) -> String {
    let size = |window: WindowSize| match window {
        WindowSize::Square(n) => format!("{n} x {n}"),
        WindowSize::Rectangle([rows, columns]) => format!("{rows} x {columns}"),
    };
    match spec {
        LayerSpec::Conv2d {
            filters, kernel, ..
        } => format!("conv2d {filters} @ {}", kernel.map_or(String::new(), size)),
        LayerSpec::MaxPool2d { window } => format!("max_pool2d {}", size(*window)),
        LayerSpec::Dropout { rate } => format!("dropout {rate}"),
        LayerSpec::Dense { units } => format!("dense {}", units.unwrap_or_default()),
        LayerSpec::BatchNorm { momentum, .. } => format!("batch_norm momentum {momentum}"),
        LayerSpec::Relu {} | LayerSpec::Flatten {} => spec.kind().to_string(),
    }
}
