//! Keys that people know from other tools, and what they are called here.

use rekindle_model::keys::Key;

/// A key of GitHub Actions, GitLab CI, Ansible, Argo, Compose or systemd, and our key. A word with several meanings has
/// several lines: the line counts whose key the object has.
pub(crate) const NAMES: [(&str, &str); 86] = [
    // Conditions.
    ("if", "run_if"),
    ("when", "run_if"),
    ("unless", "run_if"),
    ("only_if", "run_if"),
    ("condition", "run_if"),
    // Names.
    ("name", "id"),
    ("name", "workflow"),
    ("name", "system"),
    ("key", "id"),
    ("label", "description"),
    ("title", "description"),
    ("comment", "description"),
    // What a step does.
    ("command", "run"),
    ("cmd", "run"),
    ("script", "run"),
    ("exec", "run"),
    ("run", "shell"),
    ("script", "shell"),
    ("bash", "shell"),
    ("cmd", "shell"),
    ("command", "shell"),
    ("action", "uses"),
    ("module", "uses"),
    ("type", "uses"),
    ("inputs", "with"),
    ("args", "with"),
    ("arguments", "with"),
    ("params", "with"),
    ("parameters", "with"),
    ("inputs", "params"),
    ("arguments", "params"),
    ("parameters", "params"),
    ("variables", "env"),
    ("vars", "env"),
    ("environment", "env"),
    ("working-directory", "cwd"),
    ("working_directory", "cwd"),
    ("working_dir", "cwd"),
    ("workdir", "cwd"),
    ("chdir", "cwd"),
    // Order.
    ("depends_on", "needs"),
    ("depends-on", "needs"),
    ("dependencies", "needs"),
    ("requires", "needs"),
    ("after", "needs"),
    ("needs", "after"),
    ("depends_on", "after"),
    ("depends-on", "after"),
    ("dependencies", "after"),
    ("requires", "after"),
    ("jobs", "steps"),
    ("tasks", "steps"),
    ("stages", "steps"),
    ("matrix", "for_each"),
    ("strategy", "for_each"),
    ("loop", "for_each"),
    ("with_items", "for_each"),
    // Time, and what happens after a failure.
    ("timeout-minutes", "timeout"),
    ("timeout_minutes", "timeout"),
    ("timeout_seconds", "timeout"),
    ("timeout_ms", "timeout"),
    ("retries", "retry"),
    ("retries", "max_attempts"),
    ("attempts", "max_attempts"),
    ("limit", "max_attempts"),
    ("delay", "initial"),
    ("allow_failure", "continue_on_error"),
    ("ignore_errors", "continue_on_error"),
    ("rollback", "compensate"),
    ("undo", "compensate"),
    ("on_error", "on_failure"),
    ("rescue", "on_failure"),
    ("always", "finally"),
    ("ensure", "finally"),
    // The system.
    ("path", "source"),
    ("paths", "source"),
    ("services", "components"),
    ("databases", "components"),
    ("repositories", "tiers"),
    ("repository", "url"),
    ("path", "url"),
    ("target", "url"),
    ("schedule", "every"),
    ("interval", "every"),
    ("cron", "every"),
    ("keep", "retain"),
];

/// Returns the key that a word of another tool means in an object with these keys.
pub(crate) fn meant<'s>(word: &str, specs: &[&'s Key]) -> Option<&'s Key> {
    let ours = NAMES.iter().filter(|(name, _)| *name == word);
    ours.filter_map(|(_, ours)| specs.iter().find(|spec| spec.name == *ours))
        .copied()
        .next()
}
