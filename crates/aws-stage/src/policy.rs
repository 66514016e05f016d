//! IAM policy documents and their evaluation: an explicit Deny wins, then an Allow, else the implicit deny.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use serde_json::Value;

use super::api::AwsError;

/// A parsed policy document, identity-based or a role's trust policy.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The text as it was given.
    pub text: String,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    allows: bool,
    actions: Matcher,
    resources: Option<Matcher>,
    principal: Value,
    conditions: Vec<Condition>,
}

/// `Action`/`Resource`, or their negations.
#[derive(Clone, Debug)]
struct Matcher {
    negated: bool,
    patterns: Vec<String>,
}

#[derive(Clone, Debug)]
struct Condition {
    operator: String,
    key: String,
    values: Vec<String>,
}

/// What a request brings to the conditions: keys with their values.
pub(crate) type Context = Vec<(String, Vec<String>)>;

/// The answer of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Allowed by a statement and denied by none.
    Allowed,
    /// A Deny statement matched.
    ExplicitDeny,
    /// Nothing matched.
    ImplicitDeny,
}

/// What a statement is matched with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// `service:Operation`.
    pub action: &'a str,
    /// The ARN, or `*`.
    pub resource: &'a str,
    /// Condition keys.
    pub context: &'a Context,
}

/// Who asks a trust policy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Principal<'a> {
    /// `Principal.Federated`: an identity provider's ARN.
    Federated(&'a str),
    /// `Principal.AWS`: every name that stands for the caller: its account, its role, its session.
    Aws(&'a [String]),
}

impl Policy {
    /// Reads a document, refusing what IAM refuses.
    pub(crate) fn parse(text: &str) -> Result<Self, AwsError> {
        let malformed = |why: &str| AwsError::client("MalformedPolicyDocument", why);
        let document: Value = serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.clone(),
            Some(statement @ Value::Object(_)) => vec![statement.clone()],
            _ => return Err(malformed("Missing required field Statement")),
        };
        let statements: Option<Vec<_>> = statements.iter().map(Statement::parse).collect();
        let statements = statements.ok_or_else(|| malformed("Syntax errors in policy."))?;
        Ok(Self { text: text.to_owned(), statements })
    }

    /// Evaluates several identity-based policies as one.
    pub(crate) fn decide<'p>(policies: impl IntoIterator<Item = &'p Self>, request: Request<'_>) -> Decision {
        let matching = policies.into_iter().flat_map(|policy| &policy.statements).filter(|statement| {
            statement.actions.matches(request.action, true)
                && statement.resources.as_ref().is_some_and(|resources| resources.matches(request.resource, false))
                && statement.conditions.iter().all(|condition| condition.holds(request.context))
        });
        decide(matching)
    }

    /// Evaluates a trust policy.
    #[must_use]
    pub(crate) fn trusts(&self, principal: Principal<'_>, action: &str, context: &Context) -> Decision {
        decide(self.statements.iter().filter(|statement| {
            statement.actions.matches(action, true)
                && statement.names(principal)
                && statement.conditions.iter().all(|condition| condition.holds(context))
        }))
    }
}

fn decide<'s>(matching: impl Iterator<Item = &'s Statement>) -> Decision {
    let mut decision = Decision::ImplicitDeny;
    for statement in matching {
        if !statement.allows {
            return Decision::ExplicitDeny;
        }
        decision = Decision::Allowed;
    }
    decision
}

impl Statement {
    fn parse(statement: &Value) -> Option<Self> {
        let allows = match statement.get("Effect")?.as_str()? {
            "Allow" => true,
            "Deny" => false,
            _ => return None,
        };
        let mut conditions = Vec::new();
        if let Some(blocks) = statement.get("Condition") {
            for (operator, keys) in blocks.as_object()? {
                Comparison::of(operator)?;
                for (key, values) in keys.as_object()? {
                    let values = strings(values)?;
                    conditions.push(Condition { operator: operator.clone(), key: key.clone(), values });
                }
            }
        }
        Some(Self {
            allows,
            actions: Matcher::parse(statement, "Action", "NotAction")?,
            resources: Matcher::parse(statement, "Resource", "NotResource"),
            principal: statement.get("Principal").cloned().unwrap_or(Value::Null),
            conditions,
        })
    }

