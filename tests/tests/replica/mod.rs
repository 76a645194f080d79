//! A run's journal in the tiers: copied, read back, adopted by another host, fenced and pruned.

mod adoption_asks;
mod copied_and_adopted;
mod damaged_segments;
mod fencing;
mod pruned;

/// Component `two` is brought back once a program after the restore of `one` has ended, which waits for a file.
const RECOVERED_IN_TWO_STEPS: &str = "\
system: pair
root: ./data
components:
  one:
    source: {type: files, path: one}
    recovery:
      - {id: gate, uses: command, with: {run: [sh, -c, \"touch SHARED/waits; while [ ! -e SHARED/go ]; do sleep 0.05; done\"]}}
  two: {after: [one], source: {type: files, path: two}}
tiers:
  near: {url: \"file://SHARED/near\"}
";
