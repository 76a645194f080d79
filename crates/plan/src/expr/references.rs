//! What an expression uses: names, filters, tests and functions. So a check can find a name that will not be there,
//! before a run depends on it.

use minijinja::ErrorKind;
use minijinja::machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr};
use minijinja::machinery::parse_expr;

use super::{ExprError, environment, syntax};

/// The functions about the needed steps, which conditions may call: `success`, `failure`, `always`, `cancelled`.
pub(crate) const STATUS: [&str; 4] = ["success", "failure", "always", "cancelled"];

/// What one expression uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// The names, in the order of the expression.
    pub(crate) names: Vec<Reference>,
    /// The functions that it calls by name.
    pub(crate) calls: Vec<Named>,
    /// The methods that it calls, as in `a.b()`.
    pub(crate) methods: Vec<Named>,
    /// The filters, as in `a | b`.
    pub(crate) filters: Vec<Named>,
    /// The tests, as in `a is b`.
    pub(crate) tests: Vec<Named>,
}

/// The name of a filter, a test or a function in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
}

/// A name with what is asked of it: `steps.restore["orders"].bytes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Its parts, as far as the expression itself says them: `steps`, `restore`, `orders`, `bytes`.
    pub(crate) path: Vec<String>,
    /// Whether a part follows that only the run knows, as in `steps[each.component]`.
    pub(crate) open: bool,
    /// Whether the expression allows for its absence, by `is defined` or `default`.
    pub(crate) guarded: bool,
    /// Whether it is compared with a text as a whole.
    pub(crate) compared: bool,
    /// Whether a subtraction follows it, as in `steps.a-b`: perhaps the name has a hyphen.
    pub(crate) minus: Option<String>,
}

impl Reference {
    /// Returns it as it is written, up to a number of parts.
    pub(crate) fn text(&self, parts: usize) -> String {
        let mut text = String::new();
        for part in self.path.iter().take(parts) {
            match text.is_empty() {
                true => text.push_str(part),
                false => text.push_str(&format!(".{part}")),
            }
        }
        text
    }
}

/// Returns what an expression uses.
///
/// # Errors
/// It does not parse.
pub(crate) fn of(expression: &str) -> Result<Used, ExprError> {
    let parsed = parse_expr(expression).map_err(|error| syntax(expression, &error))?;
    let mut used = Used::default();
    used.visit(&parsed, Around::default());
    Ok(used)
}

/// What surrounds a part of an expression.
#[derive(Clone, Copy, Default)]
struct Around {
    guarded: bool,
    compared: bool,
}

