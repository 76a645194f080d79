//! Damages files. Done twice, a damage is still one: no change takes an earlier one back.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rekindle_model::failure::Failure;
use rekindle_model::scenario::How;
use rustix::fs::OFlags;

use crate::failures;

/// What the names of encrypted files end with.
const LOCKED: &str = ".locked";
/// What they end with while they are written.
const PART: &str = ".locked-part";
/// At most so many bytes of a file are changed.
const MOST_CHANGES: u64 = 8;
/// How much of a file is read to find something that can be changed without notice.
const WINDOW: usize = 64 << 10;

/// What was done to files.
#[derive(Debug, Default)]
pub(crate) struct Harm {
    /// The files, by their earlier names.
    pub(crate) files: Vec<PathBuf>,
    /// Bytes deleted, changed or encrypted.
    pub(crate) bytes: u64,
}

impl Harm {
    /// Returns the first of the files, relative to a folder.
    pub(crate) fn named(&self, below: &Path, most: usize) -> Vec<String> {
        let relative = |file: &PathBuf| file.strip_prefix(below).unwrap_or(file).display().to_string();
        self.files.iter().take(most).map(relative).collect()
    }
}

/// Returns whether a path is a file that can be damaged so. A link is followed nowhere.
pub(crate) fn can_be_damaged(path: &Path, how: How) -> bool {
    let Ok(found) = path.symlink_metadata() else {
        return false;
    };
    match how {
        How::Delete => true,
        How::Encrypt => found.is_file() && !path.as_os_str().as_bytes().ends_with(LOCKED.as_bytes()),
        How::Corrupt | How::Tamper => found.is_file() && found.len() > 0,
    }
}

/// Returns `count` of the files, chosen by the seed, in their order.
pub(crate) fn sample(files: Vec<PathBuf>, below: &Path, count: u32, seed: u64) -> Vec<PathBuf> {
    let mut ranked: Vec<(u64, PathBuf)> = files
        .into_iter()
        .map(|file| (Dice::of(seed, &file, below).next(), file))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let mut chosen: Vec<PathBuf> = ranked.into_iter().map(|(_, file)| file).collect();
    chosen.sort_unstable();
    chosen
}

/// Damages files below a folder, and nowhere else. One that an earlier attempt has already removed counts as damaged.
pub(crate) fn damage(files: &[PathBuf], below: &Path, how: How, seed: u64) -> Result<Harm, Failure> {
    let mut harm = Harm::default();
    for file in files {
        // An earlier damage may have made a folder on the way a link to elsewhere.
        let above = file.parent().unwrap_or(file);
        match (above.canonicalize(), below.canonicalize()) {
            (Ok(real), Ok(below)) if real.starts_with(&below) => {}
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {}
            (Err(error), _) | (_, Err(error)) => {
                return Err(failures::io(&above.display().to_string(), &error));
            }
            (Ok(_), Ok(_)) => {
                let message = format!("{} leads out of the sandbox", above.display());
                return Err(Failure::permanent("leaves_sandbox", message)
                    .with_hint("let no damage make links that lead elsewhere"));
            }
        }
        let dice = Dice::of(seed, file, below);
        let done = match how {
            How::Delete => delete(file),
            How::Corrupt => change(file, dice, corrupted),
            How::Tamper => change(file, dice, tampered),
            How::Encrypt => encrypt(file, dice),
        };
        match done {
            Ok(bytes) => harm.bytes += bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failures::io(&file.display().to_string(), &error)),
        }
        harm.files.push(file.clone());
    }
    Ok(harm)
}

fn delete(file: &Path) -> io::Result<u64> {
    let found = file.symlink_metadata()?;
    match found.is_dir() {
        true => fs::remove_dir_all(file)?,
        false => fs::remove_file(file)?,
    }
    Ok(found.len())
}

/// Places in a window, and their new bytes.
type Changes = Vec<(usize, u8)>;

/// Changes some bytes of a file in their place, and returns how many.
fn change(file: &Path, mut dice: Dice, changed: fn(&[u8], &mut Dice) -> Changes) -> io::Result<u64> {
    let mode = file.symlink_metadata()?.permissions();
    let opened = writable(file, &mode)?;
    let length = opened.metadata()?.len();
    let from = dice.below(length.saturating_sub(WINDOW as u64) + 1);
    let mut window = Vec::new();
    let mut reader = &opened;
    reader.seek(SeekFrom::Start(from))?;
    reader.take(WINDOW as u64).read_to_end(&mut window)?;
    let changes = changed(&window, &mut dice);
    for (at, byte) in &changes {
        opened.write_all_at(&[*byte], from + *at as u64)?;
    }
    fs::set_permissions(file, mode)?;
    Ok(changes.len() as u64)
}

