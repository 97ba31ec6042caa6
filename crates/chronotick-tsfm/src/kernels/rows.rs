//! What is done to rows of numbers between the products: norms, softmax and activations.

use super::simd::{Kernel, Simd, dispatch};

/// Replaces the vectors of a row, the last of which may be partly empty. A macro, as a closure would be compiled by
/// itself, without the caller's instructions.
macro_rules! each {
    ($simd:ident, $row:expr, |$x:ident| $body:expr) => {{
        let mut chunks = $row.chunks_exact_mut(S::LANES);
        for chunk in &mut chunks {
            // SAFETY: the chunk is a vector long.
            let $x = unsafe { $simd.load(chunk.as_ptr()) };
            let changed = $body;
            // SAFETY: as above.
            unsafe { $simd.store(chunk.as_mut_ptr(), changed) };
        }
        let rest = chunks.into_remainder();
        if !rest.is_empty() {
            let mut padded = [0.0; 16];
            padded[..rest.len()].copy_from_slice(rest);
            // SAFETY: no vector is longer than 16.
            let $x = unsafe { $simd.load(padded.as_ptr()) };
            let changed = $body;
            // SAFETY: as above.
            unsafe { $simd.store(padded.as_mut_ptr(), changed) };
            rest.copy_from_slice(&padded[..rest.len()]);
        }
    }};
}

/// Joins the vectors of a row, filled up with something neutral, and gives the lanes of what they were joined to.
macro_rules! fold {
    ($simd:ident, $row:expr, $neutral:expr, |$all:ident, $x:ident| $body:expr) => {{
        let chunks = $row.chunks_exact(S::LANES);
        let mut padded = [$neutral; 16];
        padded[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        let mut $all = $simd.splat($neutral);
        for chunk in chunks {
            // SAFETY: the chunk is a vector long.
            let $x = unsafe { $simd.load(chunk.as_ptr()) };
            $all = $body;
        }
        // SAFETY: no vector is longer than 16.
        let $x = unsafe { $simd.load(padded.as_ptr()) };
        $all = $body;
        let mut lanes = [$neutral; 16];
        // SAFETY: as above.
        unsafe { $simd.store(lanes.as_mut_ptr(), $all) };
        lanes
    }};
}

/// Adds each number to that of the same place.
pub(crate) fn add(to: &mut [f32], x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += x);
}

/// A function of each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Relu,
    Silu,
    /// The exact one, by the error function.
    Gelu,
}

/// Applies a function to every number.
pub(crate) fn activate(activation: Activation, x: &mut [f32]) {
    struct Activate<'a>(Activation, &'a mut [f32]);
    impl Kernel for Activate<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            match self.0 {
                Activation::Relu => each!(simd, self.1, |x| simd.max(x, simd.splat(0.0))),
                Activation::Silu => each!(simd, self.1, |x| silu(simd, x)),
                Activation::Gelu => each!(simd, self.1, |x| gelu(simd, x)),
            }
        }
    }
    dispatch(Activate(activation, x));
}

/// `silu(a) · b` of rows `[a, b]` of this width; the result is half as wide.
pub(crate) fn swiglu(x: &[f32], width: usize) -> Vec<f32> {
    struct Swiglu<'a>(&'a [f32], usize);
    impl Kernel for Swiglu<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<f32> {
            let half = self.1 / 2;
            let mut out = Vec::with_capacity(self.0.len() / 2);
            for row in self.0.chunks_exact(self.1) {
                let begin = out.len();
                out.extend_from_slice(&row[..half]);
                let gate = &mut out[begin..];
                each!(simd, gate, |x| silu(simd, x));
                gate.iter_mut().zip(&row[half..]).for_each(|(gate, x)| *gate *= x);
            }
            out
        }
    }
    dispatch(Swiglu(x, width))
}

