//! The audit log: one JSON object a line, append-only, numbered without gaps, each line chained to the one
//! before, and signed now and then.
//!
//! ```text
//! {"seq":17,"at":"2026-01-05T00:01:12Z","actor":"…","action":"…","note":"…","hash":"<64 hex>"}
//! {"seq":64,"at":"…","actor":"…","action":"…","note":"…","signed":"<128 hex>","hash":"<64 hex>"}
//! ```
//! `hash` is BLAKE3 over the previous line's hash (64 hex digits; zeros before the first) and the line up to
//! and without `,"hash":`. If a line is removed, added, changed or moved, the chain breaks there.
//!
//! Every 64th line is a checkpoint: it carries a signature over the number and the hash of the line before. So
//! a person without the key cannot forge a chain of more than 63 lines. The checkpoint in a file of its own has the
//! number and the hash of the last line that was there when the system was made. Whether a log was cut after that
//! shows against the number and the hash that were journaled with a backup ([`Head`]).

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use crate::probe::Digest;
use crate::signing::{Purpose, Signer, verify};

/// The hash before the first line.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const HASH_FIELD: &str = ",\"hash\":\"";
const SIGNED_FIELD: &str = ",\"signed\":\"";
/// One line in so many is signed: rarely enough that signing costs nothing, and often enough that little of the
/// newest is without a signature. At the usual rate of records that is every ten seconds.
pub(crate) const SIGNED_EVERY: u64 = 64;
/// The longest line that is read, in bytes; lines have a few hundred. What is longer is no log.
const LONGEST_LINE: u64 = 64 << 10;

/// Where the log stood when the checkpoint was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The sequence number of the newest line.
    pub seq: u64,
    /// Its hash, in hex.
    pub hash: String,
}

impl Checkpoint {
    /// Returns the state before the first line.
    pub(crate) fn genesis() -> Self {
        Self {
            seq: 0,
            hash: GENESIS.to_owned(),
        }
    }

    /// Returns what a signature of the log up to this line is over.
    pub(crate) fn message(&self) -> Vec<u8> {
        format!("{} {}", self.seq, self.hash).into_bytes()
    }

    /// Returns the first 48 bits of the hash as a number.
    fn head(&self) -> f64 {
        blake3::Hash::from_hex(&self.hash).map_or(0.0, |hash| Digest::short(hash.as_bytes()))
    }
}

/// A line by its number and the first 48 bits of its hash, as both are journaled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Head {
    /// The sequence number.
    pub seq: f64,
    /// The bits, as a number.
    pub head: f64,
}

/// What a log was found to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Audit {
    /// Lines that end in a line feed.
    pub lines: u64,
    /// Lines that follow the one before in number and in chain, and carry their own hash.
    pub sound: u64,
    /// The highest sequence number that any line claims.
    pub last_seq: u64,
    /// Whether something stands after the last line feed: a write that was under way, or one cut off.
    pub torn_tail: bool,
    /// Whether the checkpoint's line is there with the checkpoint's hash; false without a checkpoint.
    pub anchored: bool,
    /// The first 48 bits of the hash of the newest sound line, as a number; 0 without one.
    pub head: f64,
    /// Lines that must be signed: every 64th.
    pub checkpoints: u64,
    /// Those of them whose signature holds.
    pub signed: u64,
    /// Whether a sound line has the number and the hash that were looked for.
    pub reached: bool,
}

impl Audit {
    /// Returns the share of sound lines among those that must be there: all up to the highest number seen,
    /// and all up to the checkpoint. Never above what the lines found allow.
    pub fn gapless(&self, checkpoint: Option<&Checkpoint>) -> f64 {
        let expected = self
            .lines
            .max(self.last_seq)
            .max(checkpoint.map_or(0, |checkpoint| checkpoint.seq));
        if expected == 0 || checkpoint.is_none() {
            return 0.0;
        }
        // A chain rewritten from the genesis is sound in itself; only the checkpoint's hash shows it.
        let sound = if self.anchored {
            self.sound
        } else {
            self.sound.min(expected - 1)
        };
        sound as f64 / expected as f64
    }
}

/// Completes the line in `out` that began at `start` with its hash, and returns the hash for the next line.
pub fn seal(out: &mut Vec<u8>, start: usize, previous: &str) -> String {
    let hash = chained(previous, &out[start..]);
    out.extend_from_slice(HASH_FIELD.as_bytes());
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(b"\"}\n");
    hash
}

