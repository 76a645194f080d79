//! Seeded randomness, and prose that compresses like real prose.
//!
//! A backup of text that repeats itself would show marvellous ratios that nobody gets with real data. So each
//! text is drawn from a vocabulary of several thousand words ([`vocabulary`]), sentence by sentence, from its own
//! stream of random numbers: no two texts share a passage, and zstd gets about the factor it gets on prose.

mod words;

pub use words::vocabulary;

/// A stream of random numbers (splitmix64, by Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Returns the stream that belongs to `name` under `seed`; streams of different names are unrelated.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("rekindle-factoria 2026 stream of a name");
        hasher.update(&seed.to_le_bytes());
        hasher.update(name.as_bytes());
        let mut first = [0_u8; 8];
        hasher.finalize_xof().fill(&mut first);
        Self(u64::from_le_bytes(first))
    }

    /// Returns the next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`, or 0 for a limit of 0. The bias of the multiplication is below 2⁻³² for
    /// every limit used here.
    pub fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(limit);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Returns a number below `limit`, for indices.
    pub fn below_usize(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or(0)
    }

    /// Returns one of the items; the slice must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below_usize(items.len())]
    }

    /// Returns a number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Fills `bytes` with random ones.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let bits = self.bits().to_le_bytes();
            part.copy_from_slice(&bits[..part.len()]);
        }
    }
}

/// A writer of prose.
#[derive(Clone, Debug)]
pub struct Prose {
    rng: Rng,
}

impl Prose {
    /// Returns the writer of the text `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        Self {
            rng: Rng::new(seed, name),
        }
    }

    /// Returns the stream behind the words, for choices between them.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Appends one word.
    pub fn word(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.rng.pick(vocabulary()).as_bytes());
    }

    /// Appends a sentence of 6 to 21 words, ending in a full stop or question mark.
    pub fn sentence(&mut self, out: &mut Vec<u8>) {
        let words = vocabulary();
        let start = out.len();
        let mut bits = self.rng.bits();
        let count = 6 + (bits & 15);
        let comma = (bits >> 4) & 15;
        let end = if (bits >> 8) & 15 == 0 { b'?' } else { b'.' };
        for index in 0..count {
            // Four picks of 13 bits from one draw: the vocabulary holds 2^13 words.
            if index % 4 == 0 {
                bits = self.rng.bits();
            }
            let word = &words[(bits & (words.len() as u64 - 1)) as usize];
            bits >>= 13;
            if index > 0 {
                if index == comma {
                    out.push(b',');
                }
                out.push(b' ');
            }
            out.extend_from_slice(word.as_bytes());
        }
        out[start].make_ascii_uppercase();
        out.push(end);
    }

    /// Appends a paragraph of 3 to 6 sentences.
    pub fn paragraph(&mut self, out: &mut Vec<u8>) {
        for index in 0..3 + self.rng.below(4) {
            if index > 0 {
                out.push(b' ');
            }
            self.sentence(out);
        }
    }

    /// Appends a title of 2 to 5 words, each capitalised.
    pub fn title(&mut self, out: &mut Vec<u8>) {
        for index in 0..2 + self.rng.below(4) {
            if index > 0 {
                out.push(b' ');
            }
            let start = out.len();
            self.word(out);
            out[start].make_ascii_uppercase();
        }
    }

    /// Returns a title as text.
    pub fn title_text(&mut self) -> String {
        let mut out = Vec::new();
        self.title(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Returns a sentence as text.
    pub fn sentence_text(&mut self) -> String {
        let mut out = Vec::new();
        self.sentence(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Returns a paragraph as text.
    pub fn paragraph_text(&mut self) -> String {
        let mut out = Vec::new();
        self.paragraph(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}
