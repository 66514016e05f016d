//! The last lines of a run: what happened, the evidence, the state now, the next step; the container's own words last.

use super::log::{clean, escape};
use fargate_deploy_core::outcome::{Failure, Record, Success, WentBack};
use std::path::{Path, PathBuf};

/// The ending of a bad run, without the quoted log lines, which follow it.
pub fn failure(failure: &Failure, record: &Record) -> Vec<String> {
    let place =
        failure.place.as_ref().map(|p| format!("{}:{}:{}: ", p.file.display(), p.line, p.column)).unwrap_or_default();
    let mut lines = vec![String::new(), format!("✗ {}: {place}{}", failure.reason.word(), clean(&failure.what))];
    lines.extend(failure.evidence.iter().map(|e| format!("  why    {}", clean(e))));
    lines.extend(record.state().iter().map(|s| format!("  state  {}", clean(s))));
    lines.extend(
        failure.next.iter().map(|n| format!("  next   {}", n.lines().map(clean).collect::<Vec<_>>().join("\n"))),
    );
    if !failure.log.is_empty() {
        let last = if failure.log.len() == 1 { "line".to_owned() } else { format!("{} lines", failure.log.len()) };
        lines.push(format!("  log    the container's last {last}:"));
    }
    lines
}

/// The ending of a run that a second signal ended before it could say what it leaves behind.
pub fn cut_off() -> Vec<String> {
    [
        "",
        "✗ cancelled: a second signal ended this run at once",
        "  state  what this run had sent to ECS by then, if anything, goes on, and was not looked at",
        "  next   see how it is: fargate-deploy status; a lease that is still held goes stale after 90 s without its run",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The one `::error` of a run in GitHub Actions, with the file as the repository names it: `shown` makes it so. The runner
/// cuts at 4,096 characters.
pub fn annotation(failure: &Failure, shown: impl Fn(&Path) -> PathBuf) -> String {
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let mut properties = vec![format!("title={}", property(&format!("fargate-deploy: {}", failure.reason.word())))];
    if let Some(place) = &failure.place {
        properties.push(format!("file={}", property(&shown(&place.file).display().to_string())));
        properties.push(format!("line={},col={}", place.line, place.column));
    }
    let mut message = clean(&failure.what);
    for line in &failure.evidence {
        message.push('\n');
        message.push_str(&clean(line));
    }
    let message: String = message.chars().take(3000).collect();
    format!("::error {}::{}", properties.join(","), escape(&message))
}

/// The same of a command that `run` has seen the end of.
pub fn exited(code: u8) -> String {
    format!("::error title=fargate-deploy%3A run::the command exited with {code}")
}

pub fn success(success: Success, record: &Record) -> Vec<String> {
    let release = record.release.map(|n| format!("r{n}")).unwrap_or_default();
    let headline = match success {
        Success::Deployed if record.services.iter().all(|s| !s.is_unchecked) => {
            format!("✓ {release} is deployed and verified")
        }
        Success::Deployed => format!("✓ {release} is deployed; what has no check has started, and no more is known"),
        Success::DeployedNotVerified => {
            format!("✓ {release} is deployed, not verified: the desired count is 0, so nothing started")
        }
        Success::Started => format!("✓ {release} was started: ECS goes on, how it ends was not watched"),
        Success::Unchanged => match &record.went_back {
            Some(back) => format!("✓ nothing to do: what runs is r{} already", back.to),
            None => "✓ nothing to do: what runs is what this commit describes".to_owned(),
        },
        Success::Planned if record.release.is_none() => "✓ planned, nothing was changed".to_owned(),
        Success::Planned => format!("✓ planned {release}, nothing was changed"),
        Success::Exited | Success::Detached => return vec![],
    };
    let headline = match record.went_back.as_ref().filter(|_| success != Success::Unchanged) {
        Some(back) => {
            let from = back.from.map(|from| format!(" from r{from}")).unwrap_or_default();
            format!("{headline}: back{from} to r{}", back.to)
        }
        None => headline,
    };
    let mut lines = vec![String::new(), headline];
    let url = record.services.iter().find_map(|service| service.url.as_deref());
    if let (Success::Deployed, Some(url)) = (success, url) {
        lines.push(format!("  url    {}", clean(url)));
    }
    if !matches!(success, Success::Planned) {
        lines.extend(record.state().iter().map(|s| format!("  state  {}", clean(s))));
        let undo = record.went_back.as_ref().and_then(WentBack::undo);
        lines.extend(undo.map(|undo| format!("  undo   {undo}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use fargate_deploy_core::outcome::{Place, Reason};

    #[test]
    fn one_error_carries_place_and_evidence_in_a_single_line() {
        let mut bad =
            Failure::new(Reason::Config, "unknown key: `servces`").with_evidence(vec!["50% sure\nreally".to_owned()]);
        bad.place = Some(Place { file: "a,b.yml".into(), line: 3, column: 5 });
        assert_eq!(
            annotation(&bad, Path::to_owned),
            "::error title=fargate-deploy%3A config,file=a%2Cb.yml,line=3,col=5::unknown key: `servces`%0A50%25 surereally"
        );
    }

    #[test]
    fn a_rollback_to_what_runs_already_speaks_of_that_release_and_has_no_undo() {
        let went_back = Some(WentBack { to: 1, ..WentBack::default() });
        let lines = success(Success::Unchanged, &Record { release: Some(6), went_back, ..Record::default() });
        assert_eq!(lines[1], "✓ nothing to do: what runs is r1 already");
        assert!(!lines.iter().any(|line| line.contains("undo")), "{lines:?}");
    }

    #[test]
    fn a_failure_tells_what_why_state_and_next_in_this_order() {
        let bad = Failure::new(Reason::RolledBack, "shop/web: web:42 was rolled back")
            .with_evidence(vec!["2 tasks stopped: exit code 1".to_owned()])
            .with_log(vec!["KeyError: STRIPE_KEY".to_owned()])
            .with_next("mend it");
        assert_eq!(
            failure(&bad, &Record::default()),
            [
                "",
                "✗ rolled-back: shop/web: web:42 was rolled back",
                "  why    2 tasks stopped: exit code 1",
                "  state  nothing was changed in ECS",
                "  next   mend it",
                "  log    the container's last line:",
            ]
        );
    }
}
