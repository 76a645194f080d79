//! Assembles a piece of content the way the service does: pattern and prompt, framework, database row.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use crate::probe::{document, regular};

/// Returns a piece of that type, or `None` where anything it is made of is missing, or the result still has
/// open places, misses a section's text or is shorter than the pattern demands.
pub(super) fn piece(root: &Path, content: &Connection, kind: &str) -> Option<String> {
    let pattern = document(&root.join(format!("education/content_patterns/{kind}.json")))?;
    let blooms = document(&root.join("education/frameworks/blooms_taxonomy.json"))?;
    let prompt = root.join(format!("context/prompts/{kind}.md"));
    regular(&prompt).ok()?;
    let prompt = fs::read_to_string(prompt).ok()?;
    let row = newest(content, kind)?;
    let band = document(&root.join(format!("education/age_appropriateness/{}.json", row.audience)))?;
    band["sentence_words_maximum"].as_u64()?;

    let fill = |template: &str| resolve(template, &row, &blooms);
    // The prompt must resolve too: it is what the piece is asked for with.
    fill(&prompt)?;
    let mut piece = fill(pattern["title"].as_str()?)?;
    let sections = pattern["sections"].as_array()?;
    for section in sections {
        let text = fill(section["template"].as_str()?)?;
        if text.trim().is_empty() {
            return None;
        }
        piece.push_str(&format!("\n\n## {}\n{text}", section["name"].as_str()?));
    }
    let words = piece.split_whitespace().count() as u64;
    (!sections.is_empty() && words >= pattern["minimum_words"].as_u64()?).then_some(piece)
}

struct Item {
    title: String,
    audience: String,
    standard: String,
    text: String,
}

fn newest(content: &Connection, kind: &str) -> Option<Item> {
    let sql = "SELECT items.title, items.audience, items.standard, items.body FROM items
               JOIN prompts ON prompts.id = items.prompt_id AND prompts.content_type = items.content_type
               WHERE items.content_type = ?1 ORDER BY items.id DESC LIMIT 1";
    let row = content.query_row(sql, [kind], |row| {
        let body: String = row.get(3)?;
        Ok(Item {
            title: row.get(0)?,
            audience: row.get(1)?,
            standard: row.get(2)?,
            text: extract(&body),
        })
    });
    row.ok()
}

/// Returns the first paragraphs below the headings, up to about a hundred words.
fn extract(body: &str) -> String {
    let paragraphs = body
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<&str> = paragraphs.flat_map(str::split_whitespace).take(100).collect();
    words.join(" ")
}

/// Fills the places of a template: `{topic}`, `{audience}`, `{standard}`, `{text}`, `{verb:LEVEL}`,
/// `{stem:LEVEL}`. An unknown place, or a level without verbs, is `None`.
fn resolve(template: &str, item: &Item, blooms: &Value) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}')?;
        let audience = item.audience.replace('_', " ");
        let value = match place.split_once(':') {
            None => match place {
                "topic" => &item.title,
                "audience" => &audience,
                "standard" => &item.standard,
                "text" => &item.text,
                _ => return None,
            },
            Some((list, level)) => {
                let list = match list {
                    "verb" => "verbs",
                    "stem" => "question_stems",
                    _ => return None,
                };
                blooms["levels"][level][list].as_array()?.first()?.as_str()?
            }
        };
        if value.is_empty() {
            return None;
        }
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}
