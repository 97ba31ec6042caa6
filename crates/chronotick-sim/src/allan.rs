//! The Allan deviation: how much a clock's frequency, averaged over τ, changes from one τ to the next (IEEE 1139).

/// The overlapping Allan deviation at τ = `step` · `every` of phases (s) that are `step` seconds apart; `None` of fewer
/// than three τ.
pub fn deviation(phase: &[f64], step: f64, every: usize) -> Option<f64> {
    let count = phase.len().checked_sub(2 * every).filter(|&n| n > 0 && every > 0)?;
    let sum: f64 = (0..count)
        .map(|i| {
            let second_difference = phase[i + 2 * every] - 2.0 * phase[i + every] + phase[i];
            second_difference * second_difference
        })
        .sum();
    let tau = step * every as f64;
    Some((sum / (2.0 * tau * tau * count as f64)).sqrt())
}

/// The deviation at octaves of τ, as (τ in seconds, deviation), as far as the record is eight τ long.
pub fn curve(phase: &[f64], step: f64) -> Vec<(f64, f64)> {
    std::iter::successors(Some(1usize), |n| n.checked_mul(2))
        .take_while(|n| 8 * n <= phase.len())
        .filter_map(|n| Some((step * n as f64, deviation(phase, step, n)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_drift_has_its_known_deviation() {
        // x = D t²/2 has a second difference of D τ² everywhere.
        let x: Vec<f64> = (0..100).map(|t| 1e-9 * f64::from(t * t) / 2.0).collect();
        let got = deviation(&x, 1.0, 10).unwrap();
        assert!((got / (1e-9 * 10.0 / 2f64.sqrt()) - 1.0).abs() < 1e-9);
        assert_eq!(deviation(&x, 1.0, 50), None);
        assert_eq!(curve(&x, 10.0).last().unwrap().0, 80.0);
    }
}
