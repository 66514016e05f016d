//! Every config and every workflow that the documentation shows is read as a user's would be.

use super::page::Block;
use super::{Page, assert_none, files, pages, root};
use crate::loaded::load;
use crate::spec::action_yml::OUTPUTS;
use fargate_deploy::cli::Arguments;
use fargate_deploy::cli::inputs::{INPUTS, InputKind};
use fargate_deploy::config::{Request, load_rehearsal, schema};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_yaml_block_of_the_docs_is_read_by_what_would_read_it() {
    let mut wrong = vec![];
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "yaml") {
            seen += 1;
            if let Err(why) = read_block(&page, block) {
                wrong.push(format!("{}:{}: {why}\n{}", page.name, block.line, block.text));
            }
        }
    }
    assert_none(&wrong);
    assert!(seen > 10, "only {seen} blocks were found");
}

#[test]
fn every_config_of_the_examples_is_one_in_each_of_its_environments() {
    let mut wrong = vec![];
    let configs = files(&root().join("examples"), &["yml"], 3);
    let configs = configs.iter().filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("fargate-deploy"));
    let mut seen = 0;
    for path in configs {
        let document = parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        for environment in environments(&document) {
            seen += 1;
            let request = Request { file: Some(path.clone()), environment, ..Request::default() };
            let read = load(&request, &BTreeMap::new(), path.parent().unwrap());
            wrong.extend(read.err().map(|why| format!("{}: {why}", path.display())));
        }
    }
    assert_none(&wrong);
    assert!(seen >= 7, "only {seen} were found");
}

#[test]
fn every_workflow_uses_inputs_and_outputs_that_the_action_has() {
    let mut found = files(&root().join("workflows"), &["yml"], 0);
    found.extend(
        files(&root().join("examples"), &["yml"], 2).into_iter().filter(|p| p.parent().unwrap().ends_with("workflows")),
    );
    assert!(found.len() >= 8, "only {} were found", found.len());
    let mut wrong = vec![];
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let read = parse(&text).and_then(|document| workflow(&document, &text));
        wrong.extend(read.err().map(|why| format!("{}: {why}", path.display())));
    }
    assert_none(&wrong);
}

fn read_block(page: &Page, block: &Block) -> Result<(), String> {
    let document = parse(&block.text)?;
    if let Some(path) = block.note.as_deref().and_then(|note| note.strip_prefix("config: fragment of ")) {
        let keys = path.rsplit('.').fold(document, |inner, key| json!({ key: inner }));
        return config(&keys);
    }
    if block.note.as_deref().is_some_and(|note| note.starts_with("other: ")) {
        return command_lines(&document);
    }
    match &document {
        Value::Array(steps) if steps.iter().all(|step| step.get("uses").is_some() || step.get("run").is_some()) => {
            workflow(&json!({ "jobs": { "job": { "steps": steps } } }), &block.text)
        }
        Value::Object(keys) if keys.contains_key("jobs") || keys.keys().all(|key| key == "permissions") => {
            workflow(&document, &block.text)
        }
        Value::Object(keys) if keys.keys().all(|key| schema()["properties"].get(key).is_some()) => config(&document),
        _ => Err(format!("say what it is in a comment before it: {:?} is not known to {}", block.note, page.name)),
    }
}

/// The file of another CI system: what it calls of the program are its commands.
fn command_lines(document: &Value) -> Result<(), String> {
    match document {
        Value::String(line) if line.starts_with("fargate-deploy ") => {
            let words = line.split_whitespace().map(str::to_owned).collect();
            Arguments::read(words, &BTreeMap::new()).map(|_| ()).map_err(|error| error.to_string())
        }
        Value::Array(items) => items.iter().try_for_each(command_lines),
        Value::Object(members) => members.values().try_for_each(command_lines),
        _ => Ok(()),
    }
}

/// Laid over the smallest config, in a folder that has the files which it names, for each of its environments.
fn config(document: &Value) -> Result<(), String> {
    let mut whole = json!({
        "cluster": "shop", "images": { "app": { "repository": "team/app" } }, "services": { "web": { "containers": { "app": "app" } } },
    });
    lay_over(&mut whole, document);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    for file in named_files(&whole) {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{}").unwrap();
    }
    answer_references(&mut whole);
    std::fs::write(folder.path().join("fargate-deploy.yml"), whole.to_string()).unwrap();
    for environment in environments(&whole) {
        let request = Request { environment, ..Request::default() };
        let env = BTreeMap::from([("NPMRC".to_owned(), "x".to_owned())]);
        load_rehearsal(&request, &env, folder.path()).map_err(|errors| errors.to_string())?;
    }
    Ok(())
}