    fn names(&self, principal: Principal<'_>) -> bool {
        if self.principal == "*" {
            return true;
        }
        let (kind, candidates) = match principal {
            Principal::Federated(provider) => ("Federated", vec![provider]),
            Principal::Aws(names) => ("AWS", names.iter().map(String::as_str).collect()),
        };
        let named = self.principal.get(kind).and_then(strings).unwrap_or_default();
        named.iter().any(|name| candidates.contains(&name.as_str()) || (kind == "AWS" && name == "*"))
    }
}

impl Matcher {
    fn parse(statement: &Value, name: &str, negation: &str) -> Option<Self> {
        let (negated, values) = match (statement.get(name), statement.get(negation)) {
            (Some(values), None) => (false, values),
            (None, Some(values)) => (true, values),
            _ => return None,
        };
        Some(Self { negated, patterns: strings(values)? })
    }

    /// Actions are compared without case, resources with it.
    fn matches(&self, text: &str, caseless: bool) -> bool {
        let fold = |text: &str| if caseless { text.to_lowercase() } else { text.to_owned() };
        let text = fold(text);
        self.patterns.iter().any(|pattern| glob(&fold(pattern), &text)) != self.negated
    }
}

#[derive(Clone, Copy)]
enum Comparison {
    Equals { negated: bool, caseless: bool },
    Like { negated: bool },
    Bool,
    Null,
}

impl Comparison {
    fn of(operator: &str) -> Option<Self> {
        let name = operator.strip_prefix("ForAnyValue:").or(operator.strip_prefix("ForAllValues:")).unwrap_or(operator);
        let name = name.strip_suffix("IfExists").unwrap_or(name);
        Some(match name {
            "StringEquals" => Self::Equals { negated: false, caseless: false },
            "StringNotEquals" => Self::Equals { negated: true, caseless: false },
            "StringEqualsIgnoreCase" => Self::Equals { negated: false, caseless: true },
            "StringNotEqualsIgnoreCase" => Self::Equals { negated: true, caseless: true },
            // AWS: ArnEquals and ArnLike behave identically.
            "StringLike" | "ArnEquals" | "ArnLike" => Self::Like { negated: false },
            "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => Self::Like { negated: true },
            "Bool" => Self::Bool,
            "Null" => Self::Null,
            _ => return None,
        })
    }

    fn negated(self) -> bool {
        matches!(self, Self::Equals { negated: true, .. } | Self::Like { negated: true })
    }

    fn one(self, wanted: &str, actual: &str) -> bool {
        match self {
            Self::Equals { caseless: true, .. } => wanted.eq_ignore_ascii_case(actual),
            Self::Equals { .. } => wanted == actual,
            Self::Like { .. } => glob(wanted, actual),
            Self::Bool | Self::Null => wanted.eq_ignore_ascii_case(actual),
        }
    }
}

impl Condition {
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
    fn holds(&self, context: &Context) -> bool {
        let Some(comparison) = Comparison::of(&self.operator) else { return false };
        let actual = context.iter().find(|(key, _)| key.eq_ignore_ascii_case(&self.key)).map(|(_, values)| values);
        if let Comparison::Null = comparison {
            return self.values.iter().any(|value| value.eq_ignore_ascii_case("true")) == actual.is_none();
        }
        let all = self.operator.starts_with("ForAllValues:");
        let any = self.operator.starts_with("ForAnyValue:");
        let Some(actual) = actual.filter(|values| !values.is_empty()) else {
            // A missing key satisfies `...IfExists`, every negated operator and ForAllValues.
            return self.operator.ends_with("IfExists") || all || (comparison.negated() && !any);
        };
        let satisfies =
            |value: &String| self.values.iter().any(|wanted| comparison.one(wanted, value)) != comparison.negated();
        if all || (comparison.negated() && !any) { actual.iter().all(satisfies) } else { actual.iter().any(satisfies) }
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Bool(value) => Some(vec![value.to_string()]),
        Value::Number(value) => Some(vec![value.to_string()]),
        Value::Array(values) => values.iter().map(|value| strings(value)?.pop()).collect(),
        _ => None,
    }
}

