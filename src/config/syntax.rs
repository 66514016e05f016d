//! The grammar of the single values. Each rule is stated twice, as a function for us and as a pattern for editors (the
//! published schema); `tests/fast/spec/schema.rs` holds the two against each other. The patterns let `${...}` pass: what a
//! reference stands for is not known to an editor.

use fargate_deploy_core::image::is_tag;
use std::time::Duration;

pub(super) const KEY: &str = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";
pub(super) const NAME: &str = r"^[A-Za-z0-9_-]{1,255}$";
pub(super) const REGION: &str = r"^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$|\$\{";
pub(super) const ROLE: &str = r"^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$|\$\{";
pub(super) const CLUSTER: &str =
    r"^([A-Za-z0-9_-]{1,255}|arn:aws(-[a-z]+)*:ecs:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]{1,255})$|\$\{";
pub(super) const SERVICE: &str = r"^([A-Za-z0-9_-]{1,255}|arn:aws(-[a-z]+)*:ecs:[a-z0-9-]+:[0-9]{12}:service/([A-Za-z0-9_-]{1,255}/)?[A-Za-z0-9_-]{1,255})$|\$\{";
pub(super) const PLATFORM: &str = r"^linux/(amd64|arm64)$|\$\{";
pub(super) const DURATION: &str = r"^[0-9]{1,5}[smh]$|\$\{";
pub(super) const URL: &str = r"^https?://[^/\s?#]+|\$\{";
pub(super) const TAG: &str =
    r"^([A-Za-z0-9_]|\{(sha|short-sha|branch|run|env)\})([A-Za-z0-9_.-]|\{(sha|short-sha|branch|run|env)\})*$|\$\{";

/// A text that refers to something: `${env:NAME}` and the like.
pub(super) const REFERENCE: &str = r"\$\{(env|tf|cfn|ssm):";
pub(super) const DATABASE: &str = r"^[A-Za-z](-?[A-Za-z0-9]){0,62}$|\$\{";

pub(super) const BUILDER: &str = r"^(tcp|unix|docker-container)://.|\$\{";

const DAY: u64 = 24 * 60 * 60;

pub(super) fn key(text: &str) -> Result<(), String> {
    let is_good = text.len() <= 64
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    good(is_good, "1 to 64 letters, digits, `_` and `-`, starting with a letter or digit")
}

