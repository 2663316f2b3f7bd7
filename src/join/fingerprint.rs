//! Fingerprints of ids.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// 128 bits that stand for (model, id). At 10⁸ pending ids a false match has a chance of 10⁻²² a lookup.
pub type Fingerprint = u128;

/// Fingerprints with a key of the deployment, so that nobody can craft ids that collide.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprinter(SipHasher13);

impl Fingerprinter {
    /// With the deployment's key.
    pub fn new(key: &[u8; 16]) -> Fingerprinter {
        Fingerprinter(SipHasher13::new_with_key(key))
    }

    /// The fingerprint of an id, within a model if labels name theirs.
    pub fn of(&self, model: Option<&str>, id: &str) -> Fingerprint {
        let mut hasher = self.0;
        hasher.write(model.unwrap_or_default().as_bytes());
        hasher.write_u8(0xff);
        hasher.write(id.as_bytes());
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Snapshots hold fingerprints: they must stay what they are.
    #[test]
    fn fingerprints_stay_what_they_are() {
        let fingerprinter = Fingerprinter::new(b"0123456789abcdef");
        assert_eq!(fingerprinter.of(Some("eta"), "trip-1"), 0x7354_9965_2cde_e2d0_09d2_24b5_0fae_28a3);
        assert_eq!(fingerprinter.of(None, "trip-1"), 0xaa27_67fd_8875_db54_64f8_07ae_89b3_c687);
        assert_eq!(fingerprinter.of(Some("m"), &"x".repeat(300)), 0x7fa7_da8b_5c7f_0079_95e8_700e_1b30_a815);
    }
}
