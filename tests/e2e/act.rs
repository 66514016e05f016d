//! The Action in a workflow, as `act` runs one: `uses: ./`, inputs, outputs and the exit code, green and red.

use crate::program::{BINARY, scrubbed};
use crate::scene::{CONFIG, definition};
use crate::served::Served;
use std::path::Path;
use std::process::Command;
use test_support::{App, Behaviour};

const WORKFLOW: &str = r#"
on: push
permissions: {}
jobs:
  deploy:
    runs-on: ubuntu-latest
    permissions: { id-token: write, contents: read }
    steps:
      - uses: actions/checkout@v5
      - id: deploy
        uses: ./
        with:
          command: deploy
          config: fargate-deploy.yml
      - if: always()
        env:
          OUTPUTS: ${{ toJSON(steps.deploy.outputs) }}
        run: echo "$OUTPUTS" > "$OUTPUTS_FILE"
"#;

/// A repository with the application and the Action.
struct Repository {
    app: App,
    home: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let app = App::new(CONFIG, &definition());
        app.write("app/check", "exit 0\n");
        app.write(".github/workflows/deploy.yml", WORKFLOW);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(root.join("action.yml"), app.path().join("action.yml")).unwrap();
        for entry in std::fs::read_dir(root.join("action")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                app.write(&format!("action/{}", entry.file_name().to_str().unwrap()), &text);
            }
        }
        let repository = Self { app, home: tempfile::tempdir().unwrap() };
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    fn git(&self, arguments: &[&str]) {
        let mut git: Command = scrubbed("git");
        git.args(["-c", "user.name=e2e", "-c", "user.email=e2e@example.invalid", "-c", "commit.gpgsign=false"]);
        git.args(arguments).current_dir(self.app.path()).env("HOME", self.home.path());
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self, name: &str, behaviour: Behaviour) {
        self.app.release(name, behaviour);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", name]);
    }

    /// Pushes: whether the workflow is green, its log, and the outputs that a later step sees.
    async fn push(&self, served: &Served) -> (bool, String, serde_json::Value) {
        let act = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/act");
        assert!(act.exists(), "act is missing: run scripts/setup");
        let outputs = self.home.path().join("outputs.json");
        let _ = std::fs::remove_file(&outputs);
        let mut command = scrubbed(act);
        command.args(["push", "-P", "ubuntu-latest=-self-hosted"]).current_dir(self.app.path());
        command.args(["--env", &format!("FARGATE_DEPLOY_BINARY={BINARY}")]);
        command.args(["--env", &format!("OUTPUTS_FILE={}", outputs.display())]);
        for (name, value) in served.env.iter().filter(|(name, _)| !name.contains("ACCESS_KEY")) {
            command.args(["--env", &format!("{name}={value}")]);
        }
        command.env("HOME", self.home.path()).env("XDG_CACHE_HOME", self.home.path().join(".cache"));
        let output = tokio::process::Command::from(command).output().await.unwrap();
        let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
        log.push_str(&String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&outputs).unwrap_or_else(|e| panic!("{e}: {log}"));
        (output.status.success(), log, serde_json::from_str(&text).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_green_then_red_with_its_outputs_set() {
    let repository = Repository::new();
    let served = Served::open(repository.app.path()).await;

    repository.commit("r1", Behaviour::Serves);
    let (is_green, log, outputs) = repository.push(&served).await;
    assert!(is_green, "{log}");
    assert_eq!(outputs["outcome"], "deployed", "{log}");
    assert_eq!(outputs["failure-reason"], "");
    assert!(outputs["digest"].as_str().unwrap().starts_with("sha256:"), "{outputs}");
    assert_eq!(served.answer().await.as_deref(), Some("r1"));

    repository.commit("r2", Behaviour::Crashes);
    let (is_green, log, red) = repository.push(&served).await;
    assert!(!is_green, "{log}");
    assert_eq!(red["outcome"], "failed", "{log}");
    assert_eq!(red["failure-reason"], "rolled-back", "{log}");
    assert_eq!(red["rolled-back"], "true");
    assert_eq!(red["previous-task-definition-arn"], outputs["task-definition-arn"]);
    assert_eq!(red["migration-exit-code"], "0");
    assert!(log.contains("KeyError: STRIPE_KEY (r2)"), "{log}");
    assert_eq!(served.answer().await.as_deref(), Some("r1"));
    served.close().await;
}