/// Returns the number and the hash that a line, given without its line feed, claims for itself; `None` where it
/// is no line of a log. Whether the claim holds, [`follows`] says.
pub fn claims(line: &[u8]) -> Option<Checkpoint> {
    let (seq, _, hash) = split(line)?;
    Some(Checkpoint {
        seq,
        hash: hash.to_owned(),
    })
}

/// Returns the number and the hash of a line that is whole and comes right after `previous`, in number and in
/// chain; `None` for any other.
pub fn follows(previous: &Checkpoint, line: &[u8]) -> Option<Checkpoint> {
    let (seq, body, hash) = split(line)?;
    let sound = previous.seq.checked_add(1) == Some(seq) && chained(&previous.hash, body) == hash;
    sound.then(|| Checkpoint {
        seq,
        hash: hash.to_owned(),
    })
}

/// Returns the field that line `seq` must carry before its hash: the signature over the line before, or nothing.
pub(crate) fn signature(signer: &Signer, seq: u64, previous: &Checkpoint) -> String {
    match seq.is_multiple_of(SIGNED_EVERY) {
        true => format!(
            "{SIGNED_FIELD}{}\"",
            signer.sign(Purpose::Audit, &previous.message())
        ),
        false => String::new(),
    }
}

/// Reads a log line by line and judges its chain and its signatures, these with the public half of the key. `sought`
/// is a line to look for.
pub fn read(
    mut log: impl BufRead,
    checkpoint: Option<&Checkpoint>,
    public: &[u8],
    sought: Option<Head>,
) -> io::Result<Audit> {
    let mut audit = Audit::default();
    let mut previous = Checkpoint::genesis();
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(audit);
        }
        if line.pop() != Some(b'\n') {
            audit.torn_tail = true;
            return Ok(audit);
        }
        audit.lines += 1;
        let Some((seq, body, hash)) = split(&line) else {
            continue;
        };
        let found = Checkpoint {
            seq,
            hash: hash.to_owned(),
        };
        if previous.seq.checked_add(1) == Some(seq) && chained(&previous.hash, body) == hash {
            audit.sound += 1;
            audit.head = found.head();
            let this = Head {
                seq: seq as f64,
                head: audit.head,
            };
            audit.reached |= sought == Some(this);
        }
        if seq.is_multiple_of(SIGNED_EVERY) {
            audit.checkpoints += 1;
            let signature = signed(body).unwrap_or("");
            let holds = verify(public, Purpose::Audit, &previous.message(), signature);
            audit.signed += u64::from(holds);
        }
        audit.anchored |= checkpoint == Some(&found);
        // Go on from what the line claims: one gap is one unsound line, not a log that is lost from there on.
        audit.last_seq = audit.last_seq.max(seq);
        previous = found;
    }
}

/// Returns the signature at the end of a line's body.
fn signed(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('"')?;
    text.rsplit_once(SIGNED_FIELD).map(|(_, signature)| signature)
}

fn chained(previous: &str, body: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous.as_bytes());
    hasher.update(body);
    hasher.finalize().to_hex().to_string()
}

