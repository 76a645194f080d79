//! The built-in workflows and the built-in system. A file overrides each.

/// Captures every component, stores it in every tier, verifies the stored copies, seals a recovery set.
pub const BACKUP: &str = include_str!("../../../workflows/backup.yaml");
/// Brings components back in priority order and proves that they meet their targets.
pub const RECOVER: &str = include_str!("../../../workflows/recover.yaml");
/// Verifies stored copies.
pub const VERIFY: &str = include_str!("../../../workflows/verify.yaml");
/// Recovers a set into a sandbox, and proves it there.
pub const DRILL: &str = include_str!("../../../workflows/drill.yaml");
/// Proves that a verification notices damaged copies.
pub const INTEGRITY_DRILL: &str = include_str!("../../../workflows/integrity-drill.yaml");
/// The La Factoria system, with every objective and target.
pub const LA_FACTORIA: &str = include_str!("../../../workflows/la-factoria/system.yaml");

/// The workflows by name.
pub const WORKFLOWS: [(&str, &str); 5] = [
    ("backup", BACKUP),
    ("recover", RECOVER),
    ("verify", VERIFY),
    ("drill", DRILL),
    ("integrity-drill", INTEGRITY_DRILL),
];