/// A name as ECS takes it for clusters, services and containers.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html>
pub(super) fn name(text: &str) -> Result<(), String> {
    let is_good =
        (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    good(is_good, "1 to 255 letters, digits, `_` and `-`")
}

/// `eu-central-1`, of any partition.
pub(super) fn region(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let is_good = match parts.as_slice() {
        [words @ .., number] if words.len() >= 2 => {
            words.iter().all(is_word)
                && words[0].len() >= 2
                && (1..=2).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    };
    if !is_good && text.ends_with(|c: char| c.is_ascii_lowercase()) && region(&text[..text.len() - 1]).is_ok() {
        return Err(format!("that is an availability zone; its region is `{}`", &text[..text.len() - 1]));
    }
    good(is_good, "expected a region such as `eu-central-1`")
}

/// The partition that a region belongs to.
/// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
pub(super) fn partition(region: &str) -> &'static str {
    const BY_PREFIX: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-iso-", "aws-iso"),
        ("eusc-", "aws-eusc"),
    ];
    BY_PREFIX.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

pub(super) struct Arn<'a> {
    pub partition: &'a str,
    pub region: &'a str,
    pub resource: &'a str,
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:TYPE/RESOURCE` of the given service and type.
pub(super) fn arn<'a>(text: &'a str, service: &str, kind: &str) -> Result<Arn<'a>, String> {
    let shape = match service {
        "iam" => format!("expected `arn:aws:iam::ACCOUNT:{kind}/NAME`"),
        _ => format!("expected `arn:aws:{service}:REGION:ACCOUNT:{kind}/NAME`"),
    };
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, of_service, of_region, account, resource] = parts.as_slice() else {
        return Err(shape);
    };
    let is_partition = partition
        .strip_prefix("aws")
        .is_some_and(|rest| rest.is_empty() || (rest.starts_with('-') && rest[1..].split('-').all(is_lowercase)));
    if !is_partition {
        return Err(format!("`{partition}` is not an AWS partition (`aws`, `aws-cn`, `aws-us-gov`)"));
    }
    if of_service != &service {
        return Err(format!("it names something of `{of_service}`; {shape}"));
    }
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("an account id has 12 digits, `{account}` does not"));
    }
    let resource = resource.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/')).ok_or(shape)?;
    match service {
        "iam" if !of_region.is_empty() => Err("an IAM ARN has no region".to_owned()),
        "iam" => good(
            !resource.is_empty() && resource.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&b)),
            "a role name has letters, digits and `_+=,.@-`",
        ),
        _ => region(of_region).and_then(|()| resource.split('/').try_for_each(name)),
    }?;
    Ok(Arn { partition, region: of_region, resource })
}

/// `90s`, `15m`, `1h`: above zero, at most a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let shape = || "expected a whole number and a unit, such as `90s`, `15m` or `1h`".to_owned();
    let unit = text.chars().last().ok_or_else(shape)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(shape()),
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || number.len() > 5 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(shape());
    }
    let total = number.parse::<u64>().map_err(|_| shape())? * seconds;
    match total {
        0 => Err("it must be at least `1s`".to_owned()),
        1..=DAY => Ok(Duration::from_secs(total)),
        _ => Err("it can be at most `24h`".to_owned()),
    }
}

pub(super) fn platform(text: &str) -> Result<(), String> {
    match text {
        "linux/amd64" | "linux/arm64" => Ok(()),
        "linux/x86_64" | "amd64" | "x86_64" | "X86_64" => Err("write `linux/amd64`".to_owned()),
        "linux/aarch64" | "linux/arm64/v8" | "arm64" | "aarch64" | "ARM64" => Err("write `linux/arm64`".to_owned()),
        _ => Err("Fargate runs `linux/amd64` and `linux/arm64` here".to_owned()),
    }
}

/// An RDS instance's identifier.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.Constraints>
pub(super) fn database(text: &str) -> Result<(), String> {
    let is_good = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.ends_with('-')
        && !text.contains("--");
    good(is_good, "1 to 63 letters, digits and single hyphens, starting with a letter")
}

/// `http://HOST...` or `https://HOST...`.
pub(super) fn url(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.ok_or("expected `https://...` or `http://...`")?;
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    good(!host.is_empty() && !text.contains(char::is_whitespace), "the host is missing or holds a space")?;
    match text.parse::<reqwest::Url>() {
        Ok(_) => Ok(()),
        Err(why) => Err(why.to_string()),
    }
}

/// The names that a tag's placeholders may have.
pub const PLACEHOLDERS: [&str; 5] = ["sha", "short-sha", "branch", "run", "env"];

/// A tag template in parts: literal text, or the name of a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagPart<'a> {
    Literal(&'a str),
    Placeholder(&'a str),
}

/// Takes a tag template apart. What comes out, resolved, can only be a bad tag by its length.
pub fn tag_template(text: &str) -> Result<Vec<TagPart<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').ok_or("a `{` is not closed")? + open;
        let placeholder = &rest[open + 1..close];
        if !PLACEHOLDERS.contains(&placeholder) {
            let known = super::suggestion::suggestion(placeholder, PLACEHOLDERS);
            return Err(format!("`{{{placeholder}}}` is not a placeholder; {known}"));
        }
        if open > 0 {
            parts.push(TagPart::Literal(&rest[..open]));
        }
        parts.push(TagPart::Placeholder(placeholder));
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(TagPart::Literal(rest));
    }
    let sample: String = parts.iter().map(|part| if let TagPart::Literal(text) = part { text } else { "x" }).collect();
    good(
        is_tag(&sample),
        "a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and starts with a letter, digit or `_`",
    )?;
    Ok(parts)
}

fn is_lowercase(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())
}

fn good(is_good: bool, why: &str) -> Result<(), String> {
    if is_good { Ok(()) } else { Err(why.to_owned()) }
}
