//! What became of a plan, above the plan itself in the comment of the pull request.

use super::markdown::{environment, services};
use fargate_deploy_core::markdown::{advice, code, fence, fit, plain, prose};
use fargate_deploy_core::names::short;
use fargate_deploy_core::outcome::{Failure, Outcome, Reason, Success};

const OPENS: &str = "<!-- fargate-deploy:outcome -->";
const CLOSES: &str = "<!-- /fargate-deploy:outcome -->";
/// The plan is history then: it is folded away.
const FOLDS: &str = "<details><summary>The plan that was reviewed</summary>\n\n";
/// So that outcome and plan together stay a comment.
const BUDGET: usize = 4_000;

/// What the footer of a plan promises until it was merged.
pub const MERGING_DEPLOYS: &str = "merging deploys this";

/// The comment's body with the outcome in it, instead of the one of an earlier attempt, and with the plan folded away. Its
/// first line, the marker, stays the first.
pub fn replace_outcome(body: &str, outcome: &str) -> String {
    let without = match (body.find(OPENS), body.find(CLOSES)) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{}", &body[..from], body[to + CLOSES.len()..].trim_start_matches('\n'))
        }
        _ => body.to_owned(),
    };
    let plan = without.find(FOLDS).or_else(|| without.find("\n### ").map(|at| at + 1));
    let plan = plan.unwrap_or_else(|| without.find('\n').map_or(without.len(), |at| at + 1));
    let (hidden, shown) = without.split_at(plan);
    let hidden = if hidden.ends_with('\n') { hidden.to_owned() } else { format!("{hidden}\n") };
    let shown = match shown.starts_with(FOLDS) {
        true => shown.to_owned(),
        false => {
            let plan = shown.replace(&format!(" · {MERGING_DEPLOYS}"), "");
            format!("{FOLDS}{}\n\n</details>\n", plan.trim_end())
        }
    };
    format!("{hidden}{OPENS}\n{}\n{CLOSES}\n\n{shown}", fit(outcome, BUDGET, "(cut)"))
}

/// How the run ended: the headline, what happened, the state, what to do, where to look; the container's own words last.
pub fn outcome_section(
    outcome: &Outcome,
    environment_name: Option<&str>,
    label: Option<&str>,
    run_url: Option<&str>,
) -> String {
    let Outcome { result, record } = outcome;
    let mut out = format!(
        "### fargate-deploy{} · {}{}\n",
        environment(environment_name, label),
        headline(outcome),
        services(record.services.iter().map(|service| short(service.service.name.as_str())))
    );
    if let Err(failure) = result {
        out.push_str(&format!("\n{}\n\n", prose(&failure.what)));
        for line in &failure.evidence {
            match line.trim().contains('\n') {
                true => out.push_str(&format!("\n{}\n", fence("", line))),
                false => out.push_str(&format!("- why: {}\n", prose(line))),
            }
        }
    }
    if result.is_ok() {
        out.push('\n');
    }
    record.state().iter().for_each(|line| out.push_str(&format!("- {}\n", prose(line))));
    if let Some(url) = record.services.iter().find_map(|service| service.url.as_deref()).filter(|_| result.is_ok()) {
        out.push_str(&format!("- serves at {}\n", plain(url)));
    }
    for image in record.images.iter().filter(|_| result.is_ok()) {
        out.push_str(&format!("- image {} is {}\n", plain(image.key.as_str()), code(image.digest.as_str())));
    }
    if let Err(Failure { next: Some(next), .. }) = result {
        out.push_str(&format!("\n**Next:** {}", advice(next)));
    }
    if let Some(url) = run_url {
        out.push_str(&format!("\n[run]({url})\n"));
    }
    if let Err(failure) = result
        && !failure.log.is_empty()
    {
        out.push_str(&format!("\nThe container's last lines:\n\n{}", fence("text", &failure.log.join("\n"))));
    }
    out
}

fn headline(outcome: &Outcome) -> String {
    let Outcome { result, record } = outcome;
    let release = record.release.map(|n| format!(" r{n}")).unwrap_or_default();
    match result {
        Ok(Success::Deployed) => format!("✅ deployed{release}"),
        Ok(Success::DeployedNotVerified) => format!("✅ deployed{release}, not verified: the desired count is 0"),
        Ok(Success::Started) => format!("⏳ started{release}, not watched"),
        Ok(Success::Unchanged) => "⚪ nothing to change".to_owned(),
        Ok(Success::Planned) => "⚪ planned".to_owned(),
        Ok(success @ (Success::Exited | Success::Detached)) => format!("⚪ {}", success.word()),
        Err(failure) if failure.reason == Reason::RolledBack => format!("❌{release} rolled back"),
        Err(failure) if failure.reason == Reason::AfterCommand => {
            format!("⚠️ deployed{release}, and a command after it failed")
        }
        Err(failure) => format!("❌{release} failed: {}", failure.reason.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        "<!-- marker -->\n<!-- parts -->\n### fargate-deploy plan · 🟡 1 change\n\ntext · merging deploys this\n";

    #[test]
    fn the_outcome_stands_above_the_folded_plan_and_is_replaced_by_the_next_one() {
        let failed = replace_outcome(BODY, "### first");
        assert_eq!(
            failed,
            format!(
                "<!-- marker -->\n<!-- parts -->\n{OPENS}\n### first\n{CLOSES}\n\n{FOLDS}### fargate-deploy plan · 🟡 1 change\n\n\
                text\n\n</details>\n"
            )
        );
        assert_eq!(replace_outcome(&failed, "### second"), failed.replace("first", "second"));
    }

    #[test]
    fn after_the_merge_nothing_promises_a_deploy() {
        assert!(!replace_outcome(BODY, "### first").contains(MERGING_DEPLOYS));
    }

    #[test]
    fn text_of_containers_stays_text() {
        let failure = Failure::new(Reason::RolledBack, "web: </details> @all <!-- /fargate-deploy:outcome -->")
            .with_evidence(vec!["```\n@here".to_owned()])
            .with_log(vec!["```".to_owned(), "KeyError: STRIPE_KEY".to_owned()])
            .with_next("set `STRIPE_KEY`");
        let said = outcome_section(&Outcome::from(failure), Some("production"), None, Some("https://run"));
        assert!(said.starts_with("### fargate-deploy — production · ❌ rolled back\n"), "{said}");
        assert!(!said.contains(CLOSES) && !said.contains("</details>") && !said.contains(" @all"), "{said}");
        assert!(said.contains("**Next:** set `STRIPE_KEY`") && said.contains("KeyError: STRIPE_KEY"), "{said}");
    }
}
