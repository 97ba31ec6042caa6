//! How much each path counts in saying what time it is, from how far their estimated offsets lie apart.
//!
//! A constant asymmetry of a path cannot be seen in its own packets, only against other paths. Weights fall to zero
//! for a path far from the others (Tukey's bisquare), and what the rest disagree is what the answer may be wrong.

use super::filter::PATHS;

/// A path so many times further off than the usual one is another matter; one that is nearer may be off by the same
/// chance as all of them, even if the answer does without it.
const STRANGER: f64 = 5.0;

/// What is known of a path's offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opinion {
    /// Estimated offset, s.
    pub(super) offset: f64,
    /// Variance of that estimate, s².
    pub(super) variance: f64,
    /// How exactly the path's floor is known, s.
    pub(super) blur: f64,
}

/// Weights that sum to one over the paths with an opinion, and the variance of their mean (s²).
pub(super) fn consensus(opinions: &[Option<Opinion>; PATHS]) -> ([f64; PATHS], f64) {
    let mut weights = [0.0; PATHS];
    let known = || opinions.iter().flatten();
    let count = known().count();
    if count == 0 {
        return (weights, 0.0);
    }
    let middle = median(known().map(|o| o.offset));
    let mut distances = [0.0; PATHS];
    for (d, o) in distances.iter_mut().zip(known()) {
        *d = (o.offset - middle).abs();
    }
    let distances = &mut distances[..count];
    distances.sort_by(f64::total_cmp);
    let blur = known().map(|o| o.blur).fold(0.0, f64::max);
    let scale = distances[count / 2].max(0.5 * blur).max(2e-5);
    let (mut sum, mut squares, mut spread, mut counted) = (0.0, 0.0, 0.0, 0.0);
    for (weight, opinion) in weights.iter_mut().zip(opinions) {
        if let Some(o) = opinion {
            let u = (o.offset - middle) / (4.0 * scale);
            *weight = (1.0 - u * u).max(0.0).powi(2).max(1e-6);
            sum += *weight;
            squares += *weight * *weight;
            let distance = o.offset - middle;
            let counts = 1.0 / (1.0 + (distance / (STRANGER * scale)).powi(8));
            spread += counts * (distance * distance - o.variance);
            counted += counts;
        }
    }
    weights.iter_mut().for_each(|w| *w /= sum);
    if count == 1 {
        return (weights, 0.0);
    }
    let freedom = (sum * sum / squares - 1.0).max(0.5);
    // What few paths disagree says little of how far they are all off together.
    let caution = 1.0 + 1.3 / (count - 1) as f64;
    (weights, spread.max(0.0) / counted / freedom * caution * caution)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted = [0.0; PATHS];
    let mut count = 0;
    for v in values {
        sorted[count] = v;
        count += 1;
    }
    let sorted = &mut sorted[..count];
    sorted.sort_by(f64::total_cmp);
    0.5 * (sorted[(count - 1) / 2] + sorted[count / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinions(offsets: &[f64]) -> [Option<Opinion>; PATHS] {
        std::array::from_fn(|i| offsets.get(i).map(|&offset| Opinion { offset, variance: 0.0, blur: 1e-5 }))
    }

    #[test]
    fn a_path_far_from_the_majority_does_not_count() {
        let (weights, variance) = consensus(&opinions(&[1e-5, -1e-5, 0.0, 5e-3]));
        assert!(weights[3] < 1e-5 && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(variance.sqrt() < 2e-5);
    }

    #[test]
    fn paths_that_disagree_widen_the_answer() {
        let (_, variance) = consensus(&opinions(&[1e-3, -1e-3, 0.4e-3, -0.7e-3]));
        assert!(variance.sqrt() > 3e-4);
    }

    #[test]
    fn one_path_has_nobody_to_disagree_with() {
        assert_eq!(consensus(&opinions(&[2e-3])).1, 0.0);
        assert_eq!(consensus(&opinions(&[])).0, [0.0; PATHS]);
    }
}
