//! Chance for the demo's traffic: small, seeded, the same everywhere. Not for secrets.

use std::f64::consts::TAU;

/// `SplitMix64` (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `(0, 1)`.
    pub(super) fn uniform(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let bits = (self.bits() >> 11) as f64;
        (bits + 0.5) / (1_u64 << 53) as f64
    }

    /// Whether something of probability `share` happens.
    pub(super) fn happens(&mut self, share: f64) -> bool {
        self.uniform() < share
    }

    /// Normal (Box and Muller 1958, "A note on the generation of random normal deviates").
    pub(super) fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        mean + deviation * radius * (TAU * self.uniform()).cos()
    }

    /// Lognormal, by its median and the deviation of its logarithm: heavy to the right.
    pub(super) fn lognormal(&mut self, median: f64, deviation: f64) -> f64 {
        median * self.normal(0.0, deviation).exp()
    }

    /// One of `choices`, each with its share; the shares add up to one.
    pub(super) fn one_of(&mut self, choices: &[(&'static str, f64)]) -> &'static str {
        let mut left = self.uniform();
        for (choice, share) in choices {
            left -= share;
            if left < 0.0 {
                return choice;
            }
        }
        choices.last().map_or("", |(choice, _)| choice)
    }
}
