//! What the steps of a run tell the outlook on its RTOs, and learn from it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_engine::StepContext;

use crate::outlook::{Objective, Outlook, Row, since};
use crate::site::Site;
use crate::views;

/// Takes note that an attempt to restore a component begins. The first one of a run makes the outlook.
pub(crate) fn restoring(site: &Site, cx: &StepContext, name: &str, bytes: u64) {
    // Nothing is down while copies are proven in a sandbox.
    let Some(struck) = struck(cx).filter(|_| site.sandbox().is_none()) else {
        return;
    };
    let mut outlook = site.outlook();
    let outlook = outlook.get_or_insert_with(|| {
        let located = views::located(&cx.steps).map_or_else(BTreeMap::new, |set| set.components);
        let recovered = site.recovered().iter().map(String::as_str);
        let system = site.system();
        let rows = recovered
            .clone()
            .filter_map(|name| Some((name, located.get(name)?, system.components.get(name)?)))
            .map(|(name, member, component)| {
                let row = Row::new(name, member.bytes, system.rto(component));
                match views::restored(&cx.steps, name) {
                    Some(_) => row.over(),
                    None => row,
                }
            });
        let rto = system.rto_of_all(site.scenario(), recovered.clone());
        Outlook::new(struck, site.clock().now(), rows.collect(), rto)
    });
    let rto = site.system().components.get(name);
    outlook.begin(
        name,
        bytes,
        rto.and_then(|component| site.system().rto(component)),
    );
}

/// Returns how long a component's RTO still is, and what to journal when it has passed. A step that cannot tell how far
/// it is waits for that beside its work. None if the component has no RTO.
pub(crate) fn deadline(site: &Site, cx: &StepContext, name: &str) -> Option<(Duration, Objective)> {
    let component = site.system().components.get(name)?;
    let rto = site.system().rto(component)?;
    let struck = struck(cx).filter(|_| site.sandbox().is_none())?;
    let left = rto.saturating_sub(since(struck, &site.clock().now()));
    Some((left, Objective::new(Some(name), rto, rto, true)))
}

fn struck(cx: &StepContext) -> Option<DateTime<Utc>> {
    cx.disaster_at.or_else(|| cx.run.created())
}
