//! `rekindle factoria …`: the arguments, and each command's result as JSON. Printing it is the caller's part.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::damage::{DamageOptions, How, damage};
use crate::error::FactoriaError;
use crate::generate::{GenerateOptions, generate};
use crate::probe::{ProbeKind, probe};
use crate::size;

/// A whole La Factoria context system, to try Rekindle on
#[derive(Clone, Debug, Subcommand)]
pub enum FactoriaCommand {
    /// Makes a system of any size from a seed
    Generate(GenerateArgs),
    /// Measures a system on disk and prints the numbers as one JSON object
    Probe(ProbeArgs),
    /// Destroys parts of a generated system, for real
    Damage(DamageArgs),
}

/// Arguments of `generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The folder to make; it must be new or empty
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// The same seed and size give the same system
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How large: 5MB, 1.5GiB …
    #[arg(long, default_value = "20MB", value_parser = size::parse)]
    pub size: u64,
}

/// Arguments of `probe`.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// What to measure
    pub kind: ProbeKind,
    /// The system's folder
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// For `files`: the part to compare with its manifest [default: all parts]
    #[arg(long, value_name = "PATH")]
    pub component: Option<PathBuf>,
}

/// Arguments of `damage`.
#[derive(Clone, Debug, Args)]
pub struct DamageArgs {
    /// The system's folder; it must carry the marker of a generated system
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// What to damage: a folder of the system, or a file in one; may be repeated
    #[arg(long = "component", value_name = "PATH", required = true)]
    pub components: Vec<PathBuf>,
    /// How to damage it
    #[arg(long)]
    pub how: How,
    /// Which files and bytes a corruption hits
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Does what the command says and returns its result.
///
/// `generate` and `damage` return what they did; `probe` returns one object of numbers.
///
/// # Errors
/// Those of [`generate()`], [`probe()`] and [`damage()`].
pub fn run(command: FactoriaCommand) -> Result<Value, FactoriaError> {
    match command {
        FactoriaCommand::Generate(GenerateArgs { root, seed, size }) => to_json(
            "the result",
            &generate(&GenerateOptions {
                root,
                seed,
                size_bytes: size,
            })?,
        ),
        FactoriaCommand::Probe(ProbeArgs {
            kind,
            root,
            component,
        }) => to_json("the measures", &probe(kind, &root, component.as_deref())?),
        FactoriaCommand::Damage(DamageArgs {
            root,
            components,
            how,
            seed,
        }) => to_json(
            "the result",
            &damage(&DamageOptions {
                root,
                components,
                how,
                seed,
            })?,
        ),
    }
}

fn to_json<T: serde::Serialize>(what: &str, value: &T) -> Result<Value, FactoriaError> {
    serde_json::to_value(value).map_err(FactoriaError::json(what))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: FactoriaCommand,
    }

    #[test]
    fn command_lines_parse_and_a_wrong_one_is_refused() {
        for line in [
            "x generate --root d --seed 7 --size 5MB",
            "x probe education --root d",
            "x probe files --root d --component cache",
            "x damage --root d --component cache --component db --how corrupt --seed 3",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "x generate --root d --size huge",
            "x probe weather --root d",
            "x damage --root d --how delete",
            "x damage --root d --component cache --how burn",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