/// Each row of this width becomes its softmax.
pub(crate) fn softmax(x: &mut [f32], width: usize) {
    struct Softmax<'a>(&'a mut [f32], usize);
    impl Kernel for Softmax<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            self.0.chunks_exact_mut(self.1).for_each(|row| softmax_row(simd, row));
        }
    }
    dispatch(Softmax(x, width));
}

#[inline(always)]
pub(super) fn softmax_row<S: Simd>(simd: S, row: &mut [f32]) {
    let largest = fold!(simd, row, f32::MIN, |a, b| simd.max(a, b));
    let largest = simd.splat(largest.into_iter().fold(f32::MIN, f32::max));
    each!(simd, row, |x| exp(simd, simd.sub(x, largest)));
    let sum: f32 = fold!(simd, row, 0.0, |a, b| simd.add(a, b)).into_iter().sum();
    let factor = simd.splat(1.0 / sum);
    each!(simd, row, |x| simd.mul(x, factor));
}

/// `x / sqrt(mean(x²) + ε)` of a row.
#[inline(always)]
fn divided_by_root<S: Simd>(simd: S, x: &mut [f32], epsilon: f32) {
    // Vectors of zeros do not add to a sum of squares.
    let squares: f32 = fold!(simd, x, 0.0, |sum, x| simd.fma(x, x, sum)).into_iter().sum();
    let factor = simd.splat(1.0 / (squares / x.len() as f32 + epsilon).sqrt());
    each!(simd, x, |x| simd.mul(x, factor));
}

/// Each row becomes `x / sqrt(mean(x²) + ε) · w`.
pub(crate) fn rms_norm(x: &mut [f32], weight: &[f32], epsilon: f32) {
    struct Norm<'a>(&'a mut [f32], &'a [f32], f32);
    impl Kernel for Norm<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for row in self.0.chunks_exact_mut(self.1.len()) {
                divided_by_root(simd, row, self.2);
                row.iter_mut().zip(self.1).for_each(|(x, w)| *x *= w);
            }
        }
    }
    dispatch(Norm(x, weight, epsilon));
}

/// Each row becomes `(x - mean) / sqrt(variance + ε) · w + b`.
pub(crate) fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    struct Norm<'a>(&'a mut [f32], &'a [f32], &'a [f32], f32);
    impl Kernel for Norm<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for row in self.0.chunks_exact_mut(self.1.len()) {
                let sum: f32 = fold!(simd, row, 0.0, |a, b| simd.add(a, b)).into_iter().sum();
                let mean = simd.splat(sum / row.len() as f32);
                each!(simd, row, |x| simd.sub(x, mean));
                divided_by_root(simd, row, self.3);
                row.iter_mut().zip(self.1.iter().zip(self.2)).for_each(|(x, (w, b))| *x = *x * w + b);
            }
        }
    }
    dispatch(Norm(x, weight, bias, epsilon));
}

#[inline(always)]
fn silu<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let one = simd.splat(1.0);
    simd.div(x, simd.add(one, exp(simd, simd.sub(simd.splat(0.0), x))))
}

/// `x · (1 + erf(x / √2)) / 2`, the error function by Abramowitz and Stegun 7.1.26, within 1.5·10⁻⁷.
#[inline(always)]
fn gelu<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let (one, zero) = (simd.splat(1.0), simd.splat(0.0));
    let z = simd.mul(simd.max(x, simd.sub(zero, x)), simd.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = simd.div(one, simd.fma(z, simd.splat(0.327_591_1), one));
    let mut p = simd.splat(1.061_405_4);
    for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        p = simd.fma(p, t, simd.splat(c));
    }
    // 1 - erf z
    let rest = simd.mul(simd.mul(p, t), exp(simd, simd.sub(zero, simd.mul(z, z))));
    // x Φ(x) is max(x, 0) less |x| (1 - erf z) / 2 on either side.
    let tail = simd.mul(simd.mul(z, simd.splat(std::f32::consts::FRAC_1_SQRT_2)), rest);
    simd.sub(simd.max(x, zero), tail)
}

