//! File systems of a test's own: an ext4 in a file, which can lose power, break down or freeze; and a small
//! one in memory, which fills.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::ioctl::{Setter, ioctl, opcode};

/// How the power is cut: the values of `FS_IOC_SHUTDOWN`, which ext4 shares with XFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Dirty data is written first: an orderly shutdown, as a battery allows.
    Flushed = 0,
    /// Everything that is not on the disk is lost, including the file system's own journal.
    Hard = 2,
}

/// The room of a file system in memory.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// How many bytes its files may take.
    pub bytes: u64,
    /// How many files and folders it may hold, its root included.
    pub inodes: u64,
}

impl Room {
    /// Returns the options of `mount`. Neither figure may be 0, which tmpfs takes for "no limit".
    fn options(self) -> Result<String, String> {
        let Self { bytes, inodes } = self;
        match bytes.min(inodes) {
            0 => Err(format!("tmpfs has no limit where a figure is 0: {self:?}")),
            _ => Ok(format!("size={bytes},nr_inodes={inodes}")),
        }
    }
}

/// How often a file system that is in use is tried to be unmounted again.
const PATIENCE: u32 = 100;

/// A file system, unmounted when it is dropped.
#[derive(Debug)]
pub struct Disk {
    image: Option<PathBuf>,
    at: PathBuf,
}

impl Disk {
    /// Makes an ext4 of `megabytes` in a file below `dir` and mounts it.
    ///
    /// # Errors
    /// Why this machine cannot: no root, no mkfs.ext4, no loop device.
    pub fn ext4(dir: &Path, megabytes: u64) -> Result<Self, String> {
        let image = dir.join("image");
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(megabytes << 20).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let disk = Self {
            image: Some(image),
            at: dir.join("disk"),
        };
        fs::create_dir(&disk.at).map_err(|error| error.to_string())?;
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts a file system in memory over a folder, and makes the folder if needed.
    ///
    /// # Errors
    /// The reason why this machine cannot.
    pub fn memory(at: &Path, room: Room) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let disk = Self {
            image: None,
            at: at.to_owned(),
        };
        run(Command::new("mount")
            // By default every user may write in it, and no workspace there is trusted.
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("mode=0755,{}", room.options()?),
                "tmpfs",
            ])
            .arg(&disk.at))?;
        Ok(disk)
    }

    /// Returns its mount point.
    pub fn path(&self) -> &Path {
        &self.at
    }

    fn mount(&self) -> Result<(), String> {
        match &self.image {
            Some(image) => run(Command::new("mount")
                .args(["-o", "loop,errors=remount-ro"])
                .arg(image)
                .arg(&self.at)),
            None => Ok(()),
        }
    }

    /// Gives a file system in memory another room.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn resize(&self, room: Room) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-o", &format!("remount,{}", room.options()?)])
            .arg(&self.at))
    }

    /// Brings all that was written to the disk.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn flush(&self) -> Result<(), String> {
        let root = fs::File::open(&self.at).map_err(|error| error.to_string())?;
        rustix::fs::syncfs(root).map_err(|error| error.to_string())
    }

    /// Cuts the power: from now on nothing reaches the disk.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn cut(&self, how: Cut) -> Result<(), String> {
        const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
        let root = fs::File::open(&self.at).map_err(|error| error.to_string())?;
        #[expect(
            unsafe_code,
            reason = "no safe call shuts a file system down; the kernel reads one u32, which is what is given"
        )]
        let done = unsafe { ioctl(root, Setter::<SHUTDOWN, u32>::new(how as u32)) };
        done.map_err(|error| format!("shut the file system down: {error}"))
    }

    /// Lets the kernel find an error in the file system: from now on it can only be read.
    ///
    /// # Errors
    /// Why this machine cannot.
    pub fn break_down(&self) -> Result<(), String> {
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", self.device()?);
        fs::write(&trigger, "1").map_err(|error| format!("{trigger}: {error}"))
    }

    /// Returns the name of the device that is mounted.
    fn device(&self) -> Result<String, String> {
        let mounts = fs::read_to_string("/proc/mounts").map_err(|error| error.to_string())?;
        let at = self.at.to_string_lossy();
        let of_this = |line: &str| {
            let (device, rest) = line.split_once(' ')?;
            (rest.split(' ').next()? == at).then(|| device.trim_start_matches("/dev/").to_owned())
        };
        let found = mounts.lines().find_map(of_this);
        found.ok_or_else(|| format!("{at} is not mounted"))
    }

    /// Freezes it: every writer waits until it is thawed.
    ///
    /// # Errors
    /// The kernel's message.
    pub fn freeze(&self) -> Result<Frozen<'_>, String> {
        self.set_frozen(true)?;
        Ok(Frozen(self))
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), String> {
        const FREEZE: rustix::ioctl::Opcode = opcode::read_write::<i32>(b'X', 119);
        const THAW: rustix::ioctl::Opcode = opcode::read_write::<i32>(b'X', 120);
        let root = fs::File::open(&self.at).map_err(|error| error.to_string())?;
        #[expect(
            unsafe_code,
            reason = "no safe call freezes a file system; the kernel does not look at the value that is given"
        )]
        let done = unsafe {
            match frozen {
                true => ioctl(root, Setter::<FREEZE, i32>::new(0)),
                false => ioctl(root, Setter::<THAW, i32>::new(0)),
            }
        };
        done.map_err(|error| format!("freeze or thaw the file system: {error}"))
    }

    /// Unmounts and mounts it again, as after a boot. Nobody may use it any more.
    ///
    /// # Errors
    /// What `umount` or `mount` said.
    pub fn boot(&self) -> Result<(), String> {
        let mut unmounted = run(Command::new("umount").arg(&self.at));
        // A killed process may still be closing its files.
        for _ in 0..PATIENCE {
            if unmounted.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            unmounted = run(Command::new("umount").arg(&self.at));
        }
        unmounted?;
        self.mount()
    }
}

/// A file system that is frozen until this is dropped.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Disk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // One that cannot be thawed is no longer frozen.
        let _ = self.0.set_frozen(false);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that fails may leave a process that still uses it.
        let _ = run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
