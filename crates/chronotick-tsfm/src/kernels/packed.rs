//! Products of a few rows with a weight that was laid out once for them: in panels of 32 outputs, the inputs of a panel
//! one after the other. At batch 1 reading the weights is most of the work; so each is read once, in order, for up to
//! twelve rows, and may be kept in half or a quarter of its size.

use half::{bf16, f16};

use super::memory::{Arena, Piece};
use super::simd::{Kernel, Simd, dispatch};

/// Outputs of a panel.
pub(super) const PANEL: usize = 32;
/// Inputs that share a scale in 8 bits.
const GROUP: usize = 64;

/// How numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    F32,
    F16,
    Bf16,
    /// Whole numbers up to ±127, with one scale for each output and group of inputs.
    I8,
}

impl Format {
    /// Bytes of a number.
    fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I8 => 1,
        }
    }
}

/// A weight `[outputs, inputs]`.
pub(crate) struct Packed {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    format: Format,
    /// `[panel][input][output]`, zero where the last panel goes beyond the outputs.
    panels: Piece,
    /// `[panel][group][output]`, for 8 bits.
    scales: Vec<f32>,
}

impl Packed {
    /// A weight of zeros.
    pub(crate) fn zeros(arena: &Arena, format: Format, inputs: usize, outputs: usize) -> Self {
        let panels = outputs.div_ceil(PANEL);
        let groups = inputs.div_ceil(GROUP);
        Self {
            inputs,
            outputs,
            format,
            panels: arena.take(panels * inputs * PANEL * format.width()),
            scales: vec![0.0; if format == Format::I8 { panels * groups * PANEL } else { 0 }],
        }
    }

    /// Sets the weights of the outputs from `first` on; `rows` has all inputs of one after the other.
    ///
    /// # Panics
    ///
    /// If there are no such outputs.
    pub(crate) fn set(&mut self, first: usize, rows: &[f32]) {
        let inputs = self.inputs;
        assert!(rows.len().is_multiple_of(inputs) && first + rows.len() / inputs <= self.outputs);
        let (mut first, mut rest) = (first, rows);
        while !rest.is_empty() {
            let (panel, column) = (first / PANEL, first % PANEL);
            let count = (rest.len() / inputs).min(PANEL - column);
            let (rows, after) = rest.split_at(count * inputs);
            match self.format {
                Format::F32 => self.set_panel(panel, column, rows, |x| x),
                Format::F16 => self.set_panel(panel, column, rows, f16::from_f32),
                Format::Bf16 => self.set_panel(panel, column, rows, bf16::from_f32),
                Format::I8 => self.set_panel_i8(panel, column, rows),
            }
            (first, rest) = (first + count, after);
        }
    }

    fn set_panel<W: Stored>(&mut self, panel: usize, column: usize, rows: &[f32], number: impl Fn(f32) -> W) {
        let inputs = self.inputs;
        let panel = self.panel_mut::<W>(panel);
        for (input, outputs) in panel.chunks_exact_mut(PANEL).enumerate() {
            for (output, row) in outputs[column..].iter_mut().zip(rows.chunks_exact(inputs)) {
                *output = number(row[input]);
            }
        }
    }

    fn set_panel_i8(&mut self, panel: usize, column: usize, rows: &[f32]) {
        let groups = self.inputs.div_ceil(GROUP);
        let mut scaled = rows.to_vec();
        for (i, row) in scaled.chunks_exact_mut(self.inputs).enumerate() {
            for (j, group) in row.chunks_mut(GROUP).enumerate() {
                let largest = group.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
                let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
                group.iter_mut().for_each(|x| *x = (*x / scale).round());
                self.scales[(panel * groups + j) * PANEL + column + i] = scale;
            }
        }
        self.set_panel(panel, column, &scaled, |x| x as i8);
    }

