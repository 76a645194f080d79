//! Rules between the keys of one object, which a table cannot express.

use rekindle_model::system::names_target;

use crate::diagnostic::Sink;
use crate::yaml::Node;

/// Reports contradictions between the keys of one object. The tree is as the user wrote it.
pub(super) fn check(root: &Node, sink: &mut Sink<'_>) {
    for (name, tier) in root.entries_of("tiers") {
        check_locations(&name.text, tier, sink);
    }
    for (_, component) in root.entries_of("components") {
        if let Some(source) = component.child("source") {
            check_restore(source, sink);
        }
        for probe in component.items_of("validate") {
            check_digest(probe, sink);
            if let Some(kind) = probe.child("probe").filter(|kind| kind.raw() == Some("set")) {
                let message = "the recovery set is of all components: only `integrity:` may measure it";
                sink.error(kind.span, message, None);
            }
        }
    }
    for probe in root.items_of("integrity") {
        check_digest(probe, sink);
        if let Some(at) = probe.child("at") {
            let message = "a check across components has no `at`: it runs after a recovery";
            let help = "remove it, or put the probe under `validate:` of a component";
            sink.error(at.span, message, Some(help.to_owned()));
        }
    }
    for health in root.items_of("health") {
        check_health(health, sink);
    }
}

fn check_locations(name: &str, tier: &Node, sink: &mut Sink<'_>) {
    match (tier.child("url"), tier.child("urls")) {
        (None, None) => sink.error(tier.span, format!("tier `{name}` lacks `url` or `urls`"), None),
        (Some(_), Some(urls)) => sink.error(
            urls.span,
            format!("tier `{name}` has both `url` and `urls`"),
            Some("keep `urls`".to_owned()),
        ),
        _ => {}
    }
}

fn check_restore(source: &Node, sink: &mut Sink<'_>) {
    let is_command = source.child("type").and_then(Node::raw) == Some("command");
    let words = source.items_of("restore");
    if is_command && !words.is_empty() && !words.iter().any(names_target_in) {
        let message =
            "the restore does not name `target.root`, and a recovery into another folder runs it too";
        let help = "it runs in the folder that is recovered into; see that it writes nowhere else";
        sink.warn(source.locate(&["restore"]), message, Some(help.to_owned()));
    }
}

/// Returns whether a text at or below a node has an expression that names the target.
fn names_target_in(node: &Node) -> bool {
    match node.raw() {
        Some(text) => names_target(text),
        None => names_target(&node.value().to_string()),
    }
}

fn check_digest(probe: &Node, sink: &mut Sink<'_>) {
    let is_files = probe.child("probe").and_then(Node::raw) == Some("files");
    let expected = probe.entries_of("expect").iter();
    let expected = expected.map(|(key, _)| key).find(|key| key.text == "digest");
    if let (true, None, Some(key)) = (is_files, probe.child("digest"), expected) {
        let message = "no digest is measured without one to compare with";
        let help = "name the digest that the files should have: `digest: …`";
        sink.error(key.span, message, Some(help.to_owned()));
    }
}

fn check_health(health: &Node, sink: &mut Sink<'_>) {
    let Some((url, node)) = health.child("url").and_then(|node| Some((node.raw()?, node))) else {
        return;
    };
    let (message, help) = match health.child("address") {
        Some(_) if !url.starts_with('/') => (
            "with `address`, `url` is the path of a URL",
            "write it from its first slash on: /health",
        ),
        None if !["http://", "https://"].iter().any(|begin| url.starts_with(begin)) => (
            "`url` is no URL of a server",
            "write http://HOST:PORT/PATH, or name with `address` the file in which the system says where it listens",
        ),
        _ => return,
    };
    sink.error(node.span, message, Some(help.to_owned()));
}
