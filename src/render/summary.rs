//! The step summary: a table a person reads after the run, in GitHub's Markdown.

use super::outputs::service_state;
use super::plan::markdown::SUMMARY;
use crate::context::RunContext;
use fargate_deploy_core::markdown::{advice, code, fence, fit, plain, prose};
use fargate_deploy_core::outcome::{ImageRecord, Outcome};
use std::time::Duration;

/// The whole of it. What of it may leave the run fits after it was redacted only: see [`cut`].
pub fn summary(outcome: &Outcome, run: &RunContext, took: Duration) -> String {
    let Outcome { result, record } = outcome;
    let release = record.release.map(|n| format!(" r{n}")).unwrap_or_default();
    let mut text = match result {
        Ok(success) => format!("### fargate-deploy{release}: {}\n\n", success.word()),
        Err(failure) => {
            format!("### fargate-deploy{release}: {}\n\n{}\n\n", failure.reason.word(), prose(&failure.what))
        }
    };
    text.push_str(&facts(outcome, run, took));
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
    if let Err(failure) = result {
        for line in &failure.evidence {
            match line.trim().contains('\n') {
                true => text.push_str(&format!("\n{}\n", fence("", line))),
                false => text.push_str(&format!("- why: {}\n", prose(line))),
            }
        }
    }
    for line in record.state() {
        text.push_str(&format!("- {}\n", prose(&line)));
    }
    if let Err(failure) = result {
        if let Some(next) = &failure.next {
            text.push_str(&format!("\n**Next:** {}", advice(next)));
        }
        if !failure.log.is_empty() {
            let lines: Vec<_> = failure.log.iter().map(|line| super::log::clean(line)).collect();
            text.push_str(&format!("\nThe container's last lines:\n\n{}", fence("text", &lines.join("\n"))));
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

/// What of a release is looked for first: where it serves, what it is, what was migrated, how long it took.
fn facts(outcome: &Outcome, run: &RunContext, took: Duration) -> String {
    let Outcome { result, record } = outcome;
    if record.images.is_empty() && record.commands.is_empty() {
        return String::new();
    }
    let mut rows = vec![];
    let url = record.services.iter().find_map(|service| service.url.as_deref()).filter(|_| result.is_ok());
    rows.extend(url.map(|url| ("URL", plain(url))));
    rows.extend(run.sha.as_deref().map(|sha| ("commit", code(sha))));
    let image =
        |image: &ImageRecord| ("image", format!("{} {}", plain(image.key.as_str()), code(image.digest.as_str())));
    rows.extend(record.images.iter().map(image));
    rows.extend(record.commands.iter().map(|command| ("migration", prose(&command.sentence()))));
    rows.push(("took", took_of(took)));
    let rows: String = rows.iter().map(|(name, value)| format!("| **{name}** | {value} |\n")).collect();
    let head = record.release.map(|number| format!("release | r{number}")).unwrap_or_else(|| "this run | ".to_owned());
    format!("| {head} |\n|---|---|\n{rows}\n")
}

/// `42 s`, `3 min 5 s`.
fn took_of(took: Duration) -> String {
    match took.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Within GitHub's limit.
pub fn cut(text: &str) -> String {
    fit(text, SUMMARY, "(cut)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fargate_deploy_core::image::Digest;
    use fargate_deploy_core::names::{PinnedImage, ServiceRef};
    use fargate_deploy_core::outcome::{
        CommandRecord, CommandState, Failure, Reason, Record, ServiceRecord, ServiceState, Success,
    };

    #[test]
    fn a_good_release_says_where_it_serves_what_it_is_what_was_migrated_and_how_long_it_took() {
        let digest = Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let image = PinnedImage::of("shop", &digest);
        let record = Record {
            release: Some(8),
            images: vec![ImageRecord { key: "app".into(), image, digest, is_new: true }],
            commands: vec![CommandRecord {
                name: "migrate".to_owned(),
                task: Some("arn:aws:ecs:eu-central-1:111122223333:task/shop/9c1e".into()),
                has_output: true,
                state: CommandState::Succeeded,
            }],
            services: vec![ServiceRecord {
                key: "web".into(),
                service: ServiceRef { cluster: "shop".into(), name: "web".into() },
                previous: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41".into(),
                target: Some("arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42".into()),
                previous_release: Some(7),
                is_unchecked: false,
                state: ServiceState::Serving,
                url: Some("https://shop.example.com/health".to_owned()),
            }],
            ..Record::default()
        };
        let run = RunContext { sha: Some("3f2c1ab".repeat(5)), ..RunContext::default() };
        let outcome = Outcome { result: Ok(Success::Deployed), record };
        let text = summary(&outcome, &run, Duration::from_secs(185));
        let expected = [
            "### fargate-deploy r8: deployed\n",
            "| release | r8 |\n|---|---|\n",
            "| **URL** | https://shop.example.com/health |\n",
            "| **commit** | `3f2c1ab3f2c1ab3f2c1ab3f2c1ab3f2c1ab` |\n",
            &format!("| **image** | app `sha256:{}` |\n", "a".repeat(64)),
            "| **migration** | release command `migrate` was applied (task 9c1e) |\n",
            "| **took** | 3 min 5 s |\n",
        ];
        expected.iter().for_each(|line| assert!(text.contains(line), "{line} is not in {text}"));
        let failed = Outcome { result: Err(Failure::new(Reason::RolledBack, "x")), record: outcome.record };
        assert!(!summary(&failed, &run, Duration::ZERO).contains("https://"));
    }

    #[test]
    fn hostile_text_stays_text() {
        let outcome = Outcome::from(
            Failure::new(Reason::Build, "</details> @everyone | [x](y)")
                .with_log(vec!["```".to_owned(), "````".to_owned()]),
        );
        let text = summary(&outcome, &RunContext::default(), Duration::ZERO);
        assert!(text.contains("&lt;/details&gt; `@everyone` &#124; \\[x\\](y)"), "{text}");
        assert!(text.contains("\n`````text\n"), "{text}");
    }

    #[test]
    fn what_is_copied_from_a_summary_is_what_was_meant() {
        let policy = "{\n  \"Effect\": \"Allow\",\n  \"sub\": \"repo:o@1/r@2:*\"\n}";
        let result = Err(Failure::new(Reason::Identity, "`arn:aws:iam::1:role/x`: denied")
            .with_next(format!("the trust policy needs this statement:\n\n{policy}")));
        let record = Record { registered: vec!["arn:aws:ecs:r:1:task-definition/web:42".into()], ..Record::default() };
        let text = summary(&Outcome { result, record }, &RunContext::default(), Duration::ZERO);
        let block = text.split("```\n").nth(1).unwrap();
        assert_eq!(block, format!("{policy}\n"));
        assert!(!text.contains('\u{200b}'), "{text}");
    }

    #[test]
    fn a_summary_stays_below_githubs_limit() {
        let failure = Failure::new(Reason::Build, "x").with_log(vec!["ü".repeat(1000); 1000]);
        assert!(cut(&summary(&Outcome::from(failure), &RunContext::default(), Duration::ZERO)).len() < 1024 * 1024);
    }
}
