//! Random numbers that are the same on every machine: xoshiro256++ (Blackman and Vigna 2021, doi:10.1145/3460772),
//! one independent stream per part of a world, and transforms that use only [`libm`], never the platform's.

/// A stream of random numbers, decided by a seed and the name of what it is for.
///
/// A part of a world that is added or that draws more often does not change what any other part draws.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    pub(crate) fn new(seed: u64, stream: &str) -> Random {
        // FNV-1a spreads the name; SplitMix64, as the authors of xoshiro ask, fills the state.
        let name = stream
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut x = seed.wrapping_mul(0xd134_2543_de82_ef95) ^ name;
        let state = std::array::from_fn(|_| {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        });
        Random { state }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [−1, 1).
    pub(crate) fn signed(&mut self) -> f64 {
        2.0 * self.uniform() - 1.0
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    /// Standard normal (Marsaglia's polar method).
    pub(crate) fn normal(&mut self) -> f64 {
        loop {
            let (u, v) = (self.signed(), self.signed());
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                return u * (-2.0 * libm::log(s) / s).sqrt();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, variance and kurtosis of many draws.
    fn moments(draw: impl FnMut(&mut Random) -> f64) -> (f64, f64, f64) {
        let (mut rng, mut draw) = (Random::new(1, "moments"), draw);
        let x: Vec<f64> = (0..200_000).map(|_| draw(&mut rng)).collect();
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let m2 = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let m4 = x.iter().map(|v| (v - mean).powi(4)).sum::<f64>() / n;
        (mean, m2, m4 / (m2 * m2))
    }

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of the reference implementation from the state 1, 2, 3, 4.
        let mut rng = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| rng.bits()).collect();
        assert_eq!(first, [41943041, 58720359, 3588806011781223, 3591011842654386]);
    }

    #[test]
    fn draws_have_their_moments() {
        let near = |(a, b, c): (f64, f64, f64), want: [f64; 3], tol: [f64; 3]| {
            for (got, (want, tol)) in [a, b, c].into_iter().zip(want.into_iter().zip(tol)) {
                assert!((got - want).abs() < tol, "{got} not {want}");
            }
        };
        near(moments(Random::uniform), [0.5, 1.0 / 12.0, 1.8], [0.004, 0.002, 0.02]);
        near(moments(Random::exponential), [1.0, 1.0, 9.0], [0.01, 0.03, 0.9]);
        near(moments(Random::normal), [0.0, 1.0, 3.0], [0.01, 0.015, 0.06]);
    }

    #[test]
    fn streams_differ_by_seed_and_by_name() {
        let first = |seed, name| Random::new(seed, name).bits();
        assert_eq!(first(7, "path 0"), first(7, "path 0"));
        assert_ne!(first(7, "path 0"), first(8, "path 0"));
        assert_ne!(first(7, "path 0"), first(7, "path 1"));
    }
}
