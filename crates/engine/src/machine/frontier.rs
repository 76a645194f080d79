//! The steps that may continue. Every event updates them, so the cost of a decision depends on the change, not on the
//! size of the plan.
//!
//! ```text
//!  pending, needs unsettled ─── the last need settles ──► unjudged ── judged ──► ready, roomless ── started ───┐
//!        ▲                                                   ▲                                                 ▼
//!        └──────────── a need is invalidated ────────────────┴────────────── invalidated ◄──── final ◄──── active
//! ```

use std::collections::BTreeSet;
use std::ops::Bound;

use rekindle_model::event::SkipReason;
use rekindle_model::step::StepState;

/// See the module's documentation. A step is known by its place in the plan.
pub(super) struct Frontier {
    standing: Vec<Standing>,
    /// The priority of each step; the lowest number is the most urgent.
    priority: Vec<i64>,
    /// For each step, whether it is a handler.
    is_handler: Vec<bool>,
    /// For each step, whether it no longer keeps the steps that need it from being judged.
    settled: Vec<bool>,
    /// How many of a step's needs are not settled.
    unsettled_needs: Vec<usize>,
    /// The steps that have begun and not ended: at work, cut off, waiting for the next attempt or for a person.
    active: BTreeSet<usize>,
    /// The pending steps whose needs are settled and that were not judged since.
    unjudged: BTreeSet<usize>,
    /// The handlers among them.
    unjudged_handlers: BTreeSet<usize>,
    /// For each step, its lane.
    lanes: Vec<usize>,
    /// For each lane, the pending steps that will run, most urgent first. A loop with a `max_parallel` has a lane of its
    /// own, so that one that is full costs nothing; lane 0 has all other steps.
    ready: Vec<BTreeSet<(i64, usize)>>,
    /// The pending steps that will run and take no room: a question to a person, a wait for another run.
    roomless: BTreeSet<usize>,
    /// How many steps have not ended.
    unfinished: usize,
    /// How many of them are handlers.
    unfinished_handlers: usize,
}

/// The part of a step's state that matters to other steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Pending,
    Active,
    Ended,
    /// Skipped at a person's request, maybe before its needs ended. The steps after it still wait for these needs.
    LeftOut,
}

impl Standing {
    pub(super) fn of(state: &StepState) -> Self {
        match state {
            StepState::Pending => Self::Pending,
            StepState::Skipped {
                why: SkipReason::Requested { .. },
            } => Self::LeftOut,
            state if state.is_final() => Self::Ended,
            _ => Self::Active,
        }
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::LeftOut)
    }
}

impl Frontier {
    /// Returns the frontier of a plan, which lists each step after its needs.
    pub(super) fn new(
        standing: Vec<Standing>,
        priority: Vec<i64>,
        is_handler: Vec<bool>,
        lanes: Vec<usize>,
        needs: &[Vec<usize>],
    ) -> Self {
        let steps = standing.len();
        let mut frontier = Self {
            standing,
            priority,
            is_handler,
            settled: vec![false; steps],
            unsettled_needs: vec![0; steps],
            active: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            unjudged_handlers: BTreeSet::new(),
            ready: vec![BTreeSet::new(); lanes.iter().max().map_or(1, |last| last + 1)],
            lanes,
            roomless: BTreeSet::new(),
            unfinished: 0,
            unfinished_handlers: 0,
        };
        for (place, needs) in needs.iter().enumerate() {
            let unsettled = needs.iter().filter(|&&need| !frontier.settled[need]).count();
            frontier.unsettled_needs[place] = unsettled;
            frontier.settled[place] = frontier.settles(place);
            let unfinished = usize::from(!frontier.standing[place].is_final());
            frontier.unfinished += unfinished;
            frontier.unfinished_handlers += unfinished * usize::from(frontier.is_handler[place]);
            frontier.enlist(place);
        }
        frontier
    }

    /// Updates the frontier after a step's state has changed.
    pub(super) fn moved(&mut self, place: usize, now: Standing, dependents: &[Vec<usize>]) {
        let before = std::mem::replace(&mut self.standing[place], now);
        let handler = usize::from(self.is_handler[place]);
        match (before.is_final(), now.is_final()) {
            (false, true) => {
                self.unfinished -= 1;
                self.unfinished_handlers -= handler;
            }
            (true, false) => {
                self.unfinished += 1;
                self.unfinished_handlers += handler;
            }
            _ => {}
        }
        self.active.remove(&place);
        self.strike(place);
        self.enlist(place);
        let settles = self.settles(place);
        if settles != self.settled[place] {
            self.turn(place, settles, dependents);
        } else if settles && before != now {
            // The step ended in another way than before, so the steps that need it must be judged again.
            dependents[place].iter().for_each(|&after| self.reconsider(after));
        }
    }