impl Used {
    fn visit(&mut self, expr: &Expr<'_>, around: Around) {
        let inside = Around {
            guarded: around.guarded,
            compared: false,
        };
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.visit_name(expr, around),
            Expr::Const(_) => {}
            Expr::Slice(slice) => {
                self.visit(&slice.expr, inside);
                let bounds = [&slice.start, &slice.stop, &slice.step];
                bounds
                    .into_iter()
                    .flatten()
                    .for_each(|bound| self.visit(bound, inside));
            }
            Expr::UnaryOp(op) => self.visit(&op.expr, inside),
            Expr::BinOp(op) => {
                let (left, right) = (&op.left, &op.right);
                let equal = matches!(op.op, BinOpKind::Eq | BinOpKind::Ne | BinOpKind::In);
                let first = self.names.len();
                self.visit(
                    left,
                    Around {
                        compared: equal && is_text(right),
                        ..inside
                    },
                );
                if let (BinOpKind::Sub, Some(minus)) = (op.op, first_name(right))
                    && let Some(last) = self.names.get_mut(first..).and_then(<[_]>::last_mut)
                {
                    last.minus = Some(minus.to_owned());
                }
                self.visit(
                    right,
                    Around {
                        compared: equal && is_text(left),
                        ..inside
                    },
                );
            }
            Expr::Compare(compare) => {
                let text = compare.ops.iter().any(|op| {
                    matches!(op.op, CompareOpKind::Eq | CompareOpKind::Ne | CompareOpKind::In)
                        && is_text(&op.expr)
                });
                self.visit(
                    &compare.expr,
                    Around {
                        compared: text,
                        ..inside
                    },
                );
                for op in &compare.ops {
                    self.visit(
                        &op.expr,
                        Around {
                            compared: is_text(&compare.expr),
                            ..inside
                        },
                    );
                }
            }
            Expr::IfExpr(choice) => {
                self.visit(&choice.test_expr, inside);
                self.visit(&choice.true_expr, inside);
                choice.false_expr.iter().for_each(|expr| self.visit(expr, inside));
            }
            Expr::Filter(filter) => {
                let guarded = matches!(filter.name, "default" | "d");
                filter.expr.iter().for_each(|expr| {
                    self.visit(
                        expr,
                        Around {
                            guarded: guarded || inside.guarded,
                            ..inside
                        },
                    );
                });
                self.filters.push(Named {
                    name: filter.name.to_owned(),
                });
                self.visit_args(&filter.args, inside);
            }
            Expr::Test(test) => {
                let guarded = matches!(test.name, "defined" | "undefined");
                self.visit(
                    &test.expr,
                    Around {
                        guarded: guarded || inside.guarded,
                        ..inside
                    },
                );
                self.tests.push(Named {
                    name: test.name.to_owned(),
                });
                self.visit_args(&test.args, inside);
            }
            Expr::Call(call) => {
                match &call.expr {
                    Expr::Var(function) => self.calls.push(Named {
                        name: function.id.to_owned(),
                    }),
                    Expr::GetAttr(method) => {
                        self.visit(&method.expr, inside);
                        self.methods.push(Named {
                            name: method.name.to_owned(),
                        });
                    }
                    other => self.visit(other, inside),
                }
                self.visit_args(&call.args, inside);
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.visit(item, inside)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.visit(item, inside)),
            Expr::Map(map) => {
                map.keys
                    .iter()
                    .chain(&map.values)
                    .for_each(|part| self.visit(part, inside));
            }
        }
    }

    fn visit_args(&mut self, args: &[CallArg<'_>], around: Around) {
        for arg in args {
            match arg {
                CallArg::Pos(expr)
                | CallArg::Kwarg(_, expr)
                | CallArg::PosSplat(expr)
                | CallArg::KwargSplat(expr) => self.visit(expr, around),
            }
        }
    }

    /// Notes a name with the parts that follow it, from the last part inwards.
    fn visit_name(&mut self, expr: &Expr<'_>, around: Around) {
        let mut parts = Vec::new();
        let mut reference = Reference {
            guarded: around.guarded,
            compared: around.compared,
            ..Reference::default()
        };
        let mut rest = expr;
        loop {
            match rest {
                Expr::GetAttr(attr) => {
                    parts.push(Some(attr.name.to_owned()));
                    rest = &attr.expr;
                }
                Expr::GetItem(item) => {
                    let known = match &item.subscript_expr {
                        Expr::Const(key) => Some(key.value.to_string()),
                        other => {
                            self.visit(other, Around::default());
                            None
                        }
                    };
                    parts.push(known);
                    rest = &item.expr;
                }
                Expr::Var(name) => {
                    parts.push(Some(name.id.to_owned()));
                    break;
                }
                // A part of what an operator or a function returned.
                other => {
                    return self.visit(
                        other,
                        Around {
                            compared: false,
                            ..around
                        },
                    );
                }
            }
        }
        parts.reverse();
        reference.open = parts.iter().any(Option::is_none);
        reference.path = parts.into_iter().map_while(|part| part).collect();
        self.names.push(reference);
    }
}

fn is_text(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::Const(constant) if constant.value.as_str().is_some())
}

