//! Reads files that may be anything: a pipe, a device, or far larger than what was ever written there.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use serde::de::DeserializeOwned;

/// The largest document of settings, catalogue entry or cache entry that is read, in bytes.
pub(crate) const DOCUMENT_BYTES: u64 = 1 << 20;

/// Returns a regular file's content, and an error where it is longer than `most` bytes.
pub(crate) fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Without the flag, opening a pipe would wait for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let too_long = || {
        io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {most} bytes"),
        )
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    let length = about.len();
    if length > most {
        return Err(too_long());
    }
    // One more than expected: the read that finds the end then needs no larger buffer.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    // It may grow meanwhile.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_long());
    }
    Ok(bytes)
}

/// Returns a regular file's content as text.
pub(crate) fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(bytes(path, most)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Returns the JSON document at `path`, or `None` where it is absent, too large, malformed or of another shape.
pub(crate) fn json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&bytes(path, DOCUMENT_BYTES).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_may_have_the_most_bytes_and_not_one_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(bytes(&path, 5).unwrap(), b"12345");
        assert_eq!(bytes(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // The length of what the system makes up is given as 0.
        assert_eq!(
            bytes(Path::new("/proc/self/maps"), 100).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert!(bytes(Path::new("/dev/zero"), 100).is_err());
        assert!(bytes(folder.path(), 100).is_err());
    }
}
