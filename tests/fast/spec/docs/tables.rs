//! Tables between `<!-- generated: NAME -->` and `<!-- /generated -->` are what the program's own tables say.
//! `UPDATE_DOCS=1 cargo test --test fast spec::docs` writes them.

use super::{Page, assert_none, pages};
use crate::spec::action_yml::{OUTPUTS, help_of};
use clap::CommandFactory as _;
use fargate_deploy::cli::Arguments;
use fargate_deploy::cli::inputs::{INPUTS, InputKind};
use fargate_deploy::commands::explain::readable;
use fargate_deploy::config::schema;
use fargate_deploy::events::{Event, Notice, Wait, Warning};
use fargate_deploy_core::cause::{Row, codes};
use fargate_deploy_core::kinds::Kind;
use fargate_deploy_core::outcome::Reason;
use fargate_deploy_core::rollout::{RolloutEvent, Verdict};
use serde_json::Value;

const OPENS: &str = "<!-- generated: ";
const CLOSES: &str = "<!-- /generated -->";
const NAMES: [&str; 20] = [
    "causes",
    "config settings",
    "config image",
    "config builder",
    "config secret",
    "config release",
    "config service",
    "config smoke",
    "config rehearse",
    "config rehearsedcontainer",
    "commands",
    "exit codes",
    "inputs",
    "outputs",
    "events",
    "news",
    "waits",
    "warnings",
    "notices",
    "verdicts",
];

#[test]
fn every_generated_table_is_what_the_program_says() {
    let mut wrong = vec![];
    let mut seen = vec![];
    for page in pages() {
        let current = rewritten(&page, &mut seen);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&page.path, current).unwrap();
        } else if current != page.text {
            wrong.push(format!("{}: run `UPDATE_DOCS=1 cargo test --test fast spec::docs`", page.name));
        }
    }
    assert_none(&wrong);
    for name in NAMES {
        assert!(seen.iter().any(|known| known == name), "no page has the table `{name}`");
    }
}

fn rewritten(page: &Page, seen: &mut Vec<String>) -> String {
    let mut text = String::new();
    let mut rest = page.text.as_str();
    while let Some((before, after)) = rest.split_once(OPENS) {
        let (name, after) = after.split_once(" -->\n").unwrap_or_else(|| panic!("{}: a marker is open", page.name));
        let (_, after) = after.split_once(CLOSES).unwrap_or_else(|| panic!("{}: `{name}` does not end", page.name));
        text.push_str(&format!("{before}{OPENS}{name} -->\n{}{CLOSES}", table(name)));
        seen.push(name.to_owned());
        rest = after;
    }
    text + rest
}

fn table(name: &str) -> String {
    match name {
        "config settings" => keys(&schema()),
        "causes" => causes(),
        "commands" => commands(),
        "exit codes" => exit_codes(),
        "events" => kinds("event", Event::KINDS),
        "news" => kinds("news", RolloutEvent::KINDS),
        "waits" => kinds("for", Wait::KINDS),
        "warnings" => kinds("warning", Warning::KINDS),
        "notices" => kinds("notice", Notice::KINDS),
        "verdicts" => kinds("verdict", Verdict::KINDS),
        "inputs" => inputs(),
        "outputs" => rows(&["output", "holds"], OUTPUTS.iter().map(|(n, what)| vec![code(n), (*what).to_owned()])),
        _ => {
            let wanted = name.strip_prefix("config ").unwrap_or_else(|| panic!("no table is called `{name}`"));
            let schema = schema();
            let kinds = schema["$defs"].as_object().unwrap();
            keys(kinds.iter().find(|(kind, _)| kind.eq_ignore_ascii_case(wanted)).unwrap().1)
        }
    }
}

