//! Natural cubic splines on equidistant nodes.

/// A natural cubic spline through equidistant nodes; beyond the last node it continues as a straight line
/// would through the outermost interval's cubic.
#[derive(Debug, Clone)]
pub(crate) struct Spline {
    start: f64,
    step: f64,
    values: Vec<f64>,
    curvatures: Vec<f64>,
}

impl Spline {
    /// The spline through `values[i]` at `start + i * step`; at least two values.
    pub(crate) fn new(start: f64, step: f64, values: Vec<f64>) -> Self {
        let n = values.len();
        let mut curvatures = vec![0.0; n];
        // Thomas algorithm for the equidistant system c[i-1] + 4 c[i] + c[i+1] = 6 (second difference).
        let mut upper = vec![0.0; n];
        for i in 1..n.saturating_sub(1) {
            let difference = 6.0 * (values[i + 1] - 2.0 * values[i] + values[i - 1]);
            let pivot = 4.0 - upper[i - 1];
            upper[i] = 1.0 / pivot;
            curvatures[i] = (difference - curvatures[i - 1]) / pivot;
        }
        for i in (1..n.saturating_sub(1)).rev() {
            curvatures[i] -= upper[i] * curvatures[i + 1];
        }
        Self {
            start,
            step,
            values,
            curvatures,
        }
    }

    /// `nodes` samples of `function` between `start` and `end`, both included.
    pub(crate) fn tabulate(
        start: f64,
        end: f64,
        nodes: usize,
        mut function: impl FnMut(f64) -> f64,
    ) -> Self {
        let step = (end - start) / (nodes - 1) as f64;
        let values = (0..nodes)
            .map(|i| function(start + i as f64 * step))
            .collect();
        Self::new(start, step, values)
    }

    /// The spline at `x`.
    pub(crate) fn at(&self, x: f64) -> f64 {
        let position = (x - self.start) / self.step;
        let last = self.values.len() - 2;
        let i = (position.max(0.0) as usize).min(last);
        let b = position - i as f64;
        let a = 1.0 - b;
        a * self.values[i]
            + b * self.values[i + 1]
            + ((a * a * a - a) * self.curvatures[i] + (b * b * b - b) * self.curvatures[i + 1])
                / 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spline_follows_a_smooth_function_between_its_nodes() {
        let spline = Spline::tabulate(0.0, 3.0, 61, f64::sin);
        for i in 0..300 {
            let x = 0.2 + 2.6 * f64::from(i) / 300.0;
            assert!((spline.at(x) - x.sin()).abs() < 1e-6, "x = {x}");
        }
        assert!((spline.at(3.0) - 3.0_f64.sin()).abs() < 1e-12);
    }
}
