//! `init`, as a person starts it: what it writes is planned offline without a change by hand.

use super::cli::run;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The files that the importer's own tests read, in a folder of its own, with those alone that `keep` names.
fn folder(keep: &[&str]) -> TempDir {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/import/tests/files");
    let folder = tempfile::tempdir().unwrap();
    for name in keep.iter().chain(&["Dockerfile", "api/Dockerfile", ".env.production"]) {
        let to = folder.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(files.join(name), to).unwrap();
    }
    folder
}

const SOURCES: [&[&str]; 11] = [
    &["compose.yaml"],
    &["Procfile", "app.json"],
    &["heroku.yml"],
    &["fly.toml"],
    &["render.yaml"],
    &["railway.json"],
    &["copilot/web/manifest.yml", "copilot/.workspace"],
    &["ecs-params.yml", "compose.yaml"],
    &["Dockerrun.aws.json"],
    &["config/deploy.yml"],
    &[],
];

#[test]
fn what_is_written_from_each_kind_of_file_is_planned_offline() {
    for source in SOURCES {
        let folder = folder(source);
        let (output, out, err) = run(folder.path(), &["init"]);
        assert!(output.status.success(), "{source:?}: {out}{err}");
        assert!(out.contains("written: fargate-deploy.yml"), "{source:?}: {out}");
        let (output, out, err) = run(folder.path(), &["plan", "--offline"]);
        assert!(output.status.success(), "{source:?}: {out}{err}");
    }
}

#[test]
fn whatever_things_are_called_the_config_is_sound() {
    let long = "x".repeat(70);
    for (name, service) in
        [("A", "b"), ("My--Shop_", "UPPER_case--x"), (&long, &long), ("3.10", "true"), ("é", "web app")]
    {
        let folder = folder(&[]);
        let text = format!(
            "name: \"{name}\"\nservices:\n  \"{service}\": {{ build: . }}\n  other: {{ build: ./api, image: 'ghcr.io/Org/x' }}\n"
        );
        fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let (output, out, err) = run(folder.path(), &["init"]);
        assert!(output.status.success(), "{name}: {out}{err}");
        let (output, out, err) = run(folder.path(), &["plan", "--offline"]);
        assert!(output.status.success(), "{name}: {out}{err}");
    }
}

#[test]
fn nothing_is_written_over_a_file_that_is_there_and_none_of_the_others_either() {
    let folder = folder(&["compose.yaml"]);
    let workflow = folder.path().join(".github/workflows/fargate-deploy.yml");
    fs::create_dir_all(workflow.parent().unwrap()).unwrap();
    fs::write(&workflow, "mine").unwrap();
    let (output, out, _) = run(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(2), "{out}");
    assert!(!folder.path().join("fargate-deploy.yml").exists());
    assert_eq!(fs::read_to_string(&workflow).unwrap(), "mine");
    let (output, ..) = run(folder.path(), &["init", "--force"]);
    assert!(output.status.success());
    assert!(folder.path().join("fargate-deploy.yml").exists());
    assert_ne!(fs::read_to_string(&workflow).unwrap(), "mine");
}

#[test]
fn print_shows_everything_and_writes_nothing() {
    let folder = folder(&["Procfile"]);
    let before = names(folder.path());
    let (output, out, _) =
        run(folder.path(), &["init", "--print", "--region", "eu-west-1", "--account", "222233334444"]);
    assert!(output.status.success());
    assert!(
        out.contains("--- infra/web.json") && out.contains("222233334444") && out.contains("region: eu-west-1"),
        "{out}"
    );
    assert!(out.contains("you decide"), "{out}");
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_json_document_has_the_table_and_the_files() {
    let folder = folder(&["fly.toml"]);
    let (_, out, _) = run(folder.path(), &["init", "--print", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["read"], serde_json::json!(["fly.toml"]));
    assert_eq!(document["is-written"], false);
    assert!(
        document["rows"].as_array().unwrap().iter().any(|row| row["fate"] == "dropped" && row["why"] != ""),
        "{out}"
    );
}

#[test]
fn where_there_is_nothing_to_read_and_where_a_dockerfile_is_missing_it_says_so_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (output, out, err) = run(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(format!("{out}{err}").contains("nothing here that a config could be made of"), "{out}{err}");
    fs::write(folder.path().join("Procfile"), "web: bin/serve\n").unwrap();
    let (output, out, err) = run(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(format!("{out}{err}").contains("`Dockerfile`: there is no such file"), "{out}{err}");
    assert!(!folder.path().join("fargate-deploy.yml").exists());
    let (output, out, err) = run(folder.path(), &["init", "--from", "../outside.yml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(format!("{out}{err}").contains("there is no such file"), "{out}{err}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
