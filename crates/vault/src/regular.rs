//! Reads small files that a person or another program may have replaced by something else.
//!
//! A FIFO in the place of a note would make a plain open wait for ever, and a device never ends. So this opens
//! without blocking, takes only a regular file, and reads a bounded number of bytes. Links are followed: a person
//! may keep a file elsewhere.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The most bytes of a note, a key file, a kit or a list of a workspace. The largest has some hundred bytes a line.
pub const SMALL: u64 = 16 << 20;

/// The paths of open descriptors. They are pipes that a person means to be read.
const DESCRIPTORS: [&str; 3] = ["/dev/stdin", "/dev/fd/", "/proc/self/fd/"];

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// It cannot be opened, is no regular file, or is larger. A path of an open descriptor may lead to a pipe.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, meta) = open(path)?;
    let too_large = |len: u64| {
        let why = format!("it has {len} bytes; at most {most} are read");
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    };
    if meta.len() > most {
        return too_large(meta.len());
    }
    let mut bytes = Vec::new();
    // One byte more than allowed shows that the file grew, or that a pipe has more.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        len if len > most => too_large(len),
        _ => Ok(bytes),
    }
}

/// Reads a whole text as [`read`] does.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Opens a file for reading, and does not wait for a process at its other end.
///
/// # Errors
/// It cannot be opened, or is no regular file. A path of an open descriptor may lead to a pipe.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    if is_descriptor(path) {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        return Ok((file, meta));
    }
    // An open may have an effect on a device.
    check(&std::fs::metadata(path)?)?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // The path may lead to something else by now.
    let meta = file.metadata()?;
    check(&meta)?;
    Ok((file, meta))
}

/// Returns whether a path names an open descriptor of this process.
pub fn is_descriptor(path: &Path) -> bool {
    let path = path.to_string_lossy();
    DESCRIPTORS.iter().any(|name| path.starts_with(name))
}

/// Returns what something is; none for a regular file.
pub fn other_than_a_file(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a folder"),
        () if kind.is_fifo() => Some("a named pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

fn check(meta: &Metadata) -> io::Result<()> {
    match other_than_a_file(meta) {
        None => Ok(()),
        Some(what) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("it is {what}, not a file"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode};

    use super::*;

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read_and_nothing_is_waited_for() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        std::fs::write(path("note"), "four").unwrap();
        std::os::unix::fs::symlink("note", path("link")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let huge = File::create(path("huge")).unwrap();
        huge.set_len(60 << 30).unwrap();

        assert_eq!(read(&path("note"), 4).unwrap(), b"four");
        assert_eq!(read_text(&path("link"), 4).unwrap(), "four");
        for (name, why) in [
            ("folder", "a folder"),
            ("fifo", "a named pipe"),
            ("socket", "a socket"),
            ("huge", "at most 4 are read"),
        ] {
            let error = read(&path(name), 4).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        assert_eq!(
            read(&path("none"), 4).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(
            read(Path::new("/dev/zero"), 4)
                .unwrap_err()
                .to_string()
                .contains("a device")
        );
    }
}