/// `*` stands for any run of characters, `?` for one.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, from));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    at = star + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statement: &str) -> Policy {
        Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#)).unwrap()
    }

    fn decision(policy: &Policy, action: &str, resource: &str, context: &[(&str, &str)]) -> Decision {
        let context = context.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect();
        Policy::decide([policy], Request { action, resource, context: &context })
    }

    #[test]
    fn an_explicit_deny_beats_an_allow() {
        let policy = policy(
            r#"{"Effect":"Allow","Action":"ecs:*","Resource":"*"},{"Effect":"Deny","Action":"ecs:Delete*","Resource":"*"}"#,
        );
        assert_eq!(decision(&policy, "ecs:UpdateService", "*", &[]), Decision::Allowed);
        assert_eq!(decision(&policy, "ecs:DeleteService", "*", &[]), Decision::ExplicitDeny);
        assert_eq!(decision(&policy, "ecr:PutImage", "*", &[]), Decision::ImplicitDeny);
    }

    #[test]
    fn actions_ignore_case_and_resources_do_not() {
        let policy = policy(r#"{"Effect":"Allow","Action":"ECS:updateservice","Resource":"arn:x/Web"}"#);
        assert_eq!(decision(&policy, "ecs:UpdateService", "arn:x/Web", &[]), Decision::Allowed);
        assert_eq!(decision(&policy, "ecs:UpdateService", "arn:x/web", &[]), Decision::ImplicitDeny);
    }

    #[test]
    fn a_condition_on_an_absent_key_does_not_hold_unless_it_says_if_exists() {
        let strict = policy(
            r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnEquals":{"ecs:cluster":"arn:*:cluster/p"}}}"#,
        );
        let on = |cluster| decision(&strict, "ecs:RunTask", "*", &[("ecs:Cluster", cluster)]);
        assert_eq!(decision(&strict, "ecs:RunTask", "*", &[]), Decision::ImplicitDeny);
        assert_eq!(on("arn:aws:cluster/p"), Decision::Allowed);
        assert_eq!(on("arn:aws:cluster/q"), Decision::ImplicitDeny);
        let lax = policy(
            r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"ecs:cluster":"p"}}}"#,
        );
        assert_eq!(decision(&lax, "ecs:RunTask", "*", &[]), Decision::Allowed);
    }

    #[test]
    fn for_all_values_holds_when_the_key_is_absent_and_for_any_value_does_not() {
        let condition = |operator: &str| {
            policy(&format!(
                r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{"{operator}:StringLike":{{"k":["a*","b"]}}}}}}"#
            ))
        };
        assert_eq!(decision(&condition("ForAllValues"), "x:Y", "*", &[]), Decision::Allowed);
        assert_eq!(decision(&condition("ForAnyValue"), "x:Y", "*", &[]), Decision::ImplicitDeny);
        assert_eq!(decision(&condition("ForAnyValue"), "x:Y", "*", &[("k", "ab")]), Decision::Allowed);
        assert_eq!(decision(&condition("ForAllValues"), "x:Y", "*", &[("k", "cb")]), Decision::ImplicitDeny);
    }

    #[test]
    fn globs_backtrack() {
        assert!(glob("repo:acme/*:ref:*", "repo:acme/shop:ref:refs/heads/main"));
        assert!(glob("a*b*c", "aXbYbc"));
        assert!(!glob("repo:acme/shop:*", "repo:acme/shop2:ref"));
        assert!(glob("secret:name-??????", "secret:name-AbCdEf"));
        assert!(!glob("secret:name-??????", "secret:name-AbCdE"));
    }

    #[test]
    fn a_document_without_statements_or_with_an_unknown_operator_is_malformed() {
        let unknown = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Is":{"a":"b"}}}]}"#;
        for text in ["{", "{}", unknown] {
            assert_eq!(Policy::parse(text).unwrap_err().code, "MalformedPolicyDocument", "{text}");
        }
    }
}
