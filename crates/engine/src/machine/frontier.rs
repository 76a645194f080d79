//! Which steps may go forward, kept up to date by every event: a decision costs what has changed, not the size of the
//! plan.
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
    /// How urgent each step is; the least number first.
    priority: Vec<i64>,
    /// Whether what needs the step may be judged, as far as this need is concerned.
    settled: Vec<bool>,
    /// How many of a step's needs are not settled.
    unsettled_needs: Vec<usize>,
    /// Begun and not ended: at work, cut off, waiting for the next attempt or for a person.
    active: BTreeSet<usize>,
    /// Pending, all needs settled, and not judged since.
    unjudged: BTreeSet<usize>,
    /// Pending and judged to run: most urgent first.
    ready: BTreeSet<(i64, usize)>,
    /// Pending and judged to run, and what takes no room: a question to a person, a wait for another run.
    roomless: BTreeSet<usize>,
    /// How many steps have not ended.
    unfinished: usize,
}

/// What of a step's state matters to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Pending,
    Active,
    Ended,
    /// Skipped at a person's request, be it before what it needs ended: whatever comes after it still waits for that.
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
    pub(super) fn new(standing: Vec<Standing>, priority: Vec<i64>, needs: &[Vec<usize>]) -> Self {
        let steps = standing.len();
        let mut frontier = Self {
            standing,
            priority,
            settled: vec![false; steps],
            unsettled_needs: vec![0; steps],
            active: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            ready: BTreeSet::new(),
            roomless: BTreeSet::new(),
            unfinished: 0,
        };
        for (place, needs) in needs.iter().enumerate() {
            let unsettled = needs.iter().filter(|&&need| !frontier.settled[need]).count();
            frontier.unsettled_needs[place] = unsettled;
            frontier.settled[place] = frontier.settles(place);
            frontier.unfinished += usize::from(!frontier.standing[place].is_final());
            frontier.enlist(place);
        }
        frontier
    }

    /// A step's state has changed.
    pub(super) fn moved(&mut self, place: usize, now: Standing, dependents: &[Vec<usize>]) {
        let before = std::mem::replace(&mut self.standing[place], now);
        match (before.is_final(), now.is_final()) {
            (false, true) => self.unfinished -= 1,
            (true, false) => self.unfinished += 1,
            _ => {}
        }
        self.active.remove(&place);
        self.strike(place);
        self.enlist(place);
        let settles = self.settles(place);
        if settles != self.settled[place] {
            self.turn(place, settles, dependents);
        } else if settles && before != now {
            // It ended otherwise than before: who waits is to be judged anew.
            dependents[place].iter().for_each(|&after| self.reconsider(after));
        }
    }

    /// Records that a step which was to be judged is to run.
    pub(super) fn enqueue(&mut self, place: usize, takes_room: bool) {
        match takes_room {
            true => drop(self.ready.insert((self.priority[place], place))),
            false => drop(self.roomless.insert(place)),
        }
    }

    /// Returns the next step that is to be judged.
    pub(super) fn next_unjudged(&mut self) -> Option<usize> {
        self.unjudged.pop_first()
    }

    pub(super) fn is_unjudged(&self) -> bool {
        !self.unjudged.is_empty()
    }

    /// Returns the most urgent pending step that is to run, after those up to `passed`.
    pub(super) fn most_urgent_after(&self, passed: Option<(i64, usize)>) -> Option<(i64, usize)> {
        let from = passed.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready.range((from, Bound::Unbounded)).next().copied()
    }

    /// Returns the pending steps that are to run and take no room.
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
            Standing::Pending if self.needs_are_settled(place) => drop(self.unjudged.insert(place)),
            _ => {}
        }
    }

    /// Has a step that waits for its turn judged anew, or forgotten while its needs are unsettled.
    fn reconsider(&mut self, place: usize) {
        if self.standing[place] != Standing::Pending {
            return;
        }
        self.strike(place);
        self.enlist(place);
    }

    /// Takes a step off the lists of pending ones.
    fn strike(&mut self, place: usize) {
        self.unjudged.remove(&place);
        self.ready.remove(&(self.priority[place], place));
        self.roomless.remove(&place);
    }

    /// Lets what comes after a step know that it has settled, or has not any more.
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
