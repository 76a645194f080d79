//! The forms of text in system and workflow files: their names in documents, and the check of each.

use std::fmt::Display;
use std::str::FromStr;

use rekindle_model::expect::Expect;
use rekindle_model::keys::Format;
use rekindle_model::system::Period;

use crate::diagnostic::Fault;
use crate::expr::{self, ExprError};
use crate::overlap;
use crate::plan::RunIf;

/// The longest name of a group, in bytes: a record carries it, and has 4 KiB. People need a word or two.
const LONGEST_GROUP: usize = 128;

/// The description of a form for documents and editors.
pub(crate) struct About {
    /// Its name.
    pub(crate) name: &'static str,
    /// Texts that have it.
    pub(crate) examples: &'static [&'static str],
    /// A regular expression (ECMA 262); empty if none describes the form.
    pub(crate) pattern: &'static str,
}

/// Returns the description of a form for documents and editors.
pub(crate) fn about(format: Format) -> About {
    let (name, examples, pattern): (_, &[&str], _) = match format {
        Format::Plain => ("text", &[], ""),
        Format::Name => ("name", &[], r"^[\p{L}\p{N}_.-]{1,100}$"),
        Format::Duration => ("duration", &["90s", "15m", "2h 30m"], ""),
        Format::Comparison => (
            "comparison",
            &["<= 100", "== true", ">= 0.95 of baseline"],
            COMPARISON,
        ),
        Format::Expression => ("expression", &["a.b >= 0.95 and c"], ""),
        Format::Template | Format::CommandWord => ("text with expressions", &[], ""),
        Format::Path => ("path", &["notes", "/etc"], ""),
        Format::PathTemplate => ("path with expressions", &[], ""),
        Format::Glob => ("glob", &["*.tmp", "cache/**"], ""),
        Format::Digest => ("64 hexadecimal digits, or an expression", &[], ""),
        Format::Pointer => ("JSON pointer", &["/queue/length"], "^$|^[/$]"),
        Format::Location => ("URL", &["file:///mnt/near", "file://./near"], ""),
        Format::Group => ("text of 1 to 128 bytes", &[], "^.{1,128}$"),
        Format::Condition => (
            "`success`, `failure`, `always` or an expression",
            &["success", "failure", "always"],
            "",
        ),
    };
    About {
        name,
        examples,
        pattern,
    }
}

const COMPARISON: &str = "^ *(<|<=|==|!=|>=|>)? *([-0-9.].*|true|false|baseline) *$";

/// Checks that a text has a form.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(format: Format, text: &str) -> Result<(), Fault> {
    match format {
        // What a location may be, the kinds of storage say.
        Format::Plain | Format::Location => Ok(()),
        Format::Name if is_name(text) => Ok(()),
        Format::Name => fault(
            format!("`{text}` cannot be a name"),
            "use letters, digits, `_`, `-` and `.`, at most 100 of them",
        ),
        Format::Duration => parses::<Period>(text),
        Format::Comparison => parses::<Expect>(text),
        Format::Expression => expr::check(text).map_err(expression),
        Format::Template | Format::CommandWord => expr::check_text(text).map_err(expression),
        Format::PathTemplate | Format::Digest if text.contains("${{") => check(Format::Template, text),
        Format::Path | Format::PathTemplate => match overlap::parts(text) {
            Ok(_) => Ok(()),
            Err(why) => Err(plain(format!("the path {why}"))),
        },
        Format::Glob => {
            check(Format::Template, text)?;
            match globset::Glob::new(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(plain(format!("not a glob: {}", error.kind()))),
            }
        }
        Format::Digest if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(()),
        Format::Digest => fault(
            format!("`{text}` is not a digest"),
            "a digest has 64 hexadecimal digits",
        ),
        Format::Pointer if text.is_empty() || text.starts_with(['/', '$']) => check(Format::Template, text),
        Format::Pointer => fault(
            format!("`{text}` is not a JSON pointer"),
            &format!("write `/{}`", text.replace('.', "/")),
        ),
        Format::Group => {
            let message = match text.len() {
                0 => "a group without a name".to_owned(),
                1..=LONGEST_GROUP => return Ok(()),
                long => format!("the group's name is {long} bytes long; at most {LONGEST_GROUP} may be"),
            };
            fault(message, "call the group by a short word")
        }
        Format::Condition => RunIf::read(text).map(drop),
    }
}

/// Returns whether a text may be between the brackets of a step's id.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn parses<T: FromStr<Err: Display>>(text: &str) -> Result<(), Fault> {
    text.parse::<T>().map(drop).map_err(plain)
}

fn plain(message: impl Display) -> Fault {
    Fault {
        message: message.to_string(),
        help: None,
    }
}

fn expression(error: ExprError) -> Fault {
    Fault {
        message: error.to_string(),
        help: error.help(),
    }
}

fn fault(message: String, help: &str) -> Result<(), Fault> {
    Err(Fault {
        message,
        help: Some(help.to_owned()),
    })
}
