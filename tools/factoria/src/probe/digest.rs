//! Identities as measures: 48 bits of a BLAKE3, which an f64 holds exactly.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use walkdir::WalkDir;

/// The longest file whose content enters a digest; of a longer one the beginning and the length do. The files of a
/// generated system are shorter, and a sparse file of any length costs no more than this.
const LONGEST: u64 = 128 << 20;
/// Bits that are kept: below the 53 that an f64 holds exactly.
const BITS: u32 = 48;

/// A digest in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    /// Adds bytes with their length, so that what is next to them does not run into them.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Returns the measure.
    pub(crate) fn value(&self) -> f64 {
        Self::short(self.0.finalize().as_bytes())
    }

    /// Returns the measure that stands for a whole hash: its first 48 bits, as a big-endian integer.
    pub(crate) fn short(hash: &[u8; 32]) -> f64 {
        let bits = hash[..BITS as usize / 8]
            .iter()
            .fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        bits as f64
    }

    /// Returns the measure of all regular files below a folder, by path and content, and of its links and folders by
    /// name. The manifest is left out: it is about them. A folder that is not there has 0.
    pub(crate) fn of_folder(base: &Path) -> f64 {
        if !fs::symlink_metadata(base).is_ok_and(|about| about.is_dir()) {
            return 0.0;
        }
        let mut digest = Self::default();
        for entry in WalkDir::new(base).min_depth(1).sort_by_file_name() {
            let Ok(entry) = entry else {
                digest.add(b"unreadable");
                continue;
            };
            let path = entry.path().strip_prefix(base).unwrap_or(entry.path());
            if path == Path::new(crate::layout::MANIFEST) {
                continue;
            }
            digest.add(path.as_os_str().as_encoded_bytes());
            if entry.file_type().is_file() {
                digest.add_file(entry.path());
            }
        }
        digest.value()
    }

    fn add_file(&mut self, path: &Path) {
        let mut length = 0;
        let read = File::open(path).and_then(|file| {
            length = file.metadata()?.len();
            self.0.update_reader(file.take(LONGEST)).map(|_| ())
        });
        // After the content, and never the same for a file that could not be read.
        self.add(&length.to_le_bytes());
        self.add(&[u8::from(read.is_ok())]);
    }
}
