//! What keeping weights in fewer bits does to forecasts: they move, and not far.

use std::path::Path;

use chronotick_tsfm::{Forecaster, Precision, Task};

/// The largest move of a point forecast, as a share of the series' spread of 1.
fn largest_move(name: &str, precision: Precision) -> f64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let series: Vec<f64> = (0..64).map(|i| 2f64.sqrt() * (f64::from(i) * 0.3).sin()).collect();
    let points = |precision| {
        let model =
            Forecaster::open_with(&folder, precision).unwrap_or_else(|error| panic!("{name}: {error}"));
        let horizon = model.abilities().horizon.min(16);
        let forecasts = model.forecast(&[Task::from(series.clone())], horizon, &[]);
        forecasts.unwrap_or_else(|error| panic!("{name}: {error}"))[0][0].point.clone()
    };
    let (stored, rounded) = (points(Precision::Stored), points(precision));
    stored.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn forecasts_move_by_less_than_a_hundredth_at_16_bits_and_a_tenth_at_8() {
    for name in ["chronos-bolt", "chronos-2", "timesfm-2.5", "timesfm-2.0", "ttm", "toto"] {
        let (half, eight) = (largest_move(name, Precision::Half), largest_move(name, Precision::Eight));
        assert!(half > 0.0 && half < 0.01, "{name}: {half} at 16 bits");
        assert!(eight > half && eight < 0.1, "{name}: {eight} at 8 bits");
    }
}

#[test]
fn weights_stored_in_16_bits_lose_nothing_at_16() {
    assert_eq!(largest_move("time-moe", Precision::Half), 0.0);
    let eight = largest_move("time-moe", Precision::Eight);
    assert!(eight > 0.0 && eight < 0.1, "{eight} at 8 bits");
}
