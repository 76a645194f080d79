//! Faults at random: kills, power cuts, full and broken disks, failing system calls, clocks that jump. tests/README.md
//! says what each file does.

mod clock;
mod disks;
mod journal_bytes;
mod journal_kills;
mod journal_power;
mod journal_syscalls;
mod owner_kills;
mod product_kills;
mod product_power;
mod shapes;
mod signals;
