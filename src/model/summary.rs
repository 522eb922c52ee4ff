//! Table 1 of any network: its layers, their outputs and numbers of parameters.

use std::fmt;

use super::architecture::Architecture;
use super::layer_spec::{LayerSpec, WindowSize};

/// Prints the layers of an architecture as a table.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a>(pub &'a Architecture);

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// The layer in a few words.
    pub layer: String,
    /// Shape of its output.
    pub output: String,
    /// Number of its trainable values.
    pub parameters: usize,
}

impl Summary<'_> {
    /// The input, then all layers.
    #[must_use]
    pub fn rows(&self) -> Vec<SummaryRow> {
        let [rows, columns] = self.0.image();
        let input = SummaryRow {
            layer: "input".to_string(),
            output: format!("{rows} x {columns}"),
            parameters: 0,
        };
        let shapes = self.0.output_shapes();
        let layers = self.0.specs().iter().zip(self.0.layers()).zip(shapes);
        let layers = layers.map(|((spec, layer), shape)| SummaryRow {
            layer: describe(spec),
            output: shape.to_string(),
            parameters: layer
                .trainable()
                .iter()
                .map(|tensor| tensor.shape.iter().product::<usize>())
                .sum(),
        });
        std::iter::once(input).chain(layers).collect()
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28} {:>16} {:>12}", "layer", "output", "parameters")?;
        let mut total = 0;
        for row in self.rows() {
            total += row.parameters;
            let SummaryRow {
                layer,
                output,
                parameters,
            } = row;
            writeln!(f, "{layer:<28} {output:>16} {parameters:>12}")?;
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