    fn panel_mut<W: Stored>(&mut self, panel: usize) -> &mut [W] {
        let length = self.inputs * PANEL;
        let bytes = self.panels.as_mut_slice();
        // SAFETY: the bytes are aligned for any number, and any bytes are a number of such a type.
        let numbers = unsafe {
            std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<W>(), bytes.len() / size_of::<W>())
        };
        &mut numbers[panel * length..(panel + 1) * length]
    }

    /// Adds the product of `x`, `[row, input]`, to `out`, `[row, output]`.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    pub(crate) fn add_product(&self, x: &[f32], out: &mut [f32]) {
        assert!(x.len().is_multiple_of(self.inputs));
        let rows = x.len() / self.inputs;
        assert_eq!(out.len(), rows * self.outputs);
        match self.format {
            Format::F32 => self.add_product_of::<f32>(rows, x, out),
            Format::F16 => self.add_product_of::<f16>(rows, x, out),
            Format::Bf16 => self.add_product_of::<bf16>(rows, x, out),
            Format::I8 => self.add_product_of::<i8>(rows, x, out),
        }
    }

    fn add_product_of<W: Stored>(&self, rows: usize, x: &[f32], out: &mut [f32]) {
        // Rows that lie whole multiples of 2 KiB apart share their places in the first cache and push each other out.
        let (mut apart, mut x_stride) = (Vec::new(), self.inputs);
        if rows > 4 && self.inputs.is_multiple_of(512) {
            x_stride = self.inputs + 16;
            apart.reserve(rows * x_stride);
            for row in x.chunks_exact(self.inputs) {
                apart.extend_from_slice(row);
                apart.extend_from_slice(&[0.0; 16]);
            }
        }
        let x = if apart.is_empty() { x } else { &apart };
        dispatch(Product::<W> {
            rows,
            inputs: self.inputs,
            outputs: self.outputs,
            x: x.as_ptr(),
            x_stride,
            weights: self.panels.as_slice().as_ptr().cast(),
            scales: self.scales.as_ptr(),
            out: out.as_mut_ptr(),
            out_stride: self.outputs,
        });
    }
}

/// A type in which weights are kept: any bytes are a number of it.
pub(super) trait Stored: Copy {
    /// Whether numbers take work to widen, which is worth doing once for many rows.
    const NARROW: bool = true;
    /// Whether numbers are to be multiplied by the scale of their output and group.
    const SCALED: bool = false;

    /// # Safety
    /// As many numbers as a vector has can be read from there.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector;
}

impl Stored for f32 {
    const NARROW: bool = false;

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector {
        // SAFETY: by this function's contract.
        unsafe { simd.load(from) }
    }
}

impl Stored for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector {
        // SAFETY: by this function's contract.
        unsafe { simd.load_f16(from) }
    }
}

impl Stored for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector {
        // SAFETY: by this function's contract.
        unsafe { simd.load_bf16(from) }
    }
}

impl Stored for i8 {
    const SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector {
        // SAFETY: by this function's contract.
        unsafe { simd.load_i8(from) }
    }
}

/// `out += x · weights`. Rows of `x` and `out` lie `x_stride` and `out_stride` numbers apart; weights and scales are
/// laid out as in [`Packed`].
///
/// Whoever runs one vouches for its pointers: they lead to all numbers of these sizes, and `out` to no other memory.
pub(super) struct Product<W> {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) x: *const f32,
    pub(super) x_stride: usize,
    pub(super) weights: *const W,
    pub(super) scales: *const f32,
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
}

impl<W: Stored> Kernel for Product<W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if W::NARROW && self.rows > S::ROWS { self.widened_panels(simd) } else { self.panels(simd) }
    }
}

impl<W: Stored> Product<W> {
    /// Widens each panel before it is read for several blocks of rows.
    #[inline(always)]
    fn widened_panels<S: Simd>(&self, simd: S) {
        let groups = self.inputs.div_ceil(GROUP);
        let mut wide = vec![0f32; self.inputs * PANEL + 16];
        let aligned = wide.as_ptr().align_offset(64).min(16);
        for panel in 0..self.outputs.div_ceil(PANEL) {
            for (input, numbers) in wide[aligned..].chunks_exact_mut(PANEL).enumerate().take(self.inputs) {
                for (v, numbers) in numbers.chunks_exact_mut(S::LANES).enumerate() {
                    let column = v * S::LANES;
                    // SAFETY: the panel, the input and the columns are this product's, and the chunk is a vector long.
                    unsafe {
                        let mut x =
                            W::load(simd, self.weights.add((panel * self.inputs + input) * PANEL + column));
                        if W::SCALED {
                            let group = panel * groups + input / GROUP;
                            x = simd.mul(x, simd.load(self.scales.add(group * PANEL + column)));
                        }
                        simd.store(numbers.as_mut_ptr(), x);
                    }
                }
            }
            let first = panel * PANEL;
            Product {
                rows: self.rows,
                inputs: self.inputs,
                outputs: PANEL.min(self.outputs - first),
                x: self.x,
                x_stride: self.x_stride,
                weights: wide[aligned..].as_ptr(),
                scales: std::ptr::null(),
                // SAFETY: the first output of the panel is one of this product's.
                out: unsafe { self.out.add(first) },
                out_stride: self.out_stride,
            }
            .panels(simd);
        }
    }

