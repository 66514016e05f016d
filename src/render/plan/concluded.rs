//! What became of a plan, above the plan itself in the comment of the pull request.

use fargate_deploy_core::markdown::{fence, fit, plain};
use fargate_deploy_core::outcome::{Failure, Reason, Record, Success};

const OPENS: &str = "<!-- fargate-deploy:outcome -->";
const CLOSES: &str = "<!-- /fargate-deploy:outcome -->";
/// So that outcome and plan together stay a comment.
const BUDGET: usize = 4_000;

/// The comment's body with the outcome in it, instead of the one of an earlier attempt. Its first line, the marker, stays
/// the first.
pub fn put(body: &str, outcome: &str) -> String {
    let without = match (body.find(OPENS), body.find(CLOSES)) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{}", &body[..from], body[to + CLOSES.len()..].trim_start_matches('\n'))
        }
        _ => body.to_owned(),
    };
    let (hidden, shown) = match without.find("\n### ") {
        Some(at) => without.split_at(at + 1),
        None => without.split_at(without.find('\n').map_or(without.len(), |at| at + 1)),
    };
    let hidden = if hidden.ends_with('\n') { hidden.to_owned() } else { format!("{hidden}\n") };
    format!("{hidden}{OPENS}\n{}\n{CLOSES}\n\n{shown}", fit(outcome, BUDGET, "(cut)"))
}

/// How the run ended: the headline, the state, where to look.
pub fn outcome(
    ending: &Result<Success, Failure>,
    record: &Record,
    environment: Option<&str>,
    run_url: Option<&str>,
) -> String {
    let of = environment.map(|name| format!(" — {}", plain(name))).unwrap_or_default();
    let mut out = format!("### fargate-deploy{of} · {}\n", headline(ending, record));
    if let Err(failure) = ending {
        out.push_str(&format!("\n{}\n", plain(&failure.what)));
        if !failure.evidence.is_empty() {
            out.push_str(&format!("\n{}\n", fence("", &failure.evidence.join("\n"))));
        }
    }
    out.push('\n');
    record.state().iter().for_each(|line| out.push_str(&format!("- {}\n", plain(line))));
    if let Some(url) = run_url {
        out.push_str(&format!("\n[run]({url})\n"));
    }
    out
}

fn headline(ending: &Result<Success, Failure>, record: &Record) -> String {
    let release = record.release.map(|n| format!(" r{n}")).unwrap_or_default();
    match ending {
        Ok(Success::Deployed) => format!("✅ deployed{release}"),
        Ok(Success::DeployedNotVerified) => format!("✅ deployed{release}, not verified: the desired count is 0"),
        Ok(Success::Started) => format!("⏳ started{release}, not watched"),
        Ok(Success::Unchanged) => "⚪ nothing to change".to_owned(),
        Ok(Success::Planned) => "⚪ planned".to_owned(),
        Err(failure) if failure.reason == Reason::RolledBack => format!("❌{release} rolled back"),
        Err(failure) => format!("❌{release} failed: {}", failure.reason.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "<!-- marker -->\n<!-- parts -->\n### fargate-deploy plan · 🟡 1 change\n\ntext\n";

    #[test]
    fn the_outcome_stands_above_the_plan_and_is_replaced_by_the_next_one() {
        let failed = put(BODY, "### first");
        assert_eq!(
            failed,
            format!(
                "<!-- marker -->\n<!-- parts -->\n{OPENS}\n### first\n{CLOSES}\n\n### fargate-deploy plan · 🟡 1 change\n\ntext\n"
            )
        );
        assert_eq!(put(&failed, "### second"), failed.replace("first", "second"));
    }

    #[test]
    fn text_of_containers_stays_text() {
        let failure = Failure::new(Reason::RolledBack, "web: </details> @all <!-- /fargate-deploy:outcome -->")
            .with_evidence(vec!["```\n@here".to_owned()]);
        let said = outcome(&Err(failure), &Record::default(), Some("production"), Some("https://run"));
        assert!(said.starts_with("### fargate-deploy — production · ❌ rolled back\n"), "{said}");
        assert!(!said.contains(CLOSES) && !said.contains("</details>") && !said.contains(" @all"), "{said}");
    }
}