/// Each environment, or one run without.
fn environments(document: &Value) -> Vec<Option<String>> {
    match document["environments"].as_object() {
        Some(all) => all.keys().cloned().map(Some).collect(),
        None => vec![None],
    }
}

fn lay_over(base: &mut Value, top: &Value) {
    match (base, top) {
        (Value::Object(base), Value::Object(top)) => {
            for (key, value) in top {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, top) => *base = top.clone(),
    }
}

fn named_files(document: &Value) -> Vec<String> {
    match document {
        Value::Object(members) => {
            let own = members.get("task-definition").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(members.values().flat_map(named_files)).collect()
        }
        Value::Array(items) => items.iter().flat_map(named_files).collect(),
        _ => vec![],
    }
}

/// What AWS would answer for `${tf:}`, `${cfn:}` and `${ssm:}`, where the block says nothing for rehearsals.
fn answer_references(document: &mut Value) {
    let text = document.to_string();
    let named = |source: &str| {
        let rest: Vec<_> = text.split(&format!("${{{source}:")).skip(1).filter_map(|r| r.split_once('}')).collect();
        rest.into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    let value = |name: &str| if name.contains("url") { "https://shop.example.com" } else { "shop" };
    let mut answers = json!({});
    for name in named("tf") {
        answers["terraform"][&name] = json!(value(&name));
    }
    for name in named("ssm") {
        answers["parameters"][&name] = json!(value(&name));
    }
    for (stack, output) in named("cfn").iter().filter_map(|name| name.split_once('.')) {
        answers["stacks"][stack][output] = json!(value(output));
    }
    if document.get("rehearse").is_none() {
        document["rehearse"] = answers;
    }
}

/// Steps that use the action, its inputs as the program reads them, and the outputs that others take.
fn workflow(document: &Value, text: &str) -> Result<(), String> {
    for job in document["jobs"].as_object().into_iter().flat_map(|jobs| jobs.values()) {
        for step in job["steps"].as_array().into_iter().flatten() {
            if step["uses"].as_str().is_some_and(|uses| uses.starts_with("org/fargate-deploy@")) {
                uses_the_action(step)?;
            }
        }
        permissions(&job["permissions"])?;
    }
    permissions(&document["permissions"])?;
    for rest in text.split(".outputs.").skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        if text.contains("org/fargate-deploy@") && !OUTPUTS.iter().any(|(known, _)| *known == name) {
            return Err(format!("the action has no output `{name}`"));
        }
    }
    Ok(())
}

fn uses_the_action(step: &Value) -> Result<(), String> {
    let mut env = BTreeMap::from([("INPUT_COMMAND".to_owned(), "deploy".to_owned())]);
    for (name, value) in step["with"].as_object().into_iter().flatten() {
        let input =
            INPUTS.iter().find(|input| input.name == name).ok_or(format!("the action has no input `{name}`"))?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = match (value.contains("${{"), input.kind) {
            (true, InputKind::Token | InputKind::Switch) => continue,
            // What a person types, or another step found.
            (true, _) => "r1".to_owned(),
            (false, _) => value,
        };
        env.insert(format!("INPUT_{}", name.to_ascii_uppercase()), value);
    }
    Arguments::read(vec!["fargate-deploy".to_owned()], &env).map(|_| ()).map_err(|error| error.to_string())
}

/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#permissions>
fn permissions(given: &Value) -> Result<(), String> {
    let known = ["actions", "attestations", "contents", "deployments", "id-token", "packages", "pull-requests"];
    for (name, level) in given.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str()) || !["read", "write", "none"].contains(&level.as_str().unwrap_or_default()) {
            return Err(format!("`{name}: {level}` is no permission of a job"));
        }
    }
    Ok(())
}

fn parse(source: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(source, options).map_err(|error| error.to_string())
}

#[test]
fn a_block_that_a_user_could_not_write_is_found() {
    let page = Page { path: Path::new("p").into(), name: "p".to_owned(), text: String::new() };
    let read = |text: &str, note: Option<&str>| {
        let block = Block { line: 1, language: "yaml".into(), text: text.into(), note: note.map(str::to_owned) };
        read_block(&page, &block)
    };
    assert!(read("images: { app: { repository: a, cahce: off } }", None).unwrap_err().contains("cahce"));
    assert!(read("smoke: [{ url: 'https://a.test' }]", None).is_err());
    assert_eq!(read("smoke: [{ url: 'https://a.test' }]", Some("config: fragment of services.web")), Ok(()));
    assert!(read("[{ uses: org/fargate-deploy@v1, with: { dry: true } }]", None).unwrap_err().contains("`dry`"));
    assert!(read("[{ uses: org/fargate-deploy@v1, with: { dry-run: yes } }]", None).unwrap_err().contains("dry-run"));
    assert!(read("permissions: { id-tokens: write }", None).is_err());
}