/// Opens a file to change it, also one that says it is only to be read. It follows no link.
fn writable(file: &Path, mode: &Permissions) -> io::Result<File> {
    let open = || {
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(no_link)
            .open(file)
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(file, Permissions::from_mode(mode.mode() | 0o600))?;
            open()
        }
        opened => opened,
    }
}

/// Adds an odd number to each of a few bytes. Added again, it does not give the old byte.
fn corrupted(window: &[u8], dice: &mut Dice) -> Changes {
    let most = MOST_CHANGES.min(window.len() as u64);
    let mut changes: Changes = (0..=dice.below(most))
        .map(|_| {
            let at = dice.index(window.len());
            (at, window[at].wrapping_add(dice.odd(128)))
        })
        .collect();
    changes.sort_unstable();
    changes.dedup_by_key(|(at, _)| *at);
    changes
}

/// Makes a digit another digit; without digits, a letter another letter; without either, a byte another byte.
fn tampered(window: &[u8], dice: &mut Dice) -> Changes {
    let those = |wanted: fn(&u8) -> bool| -> Vec<usize> {
        let found = window.iter().enumerate().filter(|(_, byte)| wanted(byte));
        found.map(|(at, _)| at).collect()
    };
    let digits = those(u8::is_ascii_digit);
    let letters = those(u8::is_ascii_lowercase);
    let (places, first, of) = match (digits.is_empty(), letters.is_empty()) {
        (false, _) => (digits, b'0', 10),
        (true, false) => (letters, b'a', 26),
        (true, true) => return corrupted(window, dice),
    };
    let at = places[dice.index(places.len())];
    // An odd number below 10 or 26 that is no multiple of 5 or 13 leads back only after 10 or 26 times.
    let step = [1, 3, 7, 9][dice.index(4)];
    vec![(at, first + (window[at] - first + step) % of)]
}

/// Writes a file encrypted beside itself, and removes it. The key is gone with the seed.
fn encrypt(file: &Path, dice: Dice) -> io::Result<u64> {
    let mode = file.symlink_metadata()?.permissions();
    let beside = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (locked, part) = (beside(LOCKED), beside(PART));
    let mut reader = BufReader::new(writable(file, &mode)?);
    // What an earlier attempt has left, or a link that has this name by chance.
    if part.symlink_metadata().is_ok() {
        fs::remove_file(&part)?;
    }
    let mut writer = BufWriter::new(File::create_new(&part)?);
    let (mut plain, mut stream) = (vec![0; WINDOW], vec![0; WINDOW]);
    let mut keys = dice.stream;
    let mut bytes = 0;
    loop {
        let read = reader.read(&mut plain)?;
        if read == 0 {
            break;
        }
        keys.fill(&mut stream[..read]);
        let sealed: Vec<u8> = plain[..read]
            .iter()
            .zip(&stream)
            .map(|(one, key)| one ^ key)
            .collect();
        writer.write_all(&sealed)?;
        bytes += read as u64;
    }
    writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::set_permissions(&part, mode)?;
    fs::rename(&part, &locked)?;
    fs::remove_file(file)?;
    Ok(bytes)
}

/// Numbers that follow from a seed and a path.
struct Dice {
    stream: blake3::OutputReader,
}

