//! Every key of a workflow file.

use rekindle_model::keys::Format::*;
use rekindle_model::keys::Takes::*;
use rekindle_model::keys::{Key, Object, key};

use super::ParamKind;

const DESCRIPTION: Key = key("description", Text(Plain), "What it is for, for people.");

/// The whole file.
pub(crate) const WORKFLOW: &Object = &Object {
    noun: "workflow",
    keys: &[
        key("workflow", Text(Plain), "The workflow's name.").required(),
        DESCRIPTION,
        key("params", Named("parameter", &Object(PARAM)), "The parameters that a run may be given, by name."),
        key("max_parallel", Integer(1, u32::MAX as u64),
            "How many steps of a run may be at work at once.").or("2"),
        key("deadline", Text(Duration),
            "How long a run may take. The time that it waits for its group does not count."),
        key("concurrency", Text(Group),
            "A group of runs. One run of the group is at work at a time, the others wait."),
        key("defaults", Object(DEFAULTS),
            "What applies to steps that say nothing else, handlers included. `timeout` and `retry` are not for \
             `approve` and `workflow`, which wait for others."),
        key("steps", List(&Object(STEP)), "The steps.").required(),
        ON_SUCCESS,
        ON_FAILURE,
        ON_CANCEL,
        FINALLY,
        key("handler_timeout", Text(Duration),
            "How long all attempts of a handler together may take, unless it has a `deadline`.").or("10m"),
    ],
};

const ON_SUCCESS: Key = key("on_success", List(&Object(STEP)),
    "Handlers: steps that run once all steps have ended, if the run succeeded.");
const ON_FAILURE: Key = key("on_failure", List(&Object(STEP)),
    "Handlers that run if the run failed, once its steps are undone.");
const ON_CANCEL: Key = key("on_cancel", List(&Object(STEP)), "Handlers that run if the run was cancelled.");
const FINALLY: Key = key("finally", List(&Object(STEP)), "Handlers that always run, after all others.");

/// The handlers of a system for its own backups, recoveries and verifications.
pub(crate) const HOOKS: &Object = &Object {
    noun: "hooks",
    keys: &[ON_SUCCESS, ON_FAILURE, ON_CANCEL, FINALLY],
};

const PARAM: &Object = &Object {
    noun: "parameter",
    keys: &[
        key("type", Word(&ParamKind::NAMES), "The type of its value.").required(),
        key("default", Any, "Its value in a run that gives none. Without it the parameter must be given."),
        DESCRIPTION,
    ],
};

pub(crate) const SCRIPT: Key = key("shell", Text(Template),
    "A script that `sh -e` runs. It ends at the first command that fails. Give it values by `env`.");
pub(crate) const ENV: Key = key("env", TextMap(Template), "Environment variables of the step's program, by name.");
pub(crate) const CWD: Key = key("cwd", Text(Template),
    "The folder in which the step's program runs, relative to that of system.yaml.");
pub(crate) const SECRETS: Key = key("secrets", Named("secret", &Object(SECRET)),
    "Environment variables of the step's program that nothing shows or journals, by name.");

const SECRET: &Object = &Object {
    noun: "secret",
    keys: &[
        key("env", Text(Plain), "The variable of Rekindle's own environment that holds it."),
        key("file", Text(Template), "The file that holds it. A line feed at its end does not belong to it."),
        key("command", Texts(CommandWord), "The program that prints it, and its arguments."),
    ],
};

const DEFAULTS: &Object = &Object {
    noun: "defaults",
    keys: &[
        key("timeout", Text(Duration), "How long one attempt may take."),
        key("retry", Object(RETRY), "How often and when a step is tried again."),
        key("env", TextMap(Template), "Environment variables of programs, by name. Those of a step count more."),
        key("cwd", Text(Template), "The folder in which programs run."),
    ],
};

const STEP: &Object = &Object {
    noun: "step",
    keys: &[
        key("id", Text(Name),
            "The step's name. In a loop the values follow in brackets: `restore[orders]`.").required(),
        DESCRIPTION,
        key("for_each", Loop,
            "What the step loops over: `component`, `tier`, a list of values, or lists by name. It becomes one step for \
             each value, or for each combination. See [loops](#loops)."),
        key("needs", Texts(Plain), "The steps that must end before this one begins."),
        key("uses", Text(Plain), "The action that the step runs. With `shell` it is `command`, else required."),
        key("with", With, "The action's parameters. Their texts may hold expressions, `${{ }}`."),
        SCRIPT,
        ENV,
        CWD,
        SECRETS,
        key("run_if", Text(Condition),
            "When the step runs. Without it `success`: all steps that it needs succeeded."),
        key("retry", Object(RETRY), "How often and when the step is tried again. Without it one attempt."),
        key("timeout", Text(Duration), "How long one attempt may take."),
        key("deadline", Text(Duration),
            "How long all attempts together may take, from the start of the first."),
        key("stall_timeout", Text(Duration), "How long an attempt may run without a sign of progress."),
        key("concurrency", Text(Group),
            "A group of steps, of all runs of the workspace. One step of the group is at work at a time."),
        key("continue_on_error", Flag,
            "Whether the run goes on and may succeed if the step fails. What needs it runs as if it had succeeded."),
        key("max_interruptions", Integer(1, u32::MAX as u64),
            "After how many attempts in a row the step fails, if each was cut off without progress.").or("10"),
        key("max_parallel", Integer(1, u32::MAX as u64), "How many steps of the loop may be at work at once."),
        key("compensate", Object(COMPENSATE),
            "The action that undoes the step, unless the run succeeds."),
    ],
};

const RETRY: &Object = &Object {
    noun: "retry",
    keys: &[
        key("max_attempts", Integer(1, u32::MAX as u64), "How many attempts there are in all.").required(),
        key("backoff", Object(BACKOFF), "How long to wait between attempts."),
        key("non_retryable", Texts(Plain), "Codes of failures after which no attempt follows."),
        key("interrupt_on", Texts(Plain),
            "Codes of failures that a person can mend, such as `disk_full`. Once the attempts are used up, the \
             run is interrupted and can be resumed."),
    ],
};

const BACKOFF: &Object = &Object {
    noun: "backoff",
    keys: &[
        key("initial", Text(Duration), "The wait before the second attempt.").or("1s"),
        key("factor", Number(1.0, 1000.0), "The number by which each further wait is multiplied.").or("2"),
        key("max", Text(Duration), "The longest wait.").or("1m"),
        key("jitter", Number(0.0, 1.0),
            "The share of the wait by which it varies at random, either way.").or("0.2"),
    ],
};

const COMPENSATE: &Object = &Object {
    noun: "compensate",
    keys: &[
        key("uses", Text(Plain),
            "The action. It may run twice, and must do no harm the second time. With `shell` it is `command`, else \
             required."),
        key("with", With, "The action's parameters. `output` is the step's output, null if the step failed."),
        SCRIPT,
        ENV,
        CWD,
        SECRETS,
    ],
};
