//! All contestants compute the same: a glance before the clock starts. The tests of the kernels prove it.

/// Largest difference allowed, as a part of the largest magnitude: hundreds of roundings.
const TOLERANCE: f32 = 1e-4;

/// Stops the program when two results differ by more than rounding.
pub fn agree(what: &str, pairs: impl Iterator<Item = (f32, f32)>) {
    let (mut difference, mut magnitude) = (0.0_f32, 0.0_f32);
    let mut count = 0;
    for (a, b) in pairs {
        assert!(a.is_finite() && b.is_finite(), "{what}: {a} and {b}");
        difference = difference.max((a - b).abs());
        magnitude = magnitude.max(a.abs());
        count += 1;
    }
    assert!(
        count > 0 && difference <= TOLERANCE * magnitude,
        "{what}: results differ by {difference:e} where the largest is {magnitude:e}"
    );
}

/// [`agree`] for two whole arrays.
pub fn agree_all(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    agree(what, a.iter().copied().zip(b.iter().copied()));
}
