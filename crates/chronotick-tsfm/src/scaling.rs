//! What surrounds the networks: cutting a series to its newest values, normalising it, filling its gaps, and reading
//! quantiles off sorted values. Sums over a series are in `f64`, so that a constant series has exactly no spread.

/// The newest `length` values, as the models take them.
pub(crate) fn newest(values: &[f64], length: usize) -> Vec<f32> {
    values[values.len().saturating_sub(length)..].iter().map(|value| *value as f32).collect()
}

/// The series from its first observed value on, with a straight line across every gap and the last value held; `None`
/// where nothing is observed.
pub(crate) fn fill_gaps(values: &[f64]) -> Option<Vec<f64>> {
    let first = values.iter().position(|value| !value.is_nan())?;
    let mut filled = values[first..].to_vec();
    let mut last = 0;
    for i in 1..filled.len() {
        if filled[i].is_nan() {
            continue;
        }
        let (from, step) = (filled[last], (filled[i] - filled[last]) / (i - last) as f64);
        for (ahead, value) in filled[last + 1..i].iter_mut().enumerate() {
            *value = from + step * (ahead + 1) as f64;
        }
        last = i;
    }
    let held = filled[last];
    filled[last..].fill(held);
    Some(filled)
}

/// The series with the last value held across every gap, and 0 before the first.
pub(crate) fn fill_forward(values: &[f64]) -> Vec<f64> {
    let hold = |last: &mut f64, value: &f64| {
        *last = if value.is_nan() { *last } else { *value };
        Some(*last)
    };
    values.iter().scan(0.0, hold).collect()
}

/// Location and scale of one series over its observed values.
#[derive(Clone, Copy)]
pub(crate) struct Instance {
    location: f32,
    scale: f32,
}

impl Instance {
    /// Mean and population deviation; 0 and 1 where nothing is observed, a deviation of 10⁻⁵ where it is exactly 0.
    pub(crate) fn of(values: &[f32]) -> Self {
        let observed = || values.iter().filter(|value| !value.is_nan()).map(|value| f64::from(*value));
        let count = observed().count() as f64;
        if count == 0.0 {
            return Self { location: 0.0, scale: 1.0 };
        }
        let mean = observed().sum::<f64>() / count;
        let deviation = (observed().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt() as f32;
        Self { location: mean as f32, scale: if deviation == 0.0 { 1e-5 } else { deviation } }
    }

    pub(crate) fn apply(self, value: f32) -> f32 {
        (value - self.location) / self.scale
    }

    pub(crate) fn undo(self, z: f32) -> f32 {
        z * self.scale + self.location
    }
}

/// Where a fractional rank falls among sorted values, linear between neighbours.
pub(crate) fn at_rank(sorted: &[f64], rank: f64) -> f64 {
    let below = (rank.max(0.0) as usize).min(sorted.len() - 1);
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (rank - below as f64).clamp(0.0, 1.0)
}

/// The line through `knots` (ascending) and `values`, flat outside of them.
pub(crate) fn interpolate(knots: &[f64], values: &[f64], x: f64) -> f64 {
    let above = knots.partition_point(|knot| *knot < x);
    if above == 0 {
        return values[0];
    }
    if above == knots.len() {
        return values[above - 1];
    }
    let share = (x - knots[above - 1]) / (knots[above] - knots[above - 1]);
    values[above - 1] + (values[above] - values[above - 1]) * share
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observed_or_not() -> impl Strategy<Value = f64> {
        prop_oneof![3 => -1e6..1e6f64, 1 => Just(f64::NAN)]
    }

    proptest! {
        #[test]
        fn filling_keeps_what_is_observed_and_leaves_no_gap(values in prop::collection::vec(observed_or_not(), 0..40)) {
            let first = values.iter().position(|value| !value.is_nan());
            let filled = fill_gaps(&values);
            prop_assert_eq!(filled.is_some(), first.is_some());
            for (was, is) in values.iter().skip(first.unwrap_or(0)).zip(filled.unwrap_or_default()) {
                prop_assert!(is.is_finite() && (was.is_nan() || *was == is));
            }
        }

        #[test]
        fn ranks_and_lines_rise_and_stay_within_the_values(
            mut values in prop::collection::vec(-1e6..1e6f64, 1..30),
            (a, b) in (-0.5..1.5f64, -0.5..1.5f64),
        ) {
            values.sort_by(f64::total_cmp);
            let (low, high) = (a.min(b), a.max(b));
            let last = (values.len() - 1) as f64;
            let knots: Vec<f64> = (0..values.len()).map(|i| i as f64 / last.max(1.0)).collect();
            let within = values[0] - 1e-6..=values[values.len() - 1] + 1e-6;
            for read in [&|x: f64| at_rank(&values, x * last), &|x: f64| interpolate(&knots, &values, x)] as [&dyn Fn(f64) -> f64; 2] {
                prop_assert!(read(low) <= read(high) + 1e-6);
                prop_assert!(within.contains(&read(low)) && within.contains(&read(high)));
            }
        }

        #[test]
        fn normalising_is_undone(values in prop::collection::vec(-1e3..1e3f32, 1..40)) {
            let norm = Instance::of(&values);
            for value in values {
                prop_assert!((norm.undo(norm.apply(value)) - value).abs() <= 1e-3);
            }
        }
    }

    #[test]
    fn a_constant_series_has_the_least_scale_and_nothing_observed_has_one() {
        let constant = Instance::of(&[0.1; 100]);
        assert_eq!((constant.location, constant.scale), (0.1, 1e-5));
        let nothing = Instance::of(&[f32::NAN; 3]);
        assert_eq!((nothing.location, nothing.scale), (0.0, 1.0));
        let gap = Instance::of(&[1.0, f32::NAN, 3.0]);
        assert_eq!((gap.apply(3.0), gap.undo(-1.0)), (1.0, 1.0));
    }

    #[test]
    fn gaps_are_bridged_and_the_end_is_held() {
        let gap = f64::NAN;
        let filled = fill_gaps(&[gap, 1.0, gap, gap, 4.0, 2.0, gap]);
        assert_eq!(filled, Some(vec![1.0, 2.0, 3.0, 4.0, 2.0, 2.0]));
        assert_eq!(fill_gaps(&[gap, 7.0]), Some(vec![7.0]));
        assert_eq!(fill_gaps(&[gap, gap]), None);
    }

    #[test]
    fn interpolation_is_exact_at_the_knots_and_flat_outside() {
        let (knots, values) = ([0.1, 0.5, 0.9], [3.0, 1.0, 2.0]);
        let read = |x| interpolate(&knots, &values, x);
        assert_eq!([0.0, 0.1, 0.5, 0.9, 1.0].map(read), [3.0, 3.0, 1.0, 2.0, 2.0]);
        assert!((read(0.3) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn ranks_interpolate_and_end_at_the_ends() {
        let sorted = [1.0, 2.0, 4.0];
        assert_eq!(
            [-1.0, 0.0, 0.5, 1.5, 2.0, 9.0].map(|r| at_rank(&sorted, r)),
            [1.0, 1.0, 1.5, 3.0, 4.0, 4.0]
        );
    }
}
