//! Attention over heads that lie side by side in memory, as a projection leaves them: nothing is split or joined.

use super::packed::{PANEL, Product};
use super::rows::softmax_row;
use super::simd::{Kernel, Simd, dispatch};

/// Numbers `[batch, head, token, feature]` somewhere in a slice: how far apart neighbours are along each axis but the
/// last, whose neighbours are side by side.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) strides: [usize; 3],
}

impl<'a> Heads<'a> {
    fn token(&self, [batch, head, token]: [usize; 3], d: usize) -> &'a [f32] {
        let from = batch * self.strides[0] + head * self.strides[1] + token * self.strides[2];
        &self.numbers[from..from + d]
    }
}

/// What is added to the scores `[batch, head, query, key]`: how far apart neighbours are along each axis, 0 along one
/// over which it is the same.
#[derive(Clone, Copy)]
pub(crate) struct Mask<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) strides: [usize; 4],
}

/// `softmax(q kᵀ + mask) v`.
pub(crate) struct Attention<'a> {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Features of a head.
    pub(crate) d: usize,
    pub(crate) q: Heads<'a>,
    pub(crate) k: Heads<'a>,
    pub(crate) v: Heads<'a>,
    pub(crate) mask: Option<Mask<'a>>,
}

impl Attention<'_> {
    /// `[batch, query, head, feature]`.
    ///
    /// # Panics
    ///
    /// If the slices do not hold what the sizes say.
    pub(crate) fn run(self) -> Vec<f32> {
        dispatch(self)
    }
}

impl Kernel for Attention<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { batch, heads, queries, keys, d, .. } = self;
        let mut out = vec![0.0; batch * queries * heads * d];
        let mut scores = vec![0.0; queries * keys];
        let mut rows = Vec::with_capacity(queries * d);
        let mut k_panels = vec![0.0; keys.div_ceil(PANEL) * d * PANEL];
        let mut v_panels = vec![0.0; d.div_ceil(PANEL) * keys * PANEL];
        for b in 0..batch {
            for h in 0..heads {
                rows.clear();
                (0..queries).for_each(|i| rows.extend_from_slice(self.q.token([b, h, i], d)));
                for j in 0..keys {
                    let panel = &mut k_panels[j / PANEL * d * PANEL..];
                    let columns = panel[j % PANEL..].iter_mut().step_by(PANEL);
                    columns.zip(self.k.token([b, h, j], d)).for_each(|(to, from)| *to = *from);
                    for (panel, features) in self.v.token([b, h, j], d).chunks(PANEL).enumerate() {
                        v_panels[(panel * keys + j) * PANEL..][..features.len()].copy_from_slice(features);
                    }
                }
                scores.fill(0.0);
                add_product(simd, &rows, d, &k_panels, [queries, d, keys], &mut scores, keys);
                for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                    if let Some(mask) = &self.mask {
                        mask.add([b, h, i], row);
                    }
                    softmax_row(simd, row);
                }
                let out = &mut out[b * queries * heads * d + h * d..];
                add_product(simd, &scores, keys, &v_panels, [queries, keys, d], out, heads * d);
            }
        }
        out
    }
}

impl Mask<'_> {
    #[inline(always)]
    fn add(&self, [batch, head, query]: [usize; 3], row: &mut [f32]) {
        let from = batch * self.strides[0] + head * self.strides[1] + query * self.strides[2];
        match self.strides[3] {
            0 => row.iter_mut().for_each(|x| *x += self.numbers[from]),
            step => {
                row.iter_mut().zip(self.numbers[from..].iter().step_by(step)).for_each(|(x, m)| *x += m);
            }
        }
    }
}

/// Adds `x · panels` to `out`, whose rows lie `out_stride` apart, for `[rows, inputs, outputs]`.
#[inline(always)]
fn add_product<S: Simd>(
    simd: S,
    x: &[f32],
    x_stride: usize,
    panels: &[f32],
    [rows, inputs, outputs]: [usize; 3],
    out: &mut [f32],
    out_stride: usize,
) {
    assert!(rows == 0 || x.len() >= (rows - 1) * x_stride + inputs);
    assert!(rows == 0 || out.len() >= (rows - 1) * out_stride + outputs);
    assert!(panels.len() >= outputs.div_ceil(PANEL) * inputs * PANEL);
    Product {
        rows,
        inputs,
        outputs,
        x: x.as_ptr(),
        x_stride,
        weights: panels.as_ptr(),
        scales: std::ptr::null(),
        out: out.as_mut_ptr(),
        out_stride,
    }
    .run(simd);
}

#[cfg(test)]
mod tests {
    use super::super::simd::with_each_set;
    use super::*;
    use proptest::prelude::*;

    /// Numbers between -1 and 1 that look random.
    fn numbers(seed: usize, count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) as f32).sin()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn attention_is_that_of_plain_arithmetic(
            batch in 1usize..3,
            heads in 1usize..4,
            queries in 1usize..15,
            older in 0usize..40,
            d in 1usize..40,
            masked in any::<bool>(),
        ) {
            let keys = queries + older;
            let q = numbers(1, batch * queries * heads * d);
            let kv = numbers(2, batch * keys * 2 * heads * d);
            let mask = numbers(3, heads * queries * keys);
            let joined = |numbers, tokens: usize, width: usize| Heads { numbers, strides: [tokens * width, d, width] };
            let wanted = |b: usize, h: usize, i: usize| {
                let of_key = |part: usize, j: usize| &kv[((b * keys + j) * 2 + part) * heads * d + h * d..][..d];
                let query = &q[((b * queries + i) * heads + h) * d..][..d];
                let score = |j: usize| {
                    let dot: f64 = query.iter().zip(of_key(0, j)).map(|(a, b)| f64::from(a * b)).sum();
                    dot + if masked { f64::from(mask[(h * queries + i) * keys + j]) } else { 0.0 }
                };
                let weights: Vec<f64> = (0..keys).map(|j| score(j).exp()).collect();
                let total: f64 = weights.iter().sum();
                (0..d)
                    .map(|f| weights.iter().enumerate().map(|(j, w)| w / total * f64::from(of_key(1, j)[f])).sum())
                    .collect::<Vec<f64>>()
            };
            with_each_set(|set| {
                let out = Attention {
                    batch,
                    heads,
                    queries,
                    keys,
                    d,
                    q: joined(&q, queries, heads * d),
                    k: joined(&kv, keys, 2 * heads * d),
                    v: joined(&kv[heads * d..], keys, 2 * heads * d),
                    mask: masked
                        .then_some(Mask { numbers: &mask, strides: [0, queries * keys, keys, 1] }),
                }
                .run();
                for (at, got) in out.chunks(d).enumerate() {
                    let (b, i, h) = (at / heads / queries, at / heads % queries, at % heads);
                    for (got, want) in got.iter().zip(wanted(b, h, i)) {
                        assert!((f64::from(*got) - want).abs() < 1e-5, "{set:?}: {got} for {want}");
                    }
                }
            });
        }
    }
}
