//! Finds a cycle and returns it as a path: `a → b → a`.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

/// Returns the nodes of one cycle, the first repeated at the end, each needing the next; none if there is none.
pub(crate) fn find<N>(graph: &DiGraph<N, ()>) -> Option<Vec<NodeIndex>> {
    // A node that no order of needs can contain lies on a cycle, or needs a node on a cycle.
    let mut waiting: Vec<usize> = graph
        .node_indices()
        .map(|node| graph.neighbors(node).count())
        .collect();
    let mut ready: Vec<NodeIndex> = graph
        .node_indices()
        .filter(|node| waiting[node.index()] == 0)
        .collect();
    while let Some(node) = ready.pop() {
        for dependent in graph.neighbors_directed(node, Direction::Incoming) {
            waiting[dependent.index()] -= 1;
            if waiting[dependent.index()] == 0 {
                ready.push(dependent);
            }
        }
    }
    // Each waiting node needs another waiting node, so following needs leads back to a node seen before.
    let start = graph.node_indices().find(|node| waiting[node.index()] > 0)?;
    let mut seen_at = vec![usize::MAX; graph.node_count()];
    let mut path: Vec<NodeIndex> = Vec::new();
    let mut node = start;
    loop {
        if seen_at[node.index()] != usize::MAX {
            let mut cycle = path.split_off(seen_at[node.index()]);
            // Begun at its first declared member, so that the same cycle always reads the same.
            let first = cycle
                .iter()
                .enumerate()
                .min_by_key(|(_, node)| node.index())
                .map_or(0, |(at, _)| at);
            cycle.rotate_left(first);
            cycle.extend(cycle.first().copied());
            return Some(cycle);
        }
        seen_at[node.index()] = path.len();
        path.push(node);
        node = graph.neighbors(node).find(|next| waiting[next.index()] > 0)?;
    }
}

/// Writes a cycle as `a → b → a`; neighbours with the same name count once.
pub(crate) fn path<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.join(" → ")
}