/// A section for each cause: what is said, how certain it is, what to do, and what to know.
fn causes() -> String {
    let section = |row: &Row| {
        let likely: Vec<String> = row.likely.iter().map(|likely| format!("- {}\n", shown(likely))).collect();
        let likely = match likely.as_slice() {
            [] => String::new(),
            all => format!("\nIt can be either, and both are said:\n\n{}", all.concat()),
        };
        format!(
            "\n## {}\n\n{}.\n\n> {}\n{likely}\n**Do:** {}\n\n{}\n",
            row.code,
            row.title,
            shown(row.cause),
            shown(row.next),
            row.more
        )
    };
    codes().map(section).collect::<Vec<_>>().concat() + "\n"
}

/// A sentence of the table, with the names of its values. Outside of code `<` would be markup.
fn shown(template: &str) -> String {
    let parts = readable(template);
    let parts = parts.split('`').enumerate().map(|(at, part)| match at % 2 {
        1 => part.to_owned(),
        _ => part.replace('<', "&lt;").replace('>', "&gt;"),
    });
    parts.collect::<Vec<_>>().join("`")
}

fn keys(object: &Value) -> String {
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let row = |(key, schema): (&String, &Value)| {
        let text = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        let (meaning, default) = without_default(&text);
        let kind = kind(schema);
        let default = match default.as_str() {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            "" if kind.contains("`false`") => code("false"),
            _ => default,
        };
        vec![code(key), kind, default, meaning]
    };
    rows(&["key", "type", "default", "meaning"], object["properties"].as_object().unwrap().iter().map(row))
}

/// `X (default Y).` and `X (default: Y).` are `X.` and `Y`; of "`Y` (the default) ..." nothing is taken away.
fn without_default(text: &str) -> (String, String) {
    if let Some((before, rest)) = text.split_once(" (default")
        && let Some((default, after)) = rest.split_once(')')
    {
        let default = default.trim_start_matches(':').trim();
        let is_word = !default.contains([' ', '`']);
        return (format!("{before}{after}"), if is_word { code(default) } else { default.to_owned() });
    }
    let chosen = text.split_once(" (the default").and_then(|(before, _)| before.rsplit_once('`')?.0.rsplit_once('`'));
    (text.to_owned(), chosen.map(|(_, word)| code(word)).unwrap_or_default())
}

/// That a reference can stand for a value is said once for all of them.
fn without_reference(schema: &Value) -> &Value {
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([own, reference]) if reference["pattern"].as_str().is_some_and(|p| p.starts_with(r"\$\{(env")) => own,
        _ => schema,
    }
}