impl Dice {
    fn of(seed: u64, path: &Path, below: &Path) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        // The sandbox has another name in each drill.
        let relative = path.strip_prefix(below).unwrap_or(path);
        hasher.update(relative.as_os_str().as_bytes());
        let stream = hasher.finalize_xof();
        Self { stream }
    }

    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.stream.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// Returns an odd number below a limit.
    fn odd(&mut self, limit: u64) -> u8 {
        u8::try_from(self.below(limit / 2) * 2 + 1).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a folder with files of text, of a program and of nothing.
    fn folder() -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("a.json", b"{\"grade\": 4, \"words\": 1200}".to_vec()),
            ("b.txt", b"only letters here".to_vec()),
            ("c.bin", vec![0xff; 100_000]),
        ];
        let write = |(name, content): (&str, Vec<u8>)| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let paths = files.map(write).to_vec();
        (folder, paths)
    }

    fn read(files: &[PathBuf]) -> Vec<Vec<u8>> {
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn each_damage_changes_every_file_also_when_it_is_done_twice() {
        for how in [How::Corrupt, How::Tamper] {
            let (root, files) = folder();
            let before = read(&files);
            for _ in 0..3 {
                let harm = damage(&files, root.path(), how, 7).unwrap();
                assert_eq!(harm.files.len(), 3);
                assert!((3..=24).contains(&harm.bytes), "{how:?}: {}", harm.bytes);
                for ((old, new), file) in before.iter().zip(read(&files)).zip(&files) {
                    assert_ne!(*old, new, "{how:?} {}", file.display());
                    assert_eq!(old.len(), new.len(), "{how:?} {}", file.display());
                }
            }
        }
    }

    #[test]
    fn tampered_text_is_still_text_of_the_same_form() {
        let (root, files) = folder();
        damage(&files, root.path(), How::Tamper, 7).unwrap();
        let now = read(&files);
        let json: serde_json::Value = serde_json::from_slice(&now[0]).unwrap();
        assert!(json["grade"].is_u64() && json["words"].is_u64(), "{json}");
        assert!(
            now[1]
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || *byte == b' ')
        );
    }

    #[test]
    fn encrypted_files_have_other_names_and_are_as_long() {
        let (folder, files) = folder();
        let before = read(&files);
        let harm = damage(&files, folder.path(), How::Encrypt, 7).unwrap();
        assert_eq!(harm.bytes, before.iter().map(|old| old.len() as u64).sum::<u64>());
        let again = damage(&files, folder.path(), How::Encrypt, 7).unwrap();
        assert_eq!(again.bytes, 0, "an earlier attempt did it");
        for (old, file) in before.iter().zip(&files) {
            assert!(!file.exists());
            let locked = fs::read(format!("{}.locked", file.display())).unwrap();
            assert_eq!(locked.len(), old.len());
            assert_ne!(locked, *old);
        }
        let left: Vec<PathBuf> = fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        assert!(left.iter().all(|file| !can_be_damaged(file, How::Encrypt)));
    }

    #[test]
    fn a_seed_chooses_the_same_files_in_everyroot() {
        let names = |(folder, files): (tempfile::TempDir, Vec<PathBuf>), seed| {
            let chosen = sample(files, folder.path(), 2, seed);
            Harm {
                files: chosen,
                bytes: 0,
            }
            .named(folder.path(), 9)
        };
        assert_eq!(names(folder(), 3), names(folder(), 3));
        let other: std::collections::BTreeSet<_> = (0..20).map(|seed| names(folder(), seed)).collect();
        assert_eq!(other.len(), 3, "every pair of the three is chosen by some seed");
    }

    #[test]
    fn a_file_that_says_it_is_only_to_be_read_is_damaged_and_says_so_still() {
        let (root, files) = folder();
        fs::set_permissions(&files[0], Permissions::from_mode(0o400)).unwrap();
        let before = read(&files);
        damage(&files, root.path(), How::Corrupt, 1).unwrap();
        assert_ne!(read(&files)[0], before[0]);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o400);
    }

    #[test]
    fn a_folder_that_became_a_link_to_elsewhere_is_not_entered() {
        let (root, _) = folder();
        let (elsewhere, files) = folder();
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("sub")).unwrap();
        let before = read(&files);
        for how in [How::Delete, How::Corrupt, How::Tamper, How::Encrypt] {
            let failure = damage(&[root.path().join("sub/a.json")], root.path(), how, 1).unwrap_err();
            assert_eq!(failure.code, "leaves_sandbox", "{how:?}");
        }
        assert_eq!(read(&files), before);
    }

    #[test]
    fn a_link_with_the_name_of_an_encrypted_file_is_not_written_through() {
        let (root, files) = folder();
        let (elsewhere, others) = folder();
        for end in [LOCKED, PART] {
            let link = format!("{}{end}", files[0].display());
            std::os::unix::fs::symlink(&others[0], link).unwrap();
        }
        let before = read(&others);
        damage(&files[..1], root.path(), How::Encrypt, 1).unwrap();
        assert_eq!(read(&others), before);
        drop(elsewhere);
    }

    #[test]
    fn a_link_is_not_followed() {
        let (folder, files) = folder();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&files[0], &link).unwrap();
        for how in [How::Corrupt, How::Tamper, How::Encrypt] {
            assert!(!can_be_damaged(&link, how));
        }
        let before = read(&files);
        damage(std::slice::from_ref(&link), folder.path(), How::Delete, 1).unwrap();
        assert!(link.symlink_metadata().is_err());
        assert_eq!(read(&files), before);
    }
}