    /// Records that a step was judged and will run.
    pub(super) fn enqueue(&mut self, place: usize, takes_room: bool) {
        match takes_room {
            true => drop(self.ready[self.lanes[place]].insert((self.priority[place], place))),
            false => drop(self.roomless.insert(place)),
        }
    }

    /// Returns the next step to judge, `handlers` among them if these may run.
    pub(super) fn next_unjudged(&mut self, handlers: bool) -> Option<usize> {
        match self.unjudged.pop_first() {
            None if handlers => self.unjudged_handlers.pop_first(),
            next => next,
        }
    }

    pub(super) fn is_unjudged(&self) -> bool {
        !self.unjudged.is_empty()
    }

    /// Returns the most urgent pending step that will run, after those up to `passed`, in lanes that are not full.
    pub(super) fn most_urgent_after(
        &self,
        passed: Option<(i64, usize)>,
        is_full: impl Fn(usize) -> bool,
    ) -> Option<(i64, usize)> {
        let from = passed.map_or(Bound::Unbounded, Bound::Excluded);
        let lanes = self.ready.iter().enumerate().filter(|(lane, _)| !is_full(*lane));
        lanes
            .filter_map(|(_, ready)| ready.range((from, Bound::Unbounded)).next().copied())
            .min()
    }

    pub(super) fn lane(&self, place: usize) -> usize {
        self.lanes[place]
    }

    /// Returns the pending steps that will run and take no room.
    pub(super) fn roomless(&self) -> impl Iterator<Item = usize> {
        self.roomless.iter().copied()
    }

    /// Returns the steps that have begun and not ended, in the order of the plan.
    pub(super) fn active(&self) -> impl Iterator<Item = usize> {
        self.active.iter().copied()
    }

    pub(super) fn needs_are_settled(&self, place: usize) -> bool {
        self.unsettled_needs[place] == 0
    }

    pub(super) fn has_unfinished(&self) -> bool {
        self.unfinished > 0
    }

    pub(super) fn has_unfinished_handlers(&self) -> bool {
        self.unfinished_handlers > 0
    }

    /// Returns whether a step that is no handler has not ended.
    pub(super) fn has_unfinished_steps(&self) -> bool {
        self.unfinished > self.unfinished_handlers
    }

    fn settles(&self, place: usize) -> bool {
        match self.standing[place] {
            Standing::Ended => true,
            Standing::LeftOut => self.needs_are_settled(place),
            Standing::Pending | Standing::Active => false,
        }
    }

    fn enlist(&mut self, place: usize) {
        match self.standing[place] {
            Standing::Active => drop(self.active.insert(place)),
            Standing::Pending if self.needs_are_settled(place) => {
                match self.is_handler[place] {
                    true => self.unjudged_handlers.insert(place),
                    false => self.unjudged.insert(place),
                };
            }
            _ => {}
        }
    }

    /// If a step is pending, marks it to be judged again. If its needs are unsettled, removes it from the lists.
    fn reconsider(&mut self, place: usize) {
        if self.standing[place] != Standing::Pending {
            return;
        }
        self.strike(place);
        self.enlist(place);
    }

    /// Removes a step from the lists of pending steps.
    fn strike(&mut self, place: usize) {
        self.unjudged.remove(&place);
        self.unjudged_handlers.remove(&place);
        self.ready[self.lanes[place]].remove(&(self.priority[place], place));
        self.roomless.remove(&place);
    }

    /// Updates the steps after a step that has settled, or that is no longer settled.
    fn turn(&mut self, place: usize, settled: bool, dependents: &[Vec<usize>]) {
        self.settled[place] = settled;
        let mut turned = vec![place];
        while let Some(place) = turned.pop() {
            for &after in &dependents[place] {
                match self.settled[place] {
                    true => self.unsettled_needs[after] -= 1,
                    false => self.unsettled_needs[after] += 1,
                }
                self.reconsider(after);
                let settles = self.settles(after);
                if settles != self.settled[after] {
                    self.settled[after] = settles;
                    turned.push(after);
                }
            }
        }
    }
}
