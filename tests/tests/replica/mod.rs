//! A run's journal in the tiers: copied, read back, adopted by another host, fenced and pruned.

mod adoption_asks;
mod copied_and_adopted;
mod damaged_segments;
mod fencing;
mod pruned;