fn kind(schema: &Value) -> String {
    let schema = without_reference(schema);
    if let Some(name) = schema["$ref"].as_str() {
        let all = fargate_deploy::config::schema();
        let name = name.trim_start_matches("#/$defs/");
        let target = without_reference(&all["$defs"][name]);
        return match (name, target["enum"].as_array()) {
            (_, Some(words)) => words.iter().filter_map(Value::as_str).map(code).collect::<Vec<_>>().join(", "),
            ("Span", _) => "duration".to_owned(),
            ("Role", _) => "ARN".to_owned(),
            _ if target["type"] == "object" => "mapping".to_owned(),
            _ => kind(target),
        };
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let mut kinds: Vec<String> = vec![];
        for one in any.iter().filter(|one| one["type"] != "null") {
            let kind = if one["type"] == "array" { "a list".to_owned() } else { kind(one) };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        return kinds.join(" or ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        one => one.as_str().into_iter().collect(),
    };
    match types.as_slice() {
        ["boolean"] => "`true` or `false`",
        ["integer"] => "number",
        ["array"] => "list",
        ["object"] => "mapping",
        _ => "text",
    }
    .to_owned()
}

/// The kinds of an enum, by the names that are serialized.
fn kinds(tag: &str, kinds: &[Kind]) -> String {
    let row = |kind: &Kind| {
        let fields = kind.fields.iter().filter(|(_, kind)| *kind != "Secret");
        let of_inner = kind.inner.map(inner);
        let fields = fields.map(|(name, kind)| field(&name.replace('_', "-"), kind)).chain(of_inner);
        let fields: Vec<_> = fields.filter(|field| !field.is_empty()).collect();
        let doc = kind.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        vec![code(&kebab(kind.name)), fields.join(", "), doc]
    };
    let is_written = |kind: &&Kind| !["Mask", "ShowAs"].contains(&kind.name);
    rows(&[tag, "fields", "says"], kinds.iter().filter(is_written).map(row))
}

/// The fields of what a kind holds.
fn inner(of: &str) -> String {
    match of {
        "SmokeFailure" => "`url`, `within`, `answer` and what belongs to it".to_owned(),
        "Counts" => "`desired`, `running`, `pending`".to_owned(),
        "Risk" => "`level`, `kind`, `text`".to_owned(),
        "Wait" => "`for` and what belongs to it".to_owned(),
        "Warning" => "`warning` and what belongs to it".to_owned(),
        "Notice" => "`notice` and what belongs to it".to_owned(),
        _ => String::new(),
    }
}

fn field(name: &str, kind: &str) -> String {
    match kind {
        "RolloutEvent" => "and those of its `news`".to_owned(),
        "Verdict" => "`verdict` and what belongs to it".to_owned(),
        "TaskVerdict" => "`outcome` and what belongs to it".to_owned(),
        "BuildStepState" | "SnapshotState" => "`state` and what belongs to it".to_owned(),
        "WrongAnswer" => "`answer` and what belongs to it".to_owned(),
        _ => code(name),
    }
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

fn exit_codes() -> String {
    let mut all: Vec<(u8, &str, Vec<String>)> =
        vec![(0, "the release serves and was verified, or there was nothing to do", vec![])];
    for reason in Reason::ALL {
        match all.iter_mut().find(|(exit, promise, _)| (*exit, *promise) == (reason.exit_code(), reason.promise())) {
            Some((_, _, words)) => words.push(code(reason.word())),
            None => all.push((reason.exit_code(), reason.promise(), vec![code(reason.word())])),
        }
    }
    let row = |(exit, promise, words): &(u8, &str, Vec<String>)| {
        vec![exit.to_string(), words.join(", "), (*promise).to_owned()]
    };
    rows(&["code", "reason", "what it promises"], all.iter().map(row))
}

fn commands() -> String {
    let program = Arguments::command();
    let flags_of = |command: &clap::Command| -> Vec<String> {
        let all = command.get_arguments().filter_map(|a| a.get_long()).filter(|flag| *flag != "help");
        all.map(|flag| code(&format!("--{flag}"))).collect()
    };
    let deploy = flags_of(program.find_subcommand("deploy").unwrap());
    let row = |command: &clap::Command| {
        let mut flags = flags_of(command);
        if command.get_name() != "deploy" && deploy.iter().all(|flag| flags.contains(flag)) {
            flags.retain(|flag| !deploy.contains(flag));
            flags.insert(0, "those of `deploy`,".to_owned());
        }
        vec![
            code(command.get_name()),
            command.get_about().map(ToString::to_string).unwrap_or_default(),
            flags.join(" "),
        ]
    };
    rows(&["command", "does", "flags"], program.get_subcommands().filter(|c| !c.is_hide_set()).map(row))
}

fn inputs() -> String {
    let row = |input: &fargate_deploy::cli::inputs::Input| {
        let help = input.help.map(str::to_owned).or_else(|| help_of(input.name)).unwrap_or_default();
        let form = match input.kind {
            InputKind::List => "one a line",
            InputKind::Switch => "`true` or `false`",
            _ => "",
        };
        vec![code(input.name), form.to_owned(), help]
    };
    rows(&["input", "form", "meaning"], INPUTS.iter().map(row))
}

fn code(word: &str) -> String {
    format!("`{word}`")
}

fn rows(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for cells in rows {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}