/// Returns number, hashed body and hash of a line.
fn split(line: &[u8]) -> Option<(u64, &[u8], &str)> {
    let text = std::str::from_utf8(line).ok()?;
    let at = text.rfind(HASH_FIELD)?;
    let hash = text[at + HASH_FIELD.len()..].strip_suffix("\"}")?;
    let number = text.strip_prefix("{\"seq\":")?;
    let digits = number.find(|c: char| !c.is_ascii_digit())?;
    let seq = number[..digits].parse().ok()?;
    (hash.len() == GENESIS.len()).then_some((seq, &line[..at], hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: u64) -> (Vec<u8>, Checkpoint) {
        let mut out = Vec::new();
        let mut hash = GENESIS.to_owned();
        for seq in 1..=lines {
            let start = out.len();
            out.extend_from_slice(format!("{{\"seq\":{seq},\"at\":\"then\",\"note\":\"n{seq}\"").as_bytes());
            hash = seal(&mut out, start, &hash);
        }
        (out, Checkpoint { seq: lines, hash })
    }

    fn judge(log: &[u8], checkpoint: Option<&Checkpoint>) -> Audit {
        read(log, checkpoint, &[], None).unwrap()
    }

    fn gapless(log: &[u8], checkpoint: &Checkpoint) -> f64 {
        judge(log, Some(checkpoint)).gapless(Some(checkpoint))
    }

    #[test]
    fn a_log_reaches_a_line_that_it_holds_and_none_that_was_cut_off_or_forged() {
        let (whole, (cut, end)) = (log(20).0, log(15));
        let (grown, _) = log(25);
        let at_end = judge(&whole, None);
        let sought = Head {
            seq: 20.0,
            head: at_end.head,
        };
        let reaches = |log: &[u8], sought| read(log, None, &[], Some(sought)).unwrap().reached;
        assert!(at_end.head > 0.0 && reaches(&whole, sought) && !reaches(&cut, sought));
        assert!(reaches(&grown, sought));
        let other = Head {
            head: sought.head + 1.0,
            ..sought
        };
        assert!(!reaches(&grown, other));
        assert_eq!(
            gapless(&cut, &end),
            1.0,
            "the log by itself does not tell that it was cut"
        );
    }

    #[test]
    fn every_64th_line_is_signed_and_a_chain_forged_without_the_key_shows() {
        let key = Signer::from_seed(&[7; 32]).unwrap();
        let forger = Signer::from_seed(&[8; 32]).unwrap();
        let signed_by = |signer: &Signer| {
            let mut out = Vec::new();
            let mut last = Checkpoint::genesis();
            for seq in 1..=130 {
                let start = out.len();
                let signature = signature(signer, seq, &last);
                out.extend_from_slice(format!("{{\"seq\":{seq},\"note\":\"n\"{signature}").as_bytes());
                let hash = seal(&mut out, start, &last.hash);
                last = Checkpoint { seq, hash };
            }
            read(&out[..], Some(&last), key.public(), None).unwrap()
        };
        let (own, forged) = (signed_by(&key), signed_by(&forger));
        assert_eq!((own.sound, own.checkpoints, own.signed), (130, 2, 2));
        assert_eq!((forged.sound, forged.checkpoints, forged.signed), (130, 2, 0));
    }

    #[test]
    fn a_line_without_an_end_is_read_no_further_than_a_line_may_be() {
        let endless = io::BufReader::new(io::repeat(0));
        assert!(read(endless, None, &[], None).unwrap().torn_tail);
    }

    #[test]
    fn a_whole_log_is_gapless_also_when_it_has_grown_since_the_checkpoint() {
        let (whole, end) = log(20);
        assert_eq!(gapless(&whole, &end), 1.0);
        let (grown, _) = log(25);
        assert_eq!(gapless(&grown, &end), 1.0);
        assert_eq!(judge(&grown, None).last_seq, 25);
    }

    #[test]
    fn any_line_dropped_changed_or_swapped_shows() {
        let (whole, end) = log(20);
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        for index in 0..lines.len() {
            let mut dropped = lines.clone();
            dropped.remove(index);
            assert!(gapless(&dropped.concat(), &end) < 1.0, "dropped {index}");
            let mut changed = whole.clone();
            let at = lines[..index].concat().len() + 12;
            changed[at] ^= 1;
            assert!(gapless(&changed, &end) < 1.0, "changed {index}");
            if index > 0 {
                let mut swapped = lines.clone();
                swapped.swap(index, index - 1);
                assert!(gapless(&swapped.concat(), &end) < 1.0, "swapped {index}");
            }
        }
    }

    #[test]
    fn a_log_rewritten_from_the_start_is_shown_by_the_checkpoint() {
        let (_, end) = log(20);
        let mut forged = Vec::new();
        let mut hash = GENESIS.to_owned();
        for seq in 1..=20 {
            let start = forged.len();
            forged.extend_from_slice(format!("{{\"seq\":{seq},\"note\":\"forged\"").as_bytes());
            hash = seal(&mut forged, start, &hash);
        }
        assert!(gapless(&forged, &end) < 1.0);
    }

    #[test]
    fn a_number_given_twice_shows_even_where_the_chain_holds() {
        let mut out = Vec::new();
        let mut end = Checkpoint {
            seq: 0,
            hash: GENESIS.to_owned(),
        };
        for seq in [1, 2, 2, 3] {
            let start = out.len();
            out.extend_from_slice(format!("{{\"seq\":{seq},\"note\":\"n\"").as_bytes());
            end = Checkpoint {
                seq,
                hash: seal(&mut out, start, &end.hash),
            };
        }
        assert!(gapless(&out, &end) < 1.0);
    }

    #[test]
    fn a_torn_tail_beyond_the_checkpoint_is_told_and_not_counted() {
        let (mut log, end) = log(5);
        log.extend_from_slice(b"{\"seq\":6,\"at\":");
        let audit = judge(&log, Some(&end));
        assert!(audit.torn_tail);
        assert_eq!(audit.gapless(Some(&end)), 1.0);
    }

    #[test]
    fn without_a_checkpoint_or_lines_nothing_is_proven() {
        let (whole, end) = log(3);
        assert_eq!(judge(&whole, None).gapless(None), 0.0);
        assert_eq!(gapless(b"", &end), 0.0);
    }
}
