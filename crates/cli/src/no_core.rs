//! Keeps the keys of this process out of core files, and out of reach of the same user's debuggers.
//!
//! Programs of steps are started by a supervisor, which is another process: the kernel allows it to be dumped again when
//! it is executed. They inherit the soft limit on core files, and may raise it.

use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};

/// Forbids core files of this process. A system that refuses has none of our secrets yet, so this only logs it.
pub(crate) fn forbid_core_files() {
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    let done =
        setrlimit(Resource::Core, limit).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = done {
        tracing::warn!(%error, "core files of this process cannot be forbidden; they would hold keys");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn a_process_that_holds_keys_leaves_no_core_file() {
        forbid_core_files();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
