//! Keeps a program of a drill away from the living system: it sees every file system as only to be read, but for the folders
//! of its sandbox; it does not see `/run`, where services have their sockets; its network has nothing but a loopback of its
//! own, and its messages and shared memory are its own.
//!
//! It works in namespaces of its own. A user who is not root makes them in a user namespace, where the machine allows that.
//! Not covered: sockets that are files elsewhere, and signals to other processes of the same user.

use std::fs;
use std::io;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::ioctl::{Opcode, Setter, ioctl};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{getgid, getuid};
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set};

use crate::displace::unescaped;

/// Where a program of a drill may write, and what it may not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Isolation {
    /// The only folders that it may write to. They exist, and no link leads to them.
    pub(crate) writable: Vec<PathBuf>,
}

/// Isolates this process. It must have a single thread. After a failure it may be isolated in part, and must end.
///
/// # Errors
/// The machine does not allow it; the reason.
pub(super) fn isolate(wanted: &Isolation) -> Result<(), String> {
    namespaces().map_err(|error| format!("no namespaces: {error}"))?;
    read_only(wanted).map_err(|error| format!("file systems cannot be made read-only: {error}"))?;
    loopback_up().map_err(|error| format!("no loopback network: {error}"))?;
    // A program of root must not undo it, or go around it. Nobody else has these to begin with.
    if getuid().is_root() {
        for dropped in DROPPED {
            remove_capability_from_bounding_set(dropped)
                .map_err(|error| format!("{dropped:?} cannot be given up: {error}"))?;
        }
    }
    Ok(())
}

/// What a program of root could undo the isolation with, or reach disks and other processes.
const DROPPED: [CapabilitySet; 6] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::MKNOD,
];

/// Where services have their sockets.
const SERVICES: &str = "/run";

fn namespaces() -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
    if !user.is_root() {
        flags |= UnshareFlags::NEWUSER;
    }
    #[expect(
        deprecated,
        reason = "it is unsafe only for the table of open files, which stays shared"
    )]
    rustix::thread::unshare(flags)?;
    if !user.is_root() {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    Ok(())
}

fn read_only(wanted: &Isolation) -> io::Result<()> {
    // Nothing of this reaches the other namespaces.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let needs_services = wanted.writable.iter().any(|folder| folder.starts_with(SERVICES));
    for folder in &wanted.writable {
        mount_bind(folder, folder)?;
    }
    if Path::new(SERVICES).is_dir() && !needs_services {
        mount("none", SERVICES, "tmpfs", MountFlags::empty(), c"mode=755")?;
    }
    let mounts = mounts()?;
    let is_open = |point: &Path| {
        let of_kernel = ["/proc", "/sys"].iter().any(|it| point.starts_with(it));
        of_kernel || point == Path::new(SERVICES) || wanted.writable.iter().any(|folder| folder == point)
    };
    for (point, flags) in mounts.iter().filter(|(point, _)| !is_open(point)) {
        let read_only = *flags | MountFlags::BIND | MountFlags::RDONLY;
        match mount_remount(point, read_only, c"") {
            // Another mount lies on it; the check below sees what is reached by its path.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io::Error::other(format!("{}: {error}", point.display()))),
        }
    }
    for (point, _) in mounts.iter().filter(|(point, _)| !is_open(point)) {
        match statvfs(point) {
            Ok(found) if !found.f_flag.contains(StatVfsMountFlags::RDONLY) => {
                return Err(io::Error::other(format!("{} is still writable", point.display())));
            }
            // What cannot be reached cannot be written.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Returns every mount point with its flags, which a user namespace may not take away.
fn mounts() -> io::Result<Vec<(PathBuf, MountFlags)>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let lines = table.split(|byte| *byte == b'\n');
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let point = unescaped(fields.next()?);
        let flags = String::from_utf8(fields.next()?.to_vec()).ok()?;
        Some((point, flags_of(&flags)))
    };
    Ok(lines.filter_map(mount).collect())
}

fn flags_of(options: &str) -> MountFlags {
    let flag = |option| match option {
        "ro" => MountFlags::RDONLY,
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        _ => MountFlags::empty(),
    };
    options.split(',').map(flag).collect()
}

/// The kernel's `struct ifreq` for flags: a name, and what is set.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

const _: () = assert!(offset_of!(InterfaceFlags, flags) == 16 && size_of::<InterfaceFlags>() == 40);

/// `SIOCSIFFLAGS` of `linux/sockios.h`.
const SET_FLAGS: Opcode = 0x8914;
/// `IFF_UP` and `IFF_RUNNING` of `linux/if.h`.
const UP: i16 = 0x41;

fn loopback_up() -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = InterfaceFlags {
        name,
        flags: UP,
        rest: [0; 22],
    };
    #[expect(
        unsafe_code,
        reason = "no library has it; the kernel only reads the structure, whose layout is checked above"
    )]
    unsafe {
        ioctl(&socket, Setter::<SET_FLAGS, _>::new(request))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_a_mount_has_are_kept() {
        let flags = flags_of("rw,nosuid,nodev,relatime");
        assert_eq!(
            flags,
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RELATIME
        );
        assert!(flags_of("ro,noexec").contains(MountFlags::RDONLY | MountFlags::NOEXEC));
    }

    #[test]
    fn the_root_is_among_the_mounts() {
        assert!(mounts().unwrap().iter().any(|(point, _)| point == Path::new("/")));
    }
}
