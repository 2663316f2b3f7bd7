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
