//! The step summary: a table a person reads after the run, in GitHub's Markdown.

use super::outputs::service_state;
use super::plan::markdown::SUMMARY;
use fargate_deploy_core::markdown::{advice, fence, fit, plain, prose};
use fargate_deploy_core::outcome::Outcome;

/// The whole of it. What of it may leave the run fits after it was redacted only: see [`cut`].
pub fn summary(outcome: &Outcome) -> String {
    let Outcome { result, record } = outcome;
    let release = record.release.map(|n| format!(" r{n}")).unwrap_or_default();
    let mut text = match result {
        Ok(success) => format!("### fargate-deploy{release}: {}\n\n", success.word()),
        Err(failure) => {
            format!("### fargate-deploy{release}: {}\n\n{}\n\n", failure.reason.word(), prose(&failure.what))
        }
    };
    if !record.services.is_empty() {
        text.push_str("| service | state | before | after |\n|---|---|---|---|\n");
        for service in &record.services {
            let after = service.target.as_ref().map(|t| t.short()).unwrap_or("-");
            text.push_str(&format!(
                "| {} | {} | {} | {} |\n",
                plain(&service.service.to_string()),
                service_state(service.state),
                plain(service.previous.short()),
                plain(after)
            ));
        }
        text.push('\n');
    }
    for line in record.state() {
        text.push_str(&format!("- {}\n", prose(&line)));
    }
    if let Err(failure) = result {
        for line in &failure.evidence {
            match line.trim().contains('\n') {
                true => text.push_str(&format!("\n{}\n", fence("", line))),
                false => text.push_str(&format!("- why: {}\n", prose(line))),
            }
        }
        if let Some(next) = &failure.next {
            text.push_str(&format!("\n**Next:** {}", advice(next)));
        }
        if !failure.log.is_empty() {
            let lines: Vec<_> = failure.log.iter().map(|line| super::log::clean(line)).collect();
            text.push_str(&format!("\n{}", fence("text", &lines.join("\n"))));
        }
    }
    if let Some(plan) = super::plan::summary(record) {
        text = match result {
            Ok(_) => plan,
            Err(_) => format!("{text}\n{plan}"),
        };
    }
    text
}

/// Within GitHub's limit.
pub fn cut(text: &str) -> String {
    fit(text, SUMMARY, "(cut)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fargate_deploy_core::outcome::{Failure, Reason, Record};

    #[test]
    fn hostile_text_stays_text() {
        let outcome = Outcome::from(
            Failure::new(Reason::Build, "</details> @everyone | [x](y)")
                .with_log(vec!["```".to_owned(), "````".to_owned()]),
        );
        let text = summary(&outcome);
        assert!(text.contains("&lt;/details&gt; `@everyone` &#124; \\[x\\](y)"), "{text}");
        assert!(text.contains("\n`````text\n"), "{text}");
    }

    #[test]
    fn what_is_copied_from_a_summary_is_what_was_meant() {
        let policy = "{\n  \"Effect\": \"Allow\",\n  \"sub\": \"repo:o@1/r@2:*\"\n}";
        let result = Err(Failure::new(Reason::Identity, "`arn:aws:iam::1:role/x`: denied")
            .with_next(format!("the trust policy needs this statement:\n\n{policy}")));
        let record = Record { registered: vec!["arn:aws:ecs:r:1:task-definition/web:42".into()], ..Record::default() };
        let text = summary(&Outcome { result, record });
        let block = text.split("```\n").nth(1).unwrap();
        assert_eq!(block, format!("{policy}\n"));
        assert!(!text.contains('\u{200b}'), "{text}");
    }

    #[test]
    fn a_summary_stays_below_githubs_limit() {
        let failure = Failure::new(Reason::Build, "x").with_log(vec!["ü".repeat(1000); 1000]);
        assert!(cut(&summary(&Outcome::from(failure))).len() < 1024 * 1024);
    }
}