    #[inline(always)]
    fn panels<S: Simd>(&self, simd: S) {
        let blocks = self.rows.div_ceil(S::ROWS);
        for panel in 0..self.outputs.div_ceil(PANEL) {
            for column in (panel * PANEL..(panel + 1) * PANEL).step_by(2 * S::LANES) {
                if column >= self.outputs {
                    break;
                }
                let mut row = 0;
                for block in 0..blocks {
                    // Blocks as even as can be: none with a single row left over.
                    let rows = (self.rows - row).div_ceil(blocks - block);
                    // SAFETY: the rows and columns are within this product.
                    unsafe { self.block(simd, row, rows, column) };
                    row += rows;
                }
            }
        }
    }

    /// # Safety
    /// There are so many rows, at most `S::ROWS`, and the column.
    #[inline(always)]
    unsafe fn block<S: Simd>(&self, simd: S, row: usize, rows: usize, column: usize) {
        // SAFETY: the contract of `tile` is that of this function. Tiles of few rows have several sums for each number,
        // to be added in the end: a processor can add to about eight of them at a time.
        unsafe {
            match rows {
                1 => self.tile::<S, 1, 4>(simd, row, column),
                2 => self.tile::<S, 2, 2>(simd, row, column),
                3 if S::ROWS >= 3 => self.tile::<S, 3, 2>(simd, row, column),
                4 if S::ROWS >= 4 => self.tile::<S, 4, 1>(simd, row, column),
                5 if S::ROWS >= 5 => self.tile::<S, 5, 1>(simd, row, column),
                6 if S::ROWS >= 6 => self.tile::<S, 6, 1>(simd, row, column),
                7 if S::ROWS >= 7 => self.tile::<S, 7, 1>(simd, row, column),
                8 if S::ROWS >= 8 => self.tile::<S, 8, 1>(simd, row, column),
                9 if S::ROWS >= 9 => self.tile::<S, 9, 1>(simd, row, column),
                10 if S::ROWS >= 10 => self.tile::<S, 10, 1>(simd, row, column),
                11 if S::ROWS >= 11 => self.tile::<S, 11, 1>(simd, row, column),
                12 if S::ROWS >= 12 => self.tile::<S, 12, 1>(simd, row, column),
                _ => unreachable!("a block has at most {} rows", S::ROWS),
            }
        }
    }