/// Returns the name that a part of an expression begins with.
fn first_name<'e>(expr: &'e Expr<'_>) -> Option<&'e str> {
    match expr {
        Expr::Var(name) => Some(name.id),
        Expr::GetAttr(attr) => first_name(&attr.expr),
        Expr::GetItem(item) => first_name(&item.expr),
        _ => None,
    }
}

/// The filters that a help line may suggest.
pub(crate) const FILTERS: [&str; 38] = [
    "abs",
    "batch",
    "bool",
    "capitalize",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "tojson",
    "trim",
    "unique",
    "upper",
];

/// The tests that a help line may suggest.
pub(crate) const TESTS: [&str; 15] = [
    "boolean",
    "defined",
    "endingwith",
    "even",
    "false",
    "float",
    "integer",
    "iterable",
    "mapping",
    "none",
    "number",
    "odd",
    "string",
    "true",
    "undefined",
];

/// The functions that every expression may call.
pub(crate) const FUNCTIONS: [&str; 2] = ["range", "dict"];

/// Returns whether there is a filter of this name.
pub(crate) fn is_filter(name: &str) -> bool {
    is_known(&format!("1|{name}"), ErrorKind::UnknownFilter)
}

/// Returns whether there is a test of this name.
pub(crate) fn is_test(name: &str) -> bool {
    is_known(&format!("1 is {name}"), ErrorKind::UnknownTest)
}

fn is_known(expression: &str, unknown: ErrorKind) -> bool {
    let environment = environment();
    let tried = environment
        .compile_expression(expression)
        .and_then(|compiled| compiled.eval(()));
    tried.map_or_else(|error| error.kind() != unknown, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_an_expression_is_found_with_the_parts_that_it_says() {
        let names = |expression: &str| -> Vec<String> {
            let used = of(expression).unwrap();
            used.names
                .iter()
                .map(|name| format!("{}{}", name.path.join("."), if name.open { "…" } else { "" }))
                .collect()
        };
        for (expression, expect) in [
            ("a", vec!["a"]),
            (
                "steps.restore['x'].ok and not params.n",
                vec!["steps.restore.x.ok", "params.n"],
            ),
            (
                "steps.restore[each.component].ok",
                vec!["each.component", "steps.restore…"],
            ),
            ("[a.b, {'k': c}] | join(d)", vec!["a.b", "c", "d"]),
            ("range(n)", vec!["n"]),
            (
                "x.y if p is defined else q | default(r)",
                vec!["p", "x.y", "q", "r"],
            ),
            ("(a ~ b).c", vec!["a", "b"]),
            ("t.f(u)[v:w]", vec!["t", "u", "v", "w"]),
            ("a < b < c", vec!["a", "b", "c"]),
            ("a[0].b", vec!["a.0.b"]),
        ] {
            assert_eq!(names(expression), expect, "{expression}");
        }
    }

    #[test]
    fn an_expression_says_which_absences_it_allows_for_and_what_it_calls() {
        let used = of("a is defined and b | d(1) > f(2) and c == 'x' and s.a-b.v > t.u.up()").unwrap();
        let by_name = |name: &str| used.names.iter().find(|found| found.text(9) == name).unwrap();
        assert!(by_name("a").guarded && by_name("b").guarded && !by_name("c").guarded);
        assert!(by_name("c").compared && !by_name("a").compared);
        assert_eq!(by_name("s.a").minus.as_deref(), Some("b"));
        assert_eq!(used.calls[0].name, "f");
        assert_eq!(used.methods[0].name, "up");
        assert_eq!(
            (used.filters[0].name.as_str(), used.tests[0].name.as_str()),
            ("d", "defined")
        );
    }

    #[test]
    fn every_suggested_filter_and_test_is_known() {
        for name in FILTERS {
            assert!(is_filter(name), "{name}");
        }
        for name in TESTS {
            assert!(is_test(name), "{name}");
        }
        assert!(!is_filter("nosuchfilter") && !is_test("nosuchtest"));
    }
}
