//! IAM policy documents and their evaluation: an explicit Deny wins, then an Allow, else the implicit deny.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use std::net::IpAddr;

use serde_json::Value;

use super::error::AwsError;

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
    /// `Principal.Service`: `ecs-tasks.amazonaws.com`.
    Service(&'a str),
    /// `Principal.AWS`: every name that stands for the caller: its account, its role, its session.
    Aws(&'a [String]),
}

/// What a document is for, which decides what must be in it and what must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Attached to a role, or to one session of it.
    Identity,
    /// Says who may assume a role.
    Trust,
}

const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];
const DOCUMENT: [&str; 3] = ["Version", "Id", "Statement"];
const STATEMENT: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

impl Policy {
    /// Reads a document, refusing what IAM refuses.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>
    pub(crate) fn parse(text: &str, of: Use) -> Result<Self, AwsError> {
        let document: Value = serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
        let members = document.as_object().ok_or_else(|| malformed("Syntax errors in policy."))?;
        if members.keys().any(|name| !DOCUMENT.contains(&name.as_str())) {
            return Err(malformed("Syntax errors in policy."));
        }
        if members.get("Version").is_some_and(|version| !VERSIONS.iter().any(|known| version == known)) {
            return Err(malformed("The policy contains an invalid version."));
        }
        let statements = match members.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.clone(),
            Some(statement @ Value::Object(_)) => vec![statement.clone()],
            _ => return Err(malformed("Missing required field Statement")),
        };
        let mut ids = std::collections::BTreeSet::new();
        for statement in &statements {
            check_statement(statement, of)?;
            if statement.get("Sid").is_some_and(|id| !ids.insert(id.to_string())) {
                return Err(malformed("Statement IDs (SID) in a single policy must be unique."));
            }
        }
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

fn malformed(why: &str) -> AwsError {
    AwsError::client("MalformedPolicyDocument", why)
}

fn check_statement(statement: &Value, of: Use) -> Result<(), AwsError> {
    let Some(members) = statement.as_object() else { return Err(malformed("Syntax errors in policy.")) };
    if members.keys().any(|name| !STATEMENT.contains(&name.as_str())) {
        return Err(malformed("Syntax errors in policy."));
    }
    let is_sid = |id: &str| id.bytes().all(|b| b.is_ascii_alphanumeric());
    if members.get("Sid").is_some_and(|id| !id.as_str().is_some_and(is_sid)) {
        return Err(malformed(
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        ));
    }
    let has = |names: [&str; 2]| names.iter().any(|name| members.contains_key(*name));
    if !has(["Action", "NotAction"]) {
        return Err(malformed("Policy statement must contain actions."));
    }
    let of_member =
        |names: [&str; 2]| names.iter().find_map(|name| members.get(*name)).and_then(strings).unwrap_or_default();
    for action in of_member(["Action", "NotAction"]) {
        let is_action = action.split_once(':').is_some_and(|(vendor, name)| !vendor.is_empty() && !name.is_empty());
        if action != "*" && !is_action {
            return Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
        }
        if of == Use::Trust && !action.starts_with("sts:") && action != "*" {
            return Err(malformed("AssumeRole policy may only specify STS AssumeRole actions."));
        }
    }
    match of {
        Use::Identity if has(["Principal", "NotPrincipal"]) => {
            Err(malformed("Policy document should not specify a principal."))
        }
        Use::Identity if !has(["Resource", "NotResource"]) => {
            Err(malformed("Policy statement must contain resources."))
        }
        Use::Identity => {
            for resource in of_member(["Resource", "NotResource"]) {
                if resource != "*" && resource.split(':').count() < 6 {
                    let message = format!("Resource {resource} must be in ARN format or \"*\".");
                    return Err(malformed(&message));
                }
            }
            Ok(())
        }
        Use::Trust if !has(["Principal", "NotPrincipal"]) => Err(malformed("Missing required field Principal")),
        Use::Trust if has(["Resource", "NotResource"]) => Err(malformed("Has prohibited field Resource")),
        Use::Trust => Ok(()),
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
            Principal::Service(service) => ("Service", vec![service]),
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
    Number(Order),
    Date(Order),
    Address { negated: bool },
    Bool,
    Null,
}

/// How the request's value stands to the policy's.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn of(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "Equals" => Self::Equal,
            "NotEquals" => Self::NotEqual,
            "LessThan" => Self::Less,
            "LessThanEquals" => Self::LessOrEqual,
            "GreaterThan" => Self::Greater,
            "GreaterThanEquals" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// Of `NotEqual`, the opposite: negation is applied to all values together.
    fn holds(self, actual: f64, wanted: f64) -> bool {
        match self {
            Self::Equal | Self::NotEqual => actual == wanted,
            Self::Less => actual < wanted,
            Self::LessOrEqual => actual <= wanted,
            Self::Greater => actual > wanted,
            Self::GreaterOrEqual => actual >= wanted,
        }
    }
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
            "IpAddress" => Self::Address { negated: false },
            "NotIpAddress" => Self::Address { negated: true },
            other => match (other.strip_prefix("Numeric"), other.strip_prefix("Date")) {
                (Some(order), _) => Self::Number(Order::of(order)?),
                (_, Some(order)) => Self::Date(Order::of(order)?),
                _ => return None,
            },
        })
    }

    fn negated(self) -> bool {
        matches!(
            self,
            Self::Equals { negated: true, .. }
                | Self::Like { negated: true }
                | Self::Address { negated: true }
                | Self::Number(Order::NotEqual)
                | Self::Date(Order::NotEqual)
        )
    }

    fn one(self, wanted: &str, actual: &str) -> bool {
        match self {
            Self::Equals { caseless: true, .. } => wanted.eq_ignore_ascii_case(actual),
            Self::Equals { .. } => wanted == actual,
            Self::Like { .. } => glob(wanted, actual),
            Self::Number(order) => {
                both(wanted, actual, number).is_some_and(|(wanted, actual)| order.holds(actual, wanted))
            }
            Self::Date(order) => {
                both(wanted, actual, seconds).is_some_and(|(wanted, actual)| order.holds(actual, wanted))
            }
            Self::Address { .. } => contains(wanted, actual),
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

fn both(wanted: &str, actual: &str, read: impl Fn(&str) -> Option<f64>) -> Option<(f64, f64)> {
    Some((read(wanted)?, read(actual)?))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// ISO 8601, or seconds since 1970.
fn seconds(text: &str) -> Option<f64> {
    let instant = || text.parse::<jiff::Timestamp>().ok().map(|at| at.as_second() as f64);
    number(text).or_else(instant)
}

/// Whether an address is in a CIDR block, or is that address.
fn contains(block: &str, address: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let (network, length) = block.split_once('/').map_or((block, None), |(network, length)| (network, Some(length)));
    let (Ok(network), Ok(address)) = (network.parse::<IpAddr>(), address.parse::<IpAddr>()) else { return false };
    let ((network, size), (address, other)) = (bits(network), bits(address));
    let length: u32 = length.map_or(size, |length| length.parse().unwrap_or(size));
    let mask = if length == 0 { 0 } else { u128::MAX << (128 - length.min(128)) };
    size == other && network & mask == address & mask
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
        Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#), Use::Identity).unwrap()
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
        let policy =
            policy(r#"{"Effect":"Allow","Action":"ECS:updateservice","Resource":"arn:aws:ecs:r:1:service/Web"}"#);
        assert_eq!(decision(&policy, "ecs:UpdateService", "arn:aws:ecs:r:1:service/Web", &[]), Decision::Allowed);
        assert_eq!(decision(&policy, "ecs:UpdateService", "arn:aws:ecs:r:1:service/web", &[]), Decision::ImplicitDeny);
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
    fn a_document_that_iam_does_not_accept_is_malformed() {
        let good = r#""Effect":"Allow","Action":"ecs:*","Resource":"*""#;
        let identity = |text: &str| Policy::parse(text, Use::Identity).map(drop);
        identity(&format!(r#"{{"Version":"2012-10-17","Statement":{{{good}}}}}"#)).unwrap();
        let statements = [
            r#""Effect":"Allow","Action":"ecs:*","Resource":"*","Condition":{"Is":{"a":"b"}}"#,
            r#""Effect":"Allow","Action":"*","Resource":"*","Principal":"*""#,
            r#""Effect":"Allow","Action":"*""#,
            r#""Effect":"Allow","Resource":"*""#,
            r#""Effect":"Perhaps","Action":"*","Resource":"*""#,
            r#""Effect":"Allow","Action":"UpdateService","Resource":"*""#,
            r#""Effect":"Allow","Action":"ecs:*","Resource":"service/web""#,
            r#""Effect":"Allow","Action":"ecs:*","Actions":"ecs:*","Resource":"*""#,
            r#""Sid":"not ok","Effect":"Allow","Action":"ecs:*","Resource":"*""#,
        ];
        let mut texts: Vec<String> = statements.iter().map(|of| format!(r#"{{"Statement":[{{{of}}}]}}"#)).collect();
        texts.extend(["{", "{}", "[]", r#"{"Statement":[]}"#].map(str::to_owned));
        texts.push(format!(r#"{{"Version":"2020-01-01","Statement":[{{{good}}}]}}"#));
        texts.push(format!(r#"{{"Statement":[{{{good}}}],"Statements":[]}}"#));
        texts.push(format!(r#"{{"Statement":[{{"Sid":"A",{good}}},{{"Sid":"A",{good}}}]}}"#));
        for text in texts {
            assert_eq!(identity(&text).unwrap_err().code, "MalformedPolicyDocument", "{text}");
        }
        for trust in [
            r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"ecs:RunTask","Principal":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Resource":"*"}}"#,
        ] {
            assert_eq!(Policy::parse(trust, Use::Trust).unwrap_err().code, "MalformedPolicyDocument", "{trust}");
        }
    }

    #[test]
    fn numbers_dates_and_addresses_are_compared_as_such() {
        let holds = |operator: &str, wanted: &str, actual: &str| {
            let statement = format!(
                r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{"{operator}":{{"k":"{wanted}"}}}}}}"#
            );
            decision(&policy(&statement), "x:Y", "*", &[("k", actual)]) == Decision::Allowed
        };
        for (operator, wanted, yes, no) in [
            ("NumericLessThan", "10", "9", "10"),
            ("NumericGreaterThanEquals", "10", "10", "9.5"),
            ("NumericNotEquals", "10", "11", "10.0"),
            ("DateLessThan", "2026-12-01T00:00:00Z", "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"),
            ("DateGreaterThan", "1700000000", "2026-12-01T00:00:00Z", "2020-01-01T00:00:00Z"),
            ("IpAddress", "203.0.113.0/24", "203.0.113.9", "203.0.114.9"),
            ("IpAddress", "203.0.113.9", "203.0.113.9", "203.0.113.8"),
            ("NotIpAddress", "203.0.113.0/24", "10.0.0.1", "203.0.113.9"),
            ("IpAddress", "2001:db8::/32", "2001:db8::1", "2001:db9::1"),
        ] {
            assert!(holds(operator, wanted, yes), "{operator} {wanted}: {yes}");
            assert!(!holds(operator, wanted, no), "{operator} {wanted}: {no}");
        }
    }
}