    /// Adds `R` rows of two vectors of outputs, with `U` sums for each.
    ///
    /// # Safety
    /// The product has these rows and the column.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const U: usize>(&self, simd: S, row: usize, column: usize) {
        let (panel, within) = (column / PANEL, column % PANEL);
        // SAFETY: by this function's contract and that of the product, which also hold below.
        let (x, weights) = unsafe {
            (self.x.add(row * self.x_stride), self.weights.add(panel * self.inputs * PANEL + within))
        };
        let zero = [[simd.splat(0.0); 2]; R];
        let mut total = zero;
        let group = if W::SCALED { GROUP } else { self.inputs.max(1) };
        let groups = self.inputs.div_ceil(group);
        for g in 0..groups {
            let end = self.inputs.min((g + 1) * group);
            let mut sums = [zero; U];
            let mut input = g * group;
            while input + U <= end {
                for (u, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `input + u` is below `end`.
                    unsafe { self.add_input(simd, x, weights, input + u, sums) };
                }
                input += U;
            }
            while input < end {
                // SAFETY: `input` is below `end`.
                unsafe { self.add_input(simd, x, weights, input, &mut sums[0]) };
                input += 1;
            }
            for v in 0..2 {
                // SAFETY: scales have a number for each group and output of a panel.
                let scale = W::SCALED.then(|| unsafe {
                    simd.load(self.scales.add((panel * groups + g) * PANEL + within + v * S::LANES))
                });
                for r in 0..R {
                    let mut sum = sums[0][r][v];
                    for more in &sums[1..] {
                        sum = simd.add(sum, more[r][v]);
                    }
                    total[r][v] = match scale {
                        Some(scale) => simd.fma(sum, scale, total[r][v]),
                        None => simd.add(total[r][v], sum),
                    };
                }
            }
        }
        for (r, total) in total.into_iter().enumerate() {
            for (v, sum) in total.into_iter().enumerate() {
                let column = column + v * S::LANES;
                // SAFETY: the row is there, and what of the columns is there is looked at.
                unsafe { self.add_outputs(simd, row + r, column, sum) };
            }
        }
    }

    /// # Safety
    /// `x` is the first of `R` rows, `weights` a column's begin, and there is such an input.
    #[inline(always)]
    unsafe fn add_input<S: Simd, const R: usize>(
        &self,
        simd: S,
        x: *const f32,
        weights: *const W,
        input: usize,
        sums: &mut [[S::Vector; 2]; R],
    ) {
        // SAFETY: by this function's contract; a panel has two vectors from the column on.
        unsafe {
            let at = weights.add(input * PANEL);
            let weights = [W::load(simd, at), W::load(simd, at.add(S::LANES))];
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = simd.splat(*x.add(r * self.x_stride + input));
                for v in 0..2 {
                    sums[v] = simd.fma(x, weights[v], sums[v]);
                }
            }
        }
    }

    /// # Safety
    /// The product has this row.
    #[inline(always)]
    unsafe fn add_outputs<S: Simd>(&self, simd: S, row: usize, column: usize, sum: S::Vector) {
        let count = self.outputs.saturating_sub(column).min(S::LANES);
        // SAFETY: the row is there and has `count` outputs from the column on.
        unsafe {
            let at = self.out.add(row * self.out_stride + column.min(self.outputs));
            if count == S::LANES {
                simd.store(at, simd.add(simd.load(at), sum));
            } else {
                let mut sums = [0.0; 16];
                simd.store(sums.as_mut_ptr(), sum);
                for (i, sum) in sums[..count].iter().enumerate() {
                    *at.add(i) += sum;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::with_each_set;
    use super::*;
    use proptest::prelude::*;

    /// Weights that a format can hold, so that all that is left to differ is rounding of the sums.
    fn weights(format: Format, seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed | 1;
        let mut whole = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i32 % 128
        };
        (0..count)
            .map(|_| match format {
                Format::F32 => whole() as f32 / 130.0 + whole() as f32 / 70_000.0,
                _ => whole() as f32 / 128.0,
            })
            .collect()
    }

    fn naive(x: &[f32], weights: &[f32], inputs: usize, out: &mut [f64]) {
        let outputs = weights.len() / inputs;
        for (row, out) in x.chunks(inputs).zip(out.chunks_mut(outputs)) {
            for (w, out) in weights.chunks(inputs).zip(out) {
                *out += w.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            }
        }
    }

    fn check(format: Format, [rows, inputs, outputs]: [usize; 3], seed: u64) {
        let w = weights(format, seed, inputs * outputs);
        let x = weights(Format::F32, seed + 1, rows * inputs);
        let mut packed = Packed::zeros(&Arena::new(0), format, inputs, outputs);
        let split = outputs / 3;
        packed.set(0, &w[..split * inputs]);
        packed.set(split, &w[split * inputs..]);
        let begin = weights(Format::F32, seed + 2, rows * outputs);
        let mut wanted: Vec<f64> = begin.iter().map(|x| f64::from(*x)).collect();
        naive(&x, &w, inputs, &mut wanted);
        // 8 bits round each weight to 1/254 of the largest of its group.
        let rounding = if format == Format::I8 { 0.5 / 127.0 } else { 1e-6 };
        let tolerance = rounding * (inputs as f64).max(1.0);
        with_each_set(|set| {
            let mut out = begin.clone();
            packed.add_product(&x, &mut out);
            for (i, (got, want)) in out.iter().zip(&wanted).enumerate() {
                let off = (f64::from(*got) - want).abs();
                assert!(
                    off <= tolerance,
                    "{set:?} {format:?} {rows}x{inputs}x{outputs}, {i}: {got} for {want}"
                );
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_are_those_of_plain_arithmetic(
            format in prop::sample::select(vec![Format::F32, Format::F16, Format::Bf16, Format::I8]),
            rows in 1usize..30,
            inputs in 1usize..150,
            outputs in 1usize..100,
            seed in 0u64..1000,
        ) {
            check(format, [rows, inputs, outputs], seed);
        }
    }

    #[test]
    fn every_number_of_rows_and_remainder_of_outputs_is_covered() {
        for format in [Format::F32, Format::F16, Format::Bf16, Format::I8] {
            (1..=25).for_each(|rows| check(format, [rows, 37, 70], 3));
            (1..=65).for_each(|outputs| check(format, [3, 5, outputs], 4));
            (4..=14).for_each(|rows| check(format, [rows, 512, 40], 5));
        }
    }

    #[test]
    fn nothing_is_added_for_no_rows() {
        Packed::zeros(&Arena::new(0), Format::F32, 3, 5).add_product(&[], &mut []);
    }

    #[test]
    fn half_precision_is_widened_exactly() {
        let numbers = [1.0, -0.5, 65504.0, 6.1e-5, 5.96e-8, -5.96e-8, 0.0, 0.333_251_95];
        let mut packed = Packed::zeros(&Arena::new(0), Format::F16, 1, numbers.len());
        packed.set(0, &numbers);
        with_each_set(|set| {
            let mut out = [0.0; 8];
            packed.add_product(&[1.0], &mut out);
            assert_eq!(out, numbers.map(|x| f16::from_f32(x).to_f32()), "{set:?}");
        });
    }
}