/// The exponential function, 0 below e⁻⁸⁸: the power of two nearest, and a polynomial (Cephes `expf`) for what is left.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let x = simd.min(simd.max(x, simd.splat(-88.1)), simd.splat(88.0));
    let n = simd.round(simd.mul(x, simd.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first exact in products with n.
    let r = simd.fma(n, simd.splat(-0.693_359_4), x);
    let r = simd.fma(n, simd.splat(2.121_944_4e-4), r);
    let mut p = simd.splat(1.987_569_1e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.fma(p, r, simd.splat(c));
    }
    let p = simd.add(simd.fma(p, simd.mul(r, r), r), simd.splat(1.0));
    simd.mul(p, simd.power_of_two(n))
}

#[cfg(test)]
mod tests {
    use super::super::simd::with_each_set;
    use super::*;
    use proptest::prelude::*;

    fn assert_near(set: impl std::fmt::Debug, got: &[f32], want: impl Iterator<Item = f64>, tolerance: f64) {
        for (got, want) in got.iter().zip(want) {
            let off = (f64::from(*got) - want).abs();
            assert!(off <= tolerance * want.abs().max(1.0), "{set:?}: {got} for {want}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_are_those_of_plain_arithmetic(x in prop::collection::vec(-30f32..30.0, 1..70)) {
            let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let count = wide.len() as f64;
            let weight: Vec<f32> = (0..x.len()).map(|i| 1.0 + i as f32 / 16.0).collect();
            let largest = wide.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = wide.iter().map(|x| (x - largest).exp()).sum();
            let mean = wide.iter().sum::<f64>() / count;
            let square = wide.iter().map(|x| x * x).sum::<f64>() / count;
            let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let weights = || weight.iter().map(|w| f64::from(*w));
            with_each_set(|set| {
                let run = |f: &dyn Fn(&mut [f32])| {
                    let mut x = x.clone();
                    f(&mut x);
                    x
                };
                let silu = |x: &f64| x / (1.0 + (-x).exp());
                let gelu = |x: &f64| x * 0.5 * libm::erfc(-x / 2f64.sqrt());
                let relu = run(&|x| activate(Activation::Relu, x));
                assert_near(set, &relu, wide.iter().map(|x| x.max(0.0)), 0.0);
                assert_near(set, &run(&|x| activate(Activation::Silu, x)), wide.iter().map(silu), 1e-6);
                assert_near(set, &run(&|x| activate(Activation::Gelu, x)), wide.iter().map(gelu), 1e-6);
                let softmax = run(&|x| softmax(x, x.len()));
                assert_near(set, &softmax, wide.iter().map(|x| (x - largest).exp() / total), 1e-6);
                let rms = wide.iter().zip(weights()).map(|(x, w)| x / (square + 1e-5).sqrt() * w);
                assert_near(set, &run(&|x| rms_norm(x, &weight, 1e-5)), rms, 1e-6);
                let norm = wide.iter().zip(weights()).map(|(x, w)| (x - mean) / (variance + 0.1).sqrt() * w + w);
                assert_near(set, &run(&|x| layer_norm(x, &weight, &weight, 0.1)), norm, 3e-6);
                let half = x.len() / 2;
                let gated = wide.iter().zip(&wide[half..]).take(half).map(|(a, b)| silu(a) * b);
                assert_near(set, &swiglu(&x[..2 * half.max(1).min(x.len() / 2)], (2 * half).max(2)), gated, 1e-6);
            });
        }
    }

    #[test]
    fn what_is_masked_counts_for_nothing() {
        with_each_set(|set| {
            let mut row = [1.0, f32::MIN, 1.0, f32::MIN / 2.0, -200.0];
            softmax(&mut row, 5);
            assert_eq!(row, [0.5, 0.0, 0.5, 0.0, 0.0], "{set:?}");
        });
    }
}
