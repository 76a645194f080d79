//! The command line: the list of commands, and the function of each. A command's own arguments are in its file.

use clap::{CommandFactory, Parser, Subcommand};
use rekindle_workspace::Error;

use crate::App;
use crate::commands as c;
use crate::exit::Exit;
use crate::global::Global;
use crate::version;

/// Brings a system back after a disaster, and proves in advance that it can.
///
/// Without a command: can we come back, how long will it take, how much will we lose, where is the proof?
#[derive(Debug, Parser)]
#[command(name = "rekindle", version = version::SHORT, long_version = version::long(), max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; status without one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 done · 1 the run failed, or did nothing · 2 usage or invalid file · \
3 done in part · 4 interrupted, resumable · 5 data lost or integrity broken · 6 held by another";

/// The commands.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a command's help is the doc comment of its arguments; one here would hide it"
)]
pub enum Command {
    Demo(rekindle_demo::Args),
    Init(c::init::Args),
    Backup(c::backup::Args),
    Recover(c::recover::Args),
    Verify(c::verify::Args),
    Drill(c::drill::Args),
    Resume(c::resume::Args),
    Adopt(c::adopt::Args),
    Run(c::run::Args),
    Runs(c::runs::Args),
    Show(c::show::Args),
    History(c::history::Args),
    Graph(c::graph::Args),
    Lint(c::lint::Args),
    Plan(c::plan::Args),
    Prune(c::prune::Args),
    Serve(c::serve::Args),
    Watch(c::watch::Args),
    Logs(c::logs::Args),
    /// End a run early: stop the steps at work, skip the rest, undo what has an undo, run its handlers; twice, end these too
    Cancel(c::requests::RunArgs),
    /// Let a run begin no step until `rekindle unpause`; steps at work continue to their end
    Pause(c::requests::RunArgs),
    /// Let a paused run continue
    Unpause(c::requests::RunArgs),
    /// Let a step that waits for approval succeed
    Approve(c::requests::DecisionArgs),
    /// Let a step that waits for approval fail
    Reject(c::requests::DecisionArgs),
    Retry(c::requests::Retry),
    Skip(c::requests::Skip),
    Ls(c::browse::Ls),
    Find(c::browse::Find),
    Cat(c::browse::Cat),
    Diff(c::diff::Args),
    /// The places that keep backups
    #[command(subcommand)]
    Tier(c::tier::Command),
    Doctor(c::doctor::Args),
    Trust(c::trust::Args),
    Schema(c::schema::Args),
    Completions(c::completions::Args),
    Man(c::man::Args),
    Status(c::status::Args),
    Targets(c::targets::Args),
    Snapshots(c::snapshots::Args),
    Sets(c::sets::Args),
    Restore(c::restore::Args),
    /// The record of all runs: verify, export, import, rebuild, compact
    #[command(subcommand)]
    Journal(c::journal::Command),
    /// The key that opens the backups
    #[command(subcommand)]
    Key(c::key::Command),
    /// Try Rekindle on a whole La Factoria context system
    #[command(subcommand)]
    Factoria(rekindle_demo::factoria::FactoriaCommand),
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Error> {
        match self {
            Self::Demo(args) => c::demo::run(app, args).await,
            Self::Init(args) => c::init::run(app, &args).await,
            Self::Backup(args) => c::backup::run(app, &args).await,
            Self::Recover(args) => c::recover::run(app, &args).await,
            Self::Verify(args) => c::verify::run(app, &args).await,
            Self::Drill(args) => c::drill::run(app, &args).await,
            Self::Resume(args) => c::resume::run(app, &args).await,
            Self::Adopt(args) => c::adopt::run(app, &args).await,
            Self::Run(args) => c::run::run(app, &args).await,
            Self::Runs(args) => c::runs::run(app, &args).await,
            Self::Show(args) => c::show::run(app, &args).await,
            Self::History(args) => c::history::run(app, &args).await,
            Self::Graph(args) => c::graph::run(app, &args).await,
            Self::Lint(args) => c::lint::run(app, &args),
            Self::Plan(args) => c::plan::run(app, &args),
            Self::Prune(args) => c::prune::run(app, &args).await,
            Self::Serve(args) => c::serve::run(app, &args).await,
            Self::Watch(args) => c::watch::run(app, &args).await,
            Self::Logs(args) => c::logs::run(app, &args).await,
            Self::Cancel(args) => c::requests::cancel(app, &args).await,
            Self::Unpause(args) => c::requests::unpause(app, &args).await,
            Self::Pause(args) => c::requests::pause(app, &args).await,
            Self::Approve(args) => c::requests::approve(app, &args).await,
            Self::Reject(args) => c::requests::reject(app, &args).await,
            Self::Retry(args) => c::requests::retry(app, &args).await,
            Self::Skip(args) => c::requests::skip(app, &args).await,
            Self::Ls(args) => c::browse::ls(app, &args).await,
            Self::Find(args) => c::browse::find(app, &args).await,
            Self::Cat(args) => c::browse::cat(app, &args).await,
            Self::Diff(args) => c::diff::run(app, &args).await,
            Self::Tier(command) => c::tier::run(app, &command).await,
            Self::Doctor(args) => c::doctor::run(app, &args).await,
            Self::Trust(args) => c::trust::run(app, &args),
            Self::Schema(args) => c::schema::run(app, &args),
            Self::Completions(args) => c::completions::run(app, &args),
            Self::Man(args) => c::man::run(app, &args, Cli::command()),
            Self::Snapshots(args) => c::snapshots::run(app, &args).await,
            Self::Sets(args) => c::sets::run(app, &args).await,
            Self::Restore(args) => c::restore::run(app, &args).await,
            Self::Journal(command) => c::journal::run(app, &command).await,
            Self::Key(command) => c::key::run(app, &command).await,
            Self::Factoria(command) => c::demo::factoria(app, command).await,
            Self::Status(args) => c::status::run(app, &args).await,
            Self::Targets(args) => c::targets::run(app, &args).await,
        }
    }
}

