//! Names that people mistype: the known ones are listed, and the nearest is proposed.

use rekindle_model::system::System;

use crate::error::Error;

/// How many characters of a name are in the name of a file.
const WORD: usize = 64;

/// Returns a name as a word that every file system and every shell takes as it is.
pub(crate) fn file_word(name: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let word: String = name.to_lowercase().chars().take(WORD).map(word).collect();
    match word.trim_matches('-') {
        "" => "my-system".to_owned(),
        word => word.to_owned(),
    }
}

/// Returns the components of those names or aliases, by priority, none twice.
///
/// # Errors
/// A name is unknown. The error lists the known ones.
pub fn components(system: &System, named: &[String]) -> Result<Vec<String>, Error> {
    let mut own = Vec::new();
    for name in named {
        match system.component(name) {
            Some((component, _)) => own.push(component),
            None => return Err(unknown("component", name, system.components_by_priority())),
        }
    }
    let chosen = system
        .components_by_priority()
        .into_iter()
        .filter(|name| own.contains(name));
    Ok(chosen.map(str::to_owned).collect())
}

/// Returns the tiers of those names, none twice.
///
/// # Errors
/// A name is unknown. The error lists the known ones.
pub fn tiers(system: &System, named: &[String]) -> Result<Vec<String>, Error> {
    let known = || system.tiers.keys().map(String::as_str);
    match named.iter().find(|name| !system.tiers.contains_key(*name)) {
        Some(name) => Err(unknown("tier", name, known())),
        None => Ok(system
            .tiers
            .keys()
            .filter(|tier| named.contains(tier))
            .cloned()
            .collect()),
    }
}

/// Returns the nearest of `known` to `word`, where one is near enough to be meant.
///
/// Nearness is the edit distance with transpositions, at most a third of the word's length and never more
/// than 4: "did you mean" must not guess wildly.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns the error for a name that is not among `known`; `what` is "component", "scenario", "tier" …
pub fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let mut hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}? "),
        None => String::new(),
    };
    match known.as_slice() {
        [] => hint.push_str(&format!("there is no {what} yet")),
        known => hint.push_str(&format!("known: {}", known.join(", "))),
    }
    Error::usage(format!("there is no {what} {word:?}")).with_advice(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_different_word_is_not() {
        let known = ["context_cache", "security_systems", "user_data"];
        for (word, expect) in [
            ("contxt_cache", Some("context_cache")),
            ("securty_systmes", Some("security_systems")),
            ("usre_data", Some("user_data")),
            ("monitoring", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expect, "{word}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = unknown("component", "usr_data", ["context_cache", "user_data"]);
        assert_eq!(error.to_string(), "there is no component \"usr_data\"");
        assert_eq!(
            error.next()[0].text,
            "did you mean \"user_data\"? known: context_cache, user_data"
        );
    }
}
