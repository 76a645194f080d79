//! What the security of a system must have by name, whatever its manifest lists.

/// Policies.
pub(crate) const POLICIES: [&str; 12] = [
    "access_control",
    "accessibility_wcag",
    "audit_trail",
    "child_privacy_coppa",
    "content_safety",
    "data_retention",
    "encryption_at_rest",
    "incident_response",
    "key_rotation",
    "personal_data_gdpr",
    "student_records_ferpa",
    "third_parties",
];

/// Keys, by what they are for.
pub(crate) const KEYS: [&str; 7] = [
    "audit-signing",
    "backup-transport",
    "cache-integrity",
    "content-signing",
    "policy-signing",
    "session",
    "users-at-rest",
];

/// What can be done.
pub(crate) const ACTIONS: [&str; 8] = [
    "assess",
    "configure",
    "delete",
    "export",
    "generate",
    "publish",
    "read",
    "review",
];

/// Roles and what each may do.
pub(crate) const ROLES: [(&str, &[&str]); 5] = [
    ("administrator", &["configure", "delete", "export", "read"]),
    ("author", &["generate", "read"]),
    ("reviewer", &["assess", "publish", "read", "review"]),
    ("student", &["read"]),
    ("teacher", &["assess", "generate", "read"]),
];
