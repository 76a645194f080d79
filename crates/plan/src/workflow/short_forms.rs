//! Writes out the short forms of a workflow, before it becomes types: `shell`, `env`, `cwd` and `secrets` of a step go
//! into its `with`, and the workflow's `defaults` go into the steps. So nothing after this knows of them.

use serde_json::Value;

use crate::diagnostic::{Sink, Span};
use crate::yaml::{Key, Kind, Node};

use super::steps;

/// The action of a step with a script.
const COMMAND: &str = "command";
/// The script of a step.
const SHELL: &str = "shell";
/// The keys of a step that are parameters of its program.
const OF_PROGRAM: [&str; 3] = ["env", "cwd", "secrets"];
/// The actions that wait for others: a limit that suits a program would end the wait.
const THAT_WAIT: [&str; 2] = ["approve", "workflow"];

type Entries = Vec<(Key, Node)>;

/// Writes out the short forms of every step, and drops a step without an action.
pub(super) fn write_out(root: &mut Node, sink: &mut Sink<'_>) {
    let Kind::Map(entries) = &mut root.kind else {
        return;
    };
    let defaults = match take(entries, "defaults").map(|(_, node)| node.kind) {
        Some(Kind::Map(defaults)) => defaults,
        _ => Entries::new(),
    };
    for (_, list) in entries
        .iter_mut()
        .filter(|(key, _)| steps::lists().any(|list| list == key.text))
    {
        write_out_list(list, &defaults, sink);
    }
}

/// Writes out the short forms of the own recovery steps of a system's components.
pub(crate) fn write_out_recoveries(system: &mut Node, sink: &mut Sink<'_>) {
    for (_, component) in entries_of(system, "components") {
        let list = match &mut component.kind {
            Kind::Map(entries) => entries.iter_mut().find(|(key, _)| key.text == "recovery"),
            _ => None,
        };
        if let Some((_, list)) = list {
            write_out_list(list, &Entries::new(), sink);
        }
    }
}

fn entries_of<'n>(node: &'n mut Node, name: &str) -> &'n mut [(Key, Node)] {
    let Kind::Map(entries) = &mut node.kind else {
        return &mut [];
    };
    let found = entries.iter_mut().find(|(key, _)| key.text == name);
    match found.map(|(_, node)| &mut node.kind) {
        Some(Kind::Map(entries)) => entries,
        _ => &mut [],
    }
}

fn write_out_list(list: &mut Node, defaults: &Entries, sink: &mut Sink<'_>) {
    if let Kind::List(items) = &mut list.kind {
        items.retain_mut(|step| write_out_step(step, defaults, sink));
    }
}

fn write_out_step(step: &mut Node, defaults: &Entries, sink: &mut Sink<'_>) -> bool {
    let whole = write_out_action(step, defaults, "a step", sink);
    let waits = step
        .child("uses")
        .and_then(Node::raw)
        .is_some_and(|uses| THAT_WAIT.contains(&uses));
    let Kind::Map(entries) = &mut step.kind else {
        return whole;
    };
    if let Some((_, undo)) = entries.iter_mut().find(|(key, _)| key.text == "compensate")
        && !write_out_action(undo, defaults, "`compensate`", sink)
    {
        take(entries, "compensate");
    }
    for key in ["timeout", "retry"] {
        if let (false, Some(default)) = (waits, find(defaults, key)) {
            add(entries, default);
        }
    }
    whole
}

/// Writes out the short forms of what names an action. Returns false if it names none.
fn write_out_action(node: &mut Node, defaults: &Entries, name: &str, sink: &mut Sink<'_>) -> bool {
    let span = node.span;
    let Kind::Map(entries) = &mut node.kind else {
        return true;
    };
    let script = take(entries, SHELL);
    let mut own: Entries = OF_PROGRAM.iter().filter_map(|key| take(entries, key)).collect();
    let uses = find(entries, "uses")
        .and_then(|(_, uses)| uses.raw())
        .map(str::to_owned);
    match (uses.as_deref(), &script) {
        (None, None) => {
            let help = "name an action, or write a script under `shell`";
            sink.error(span, format!("{name} lacks `uses`"), Some(help.to_owned()));
            return false;
        }
        (None, Some((key, _))) => entries.push(scalar("uses", Value::from(COMMAND), key.span)),
        (Some(COMMAND), _) => {}
        (Some(uses), _) => {
            for (key, _) in own.iter().chain(&script) {
                let message = format!(
                    "`{}` is for a step's program, and `uses: {uses}` has none here",
                    key.text
                );
                sink.error(
                    key.span,
                    message,
                    Some("give the action's parameters under `with`".to_owned()),
                );
            }
            return true;
        }
    }
    if let Some((key, script)) = script {
        own.push((named("run", key.span), script));
        own.push(scalar(SHELL, Value::from(true), key.span));
    }
    let defaults = ["env", "cwd"].into_iter().filter_map(|key| find(defaults, key));
    let defaults: Entries = defaults.cloned().collect();
    if own.is_empty() && defaults.is_empty() {
        return true;
    }
    if find(entries, "with").is_none() {
        let kind = Kind::Map(Entries::new());
        entries.push((named("with", span), Node { span, kind }));
    }
    let with = entries.iter_mut().find(|(key, _)| key.text == "with");
    let Some(Kind::Map(with)) = with.map(|(_, with)| &mut with.kind) else {
        return true;
    };
    for (key, value) in own {
        match find(with, &key.text) {
            Some(_) => {
                let message = format!("`{}` is also under `with`", key.text);
                sink.error(key.span, message, Some("keep one of them".to_owned()));
            }
            None => with.push((key, value)),
        }
    }
    for default in &defaults {
        add(with, default);
    }
    true
}

/// Adds a default: an entry that is not there, or the entries of a map that are not.
fn add(entries: &mut Entries, default: &(Key, Node)) {
    let own = entries.iter_mut().find(|(key, _)| key.text == default.0.text);
    match own.map(|(_, own)| &mut own.kind) {
        None => entries.push(default.clone()),
        Some(Kind::Map(own)) if default.0.text == "env" => {
            if let Kind::Map(defaults) = &default.1.kind {
                defaults.iter().for_each(|default| add(own, default));
            }
        }
        Some(_) => {}
    }
}

fn find<'e>(entries: &'e Entries, name: &str) -> Option<&'e (Key, Node)> {
    entries.iter().find(|(key, _)| key.text == name)
}

fn take(entries: &mut Entries, name: &str) -> Option<(Key, Node)> {
    let at = entries.iter().position(|(key, _)| key.text == name)?;
    Some(entries.remove(at))
}

fn scalar(name: &str, value: Value, span: Span) -> (Key, Node) {
    let raw = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let kind = Kind::Scalar { value, raw };
    (named(name, span), Node { span, kind })
}

fn named(name: &str, span: Span) -> Key {
    let text = name.to_owned();
    Key { span, text }
}
