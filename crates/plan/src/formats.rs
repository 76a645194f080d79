//! The forms of text in system and workflow files: what documents call each, and what is wrong with one that does not
//! fit.

use std::fmt::Display;
use std::str::FromStr;

use rekindle_model::expect::Expect;
use rekindle_model::keys::{Fault, Format};
use rekindle_model::system::Period;

use crate::expr;
use crate::location;
use crate::overlap;
use crate::plan::RunIf;

type Verdict = Result<(), Fault>;

/// What a user may call a component, a tier, a step.
pub(crate) const NAME: &Format = &Format {
    name: "name",
    pattern: r"^[\p{L}\p{N}_.-]{1,100}$",
    check: |text| match is_name(text) {
        true => Ok(()),
        false => fault(
            format!("`{text}` cannot be a name"),
            "use letters, digits, `_`, `-` and `.`, at most 100 of them",
        ),
    },
};

/// A length of time.
pub(crate) const DURATION: &Format = &Format {
    name: "duration such as `90s`, `15m` or `2h 30m`",
    pattern: "",
    check: parses::<Period>,
};

/// What a measured number must be.
pub(crate) const COMPARISON: &Format = &Format {
    name: "comparison such as `<= 100` or `== true`",
    pattern: "^ *(<|<=|==|!=|>=|>)? *([-0-9.].*|true|false) *$",
    check: parses::<Expect>,
};

/// An expression, with or without `${{ }}` around it.
pub(crate) const EXPRESSION: &Format = &Format {
    name: "expression",
    pattern: "",
    check: |text| expr::check(text).map_err(plain),
};

/// A text that may hold expressions.
pub(crate) const TEMPLATE: &Format = &Format {
    name: "text with expressions",
    pattern: "",
    check: |text| expr::check_text(text).map_err(plain),
};

/// A path below the system's root.
pub(crate) const PATH: &Format = &Format {
    name: "path below `root`",
    pattern: "^[^/]",
    check: |text| match overlap::parts(text) {
        Ok(_) => Ok(()),
        Err(why) => Err(plain(format!("the path {why}"))),
    },
};

/// A path below the system's root that may hold expressions.
pub(crate) const PATH_TEMPLATE: &Format = &Format {
    name: "path below `root`, with expressions",
    pattern: "^[^/]",
    check: |text| templated(text, PATH.check),
};

/// A glob, relative to the path beside it.
pub(crate) const GLOB: &Format = &Format {
    name: "glob",
    pattern: "",
    check: |text| {
        (TEMPLATE.check)(text)?;
        match globset::Glob::new(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(plain(format!("not a glob: {}", error.kind()))),
        }
    },
};

/// A BLAKE3 digest.
pub(crate) const DIGEST: &Format = &Format {
    name: "64 hexadecimal digits, or an expression",
    pattern: "",
    check: |text| {
        templated(text, |text| {
            match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                true => Ok(()),
                false => fault(
                    format!("`{text}` is not a digest"),
                    "a digest has 64 hexadecimal digits",
                ),
            }
        })
    },
};

/// Where a number is in a JSON document.
pub(crate) const POINTER: &Format = &Format {
    name: "JSON pointer such as `/queue/length`",
    pattern: "^$|^[/$]",
    check: |text| {
        (TEMPLATE.check)(text)?;
        match text.is_empty() || text.starts_with(['/', '$']) {
            true => Ok(()),
            false => fault(
                format!("`{text}` is not a JSON pointer"),
                &format!("write `/{}`", text.replace('.', "/")),
            ),
        }
    },
};

/// Where a tier keeps its backups.
pub(crate) const LOCATION: &Format = &Format {
    name: "URL such as `file:///mnt/near` or `file://./near`",
    pattern: "",
    check: location::check,
};

/// The name of a concurrency group.
pub(crate) const GROUP: &Format = &Format {
    name: "text of 1 to 128 bytes",
    pattern: "^.{1,128}$",
    check: |text| {
        let message = match text.len() {
            0 => "a group without a name".to_owned(),
            1..=LONGEST_GROUP => return Ok(()),
            long => format!("the group's name is {long} bytes long; at most {LONGEST_GROUP} may be"),
        };
        fault(message, "call the group by a short word")
    },
};

/// The longest name of a group, in bytes: a record carries it, and has 4 KiB. People need a word or two.
const LONGEST_GROUP: usize = 128;

/// When a step runs.
pub(crate) const CONDITION: &Format = &Format {
    name: "`success`, `failure`, `always` or an expression",
    pattern: "",
    check: |text| RunIf::read(text).map(drop),
};

/// Returns whether a text may be between the brackets of a step's id.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Checks the expressions of a text; one without any is checked by `check` too.
fn templated(text: &str, check: impl Fn(&str) -> Verdict) -> Verdict {
    match text.contains("${{") {
        true => (TEMPLATE.check)(text),
        false => check(text),
    }
}

fn parses<T: FromStr<Err: Display>>(text: &str) -> Verdict {
    text.parse::<T>().map(drop).map_err(plain)
}

fn plain(message: impl Display) -> Fault {
    Fault {
        message: message.to_string(),
        help: None,
    }
}

fn fault(message: String, help: &str) -> Verdict {
    Err(Fault {
        message,
        help: Some(help.to_owned()),
    })
}