#[cfg(test)]
mod completion_tests;
#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_documented_command_line_parses() {
        for line in [
            "rekindle",
            "rekindle --json",
            "rekindle demo --size 5MB --keep /tmp/x",
            "rekindle init here --kit kit.txt --passphrase-file p",
            "rekindle init here --from-kit kit.txt --tier-url file:///mnt/near",
            "rekindle backup --component a --component b --tier hot",
            "rekindle recover --scenario s --to out --from latest --tier hot --disaster-at 2026-11-23T10:00:00Z --strict",
            "rekindle recover --in-place --yes --dry-run",
            "rekindle verify --tier hot --level read --sample 10%",
            "rekindle drill lost_disk --from latest --tier hot --accept-older",
            "rekindle drill --all",
            "rekindle drill --clean",
            "rekindle resume",
            "rekindle resume --all",
            "rekindle resume 0199 --json",
            "rekindle adopt file:///mnt/near 0199 --yes",
            "rekindle adopt file:///mnt/near --list",
            "rekindle run flow.yaml -p a=1 -p b=two",
            "rekindle runs --status failed --workflow recover --since 7d",
            "rekindle show latest",
            "rekindle history latest --json",
            "rekindle graph recover.yaml --format dot",
            "rekindle lint",
            "rekindle status --check",
            "rekindle ls orders@2h_ago deep -R",
            "rekindle find *.md --component orders",
            "rekindle cat 0199 a.md --tier near",
            "rekindle lint a.yaml b.yaml",
            "rekindle plan recover",
            "rekindle -w dir snapshots",
            "rekindle sets -s other.yaml",
            "rekindle restore 0199 --to out --include *.md",
            "rekindle factoria probe security --root d --json",
            "rekindle factoria serve --root d --listen 127.0.0.1:8080 --rate 50 --for 5m --json",
            "rekindle factoria stamps --root d --json",
            "rekindle key export --kit kit.txt",
            "rekindle key list --json",
            "rekindle journal verify --json",
            "rekindle journal export latest 0199 --format jsonl -o runs.jsonl",
            "rekindle journal export --all -o runs.archive",
            "rekindle journal import runs.archive",
            "rekindle journal rebuild",
            "rekindle journal compact --older-than 90d --archive old.archive",
            "rekindle journal compact --older-than 90d --dry-run",
            "rekindle init --tier-url file:///mnt/near --ask-passphrase",
            "rekindle prune --tier hot --dry-run",
            "rekindle serve --json",
            "rekindle serve --max-parallel 4",
            "rekindle watch",
            "rekindle logs latest restore[context_cache]",
            "rekindle cancel latest --why drill",
            "rekindle pause 0199",
            "rekindle unpause 0199",
            "rekindle approve latest confirm --why seen",
            "rekindle reject latest",
            "rekindle retry latest restore[context_cache]",
            "rekindle skip latest confirm --why drill",
            "rekindle diff 0199 019a --tier hot",
            "rekindle tier list",
            "rekindle tier check hot",
            "rekindle tier create far",
            "rekindle status --json",
            "rekindle doctor",
            "rekindle schema system",
            "rekindle completions zsh",
            "rekindle man man1",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn a_contradictory_command_line_is_refused() {
        for (line, kind) in [
            ("rekindle recover --to x --in-place", ErrorKind::ArgumentConflict),
            ("rekindle restore 0199", ErrorKind::MissingRequiredArgument),
            ("rekindle resume 0199 --all", ErrorKind::ArgumentConflict),
            ("rekindle graph latest --format png", ErrorKind::InvalidValue),
            ("rekindle cat notes", ErrorKind::MissingRequiredArgument),
            ("rekindle serve --max-parallel 0", ErrorKind::ValueValidation),
            ("rekindle serve --max-parallel 257", ErrorKind::ValueValidation),
            ("rekindle run f.yaml -p novalue", ErrorKind::ValueValidation),
            ("rekindle verify --sample 120%", ErrorKind::ValueValidation),
            ("rekindle skip latest confirm", ErrorKind::MissingRequiredArgument),
            ("rekindle journal export -o x", ErrorKind::MissingRequiredArgument),
            ("rekindle journal compact", ErrorKind::MissingRequiredArgument),
            ("rekindle recver", ErrorKind::InvalidSubcommand),
            ("rekindle init --passphrase secret", ErrorKind::UnknownArgument),
        ] {
            assert_eq!(
                parse(line).map(|_| ()).map_err(|error| error.kind()),
                Err(kind),
                "{line}"
            );
        }
    }
}
