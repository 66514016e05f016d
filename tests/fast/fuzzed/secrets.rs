//! Whatever a secret looks like, and whatever text it stands in: it leaves by none of the ways out of a run.

use fargate_deploy::commands::deploy::conclude;
use fargate_deploy::events::{Event, Notice, Sink as _, Step, Warning};
use fargate_deploy::render::events::EventLog;
use fargate_deploy::render::log::{Detail, Log, Style};
use fargate_deploy_core::github_deployment::ended;
use fargate_deploy_core::markdown::{advice, code, fence, plain, prose};
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::{Failure, Outcome, Reason};
use fargate_deploy_core::redact::{Redaction, Secret};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use test_support::proptest::prelude::*;
use test_support::{Lines, fuzz};

/// What no rendering changes: found in anything that was made of the secret, but for encodings.
const FIRST: &str = "Kq7Zr2Vw";
const LAST: &str = "Xb9Tn4Lm";

/// Everything that means something to a terminal, a shell, a runner, Markdown, HTML, JSON, YAML or a URL.
fn odd() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "<b>",
        "&",
        "|",
        "`",
        "``",
        "*",
        "_",
        "~",
        "[x](y)",
        "@all",
        "#12",
        "GH-1",
        "\\",
        "\"",
        "'",
        "%",
        "%2F",
        "+",
        "/",
        "=",
        "?",
        ":",
        "::",
        "##[",
        "::error::",
        " ",
        "  ",
        "\t",
        "$",
        "${x}",
        "-",
        "1.",
        "ü",
        "🚀",
        "\u{200b}",
        "{",
        "}",
        "!",
        "\u{1b}[0m",
        "\u{7}",
        "\u{202e}",
        ".",
        ",",
        ";",
        "(",
        ")",
        "word",
    ]);
    prop::collection::vec(odd, 0..4).prop_map(|parts| parts.concat())
}

fn secret() -> impl Strategy<Value = String> {
    (odd(), odd(), odd()).prop_map(|(before, between, after)| {
        let between = if between.is_empty() { "-".to_owned() } else { between };
        format!("{before}{FIRST}{between}{LAST}{after}").trim().to_owned()
    })
}

/// How it comes to us: as it is, or as something else quotes it.
fn quoted(secret: &str, how: usize) -> String {
    let json = serde_json::json!({ "password": secret }).to_string();
    match how {
        0 => secret.to_owned(),
        1 => json,
        2 => format!("{secret:?}"),
        3 => percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string(),
        4 => secret.replace('%', "%25").replace(' ', "+"),
        _ => format!("https://user:{secret}@host/path"),
    }
}

fn leaks(text: &str) -> bool {
    let joined: String = text.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    [text, &joined].iter().any(|text| text.contains(FIRST) || text.contains(LAST))
}

#[test]
fn a_known_secret_is_in_nothing_that_a_run_says_writes_or_posts() {
    let inputs = (secret(), odd(), odd(), 0_usize..6, prop::bool::ANY);
    fuzz(150, inputs, |(secret, before, after, how, is_in_actions)| {
        let service = ServiceRef { cluster: "shop".into(), name: "web".into() };
        let said = format!("{before}{}{after}", quoted(&secret, how));
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let pairs =
            [("GITHUB_OUTPUT", path("o")), ("GITHUB_STEP_SUMMARY", path("s")), ("GITHUB_ACTIONS", "true".to_owned())];
        let mut env: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value)).into();
        if !is_in_actions {
            env.remove("GITHUB_ACTIONS");
        }
        let lines = Lines::default();
        let style = Style { detail: Detail::Verbose, fence: is_in_actions.then(|| "fence".to_owned()) };
        let log = Arc::new(Log::new(lines.clone(), style));
        let events = Lines::default();
        let sink = EventLog::new(events.clone(), "events", Box::new(|| "now".to_owned()), log.clone());
        sink.emit(Event::Mask(Secret::new(&secret)));
        sink.emit(Event::Output { step: Step::Build, source: said.clone(), line: said.clone() });
        sink.emit(Event::Output { step: Step::Build, source: "other".to_owned(), line: said.clone() });
        sink.emit(Event::Warning(Warning::LeaseNotRenewed { service: service.clone(), error: said.clone() }));
        sink.emit(Event::Notice(Notice::NoPullRequest { why: said.clone() }));
        let failure = Failure::new(Reason::Build, format!("image `app`: {said}"))
            .with_evidence(vec![said.clone(), format!("a\n{said}")])
            .with_log(vec![said.clone()])
            .with_next(format!("say `{said}`:\n\n{said}"));
        let mut json = vec![];
        conclude(&Outcome::from(failure.clone()), Some(&mut json), &env, &log);

        let text = lines.text();
        let shown: Vec<_> = text.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
        let ways = [
            ("events", events.text()),
            ("log", shown.join("\n")),
            ("json", String::from_utf8(json).unwrap()),
            ("outputs", fs::read_to_string(&env["GITHUB_OUTPUT"]).unwrap()),
            ("summary", fs::read_to_string(&env["GITHUB_STEP_SUMMARY"]).unwrap()),
        ];
        for (way, text) in ways {
            assert!(!leaks(&text), "{way}: {said:?}: {text}");
        }
        let posted = Outcome::from(failure).redacted(|text| log.redacted(text));
        let status = ended(&posted, None);
        assert!(!leaks(&status.description), "{status:?}");
    });
}

#[test]
fn what_is_escaped_before_it_is_redacted_is_still_found() {
    fuzz(200, (secret(), odd()), |(secret, before)| {
        let mut redaction = Redaction::default();
        redaction.hide(&Secret::new(&secret));
        for text in
            [secret.clone(), format!("a {secret} z"), format!("{before} {secret}"), format!("x={secret}{before}")]
        {
            for (how, made) in
                [plain(&text), prose(&text), code(&text), fence("", &text), advice(&text)].iter().enumerate()
            {
                let shown = redaction.apply(made);
                assert!(!leaks(&shown), "{how}: {made:?} is {shown:?}");
            }
        }
    });
}
