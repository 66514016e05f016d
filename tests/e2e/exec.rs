//! `exec` against the data channel that the stage plays, with a real shell in the real container behind it.

use crate::program::{BINARY, scrubbed};
use crate::scene::{Scene, Setting, definition};
use aws_stage::behavior::ExecFaults;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use test_support::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

const TASK_ROLE: &str = "arn:aws:iam::111122223333:role/shop-task";

pub async fn open(is_enabled: bool) -> Scene {
    let mut definition = definition();
    definition["taskRoleArn"] = json!(TASK_ROLE);
    let service = json!({ "enableExecuteCommand": is_enabled });
    let scene = Scene::open(Setting { definition, service, desired: 1, ..Setting::default() }).await;
    if is_enabled {
        scene.stage.insert_task_role(TASK_ROLE).unwrap();
    }
    scene
}

/// The program as a person starts it: no job, ambient credentials.
fn command(scene: &Scene, arguments: &[&str]) -> std::process::Command {
    let mut command = scrubbed(BINARY);
    command.arg("exec").args(arguments).current_dir(scene.app.path());
    command.envs(scene.stage.aws_env()).envs(scene.stage.root_env()).env("HOME", scene.app.path());
    command
}

async fn exec(scene: &Scene, arguments: &[&str]) -> Output {
    Command::from(command(scene, arguments)).stdin(Stdio::null()).output().await.unwrap()
}

#[track_caller]
fn ended(output: &Output, code: i32, printed: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found == printed, "printed {} bytes, expected {}\n{said}", found.len(), printed.len());
}

#[track_caller]
fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains(words), "{words}: {said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

fn sessions(scene: &Scene) -> usize {
    scene.calls_since(0, |call| call.operation == "ExecuteCommand").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_in_a_running_container_ends_with_its_own_code_and_all_of_its_output() {
    let scene = open(true).await;
    for (words, code, printed) in [
        (&["echo", "it's", "a  \\ \"b\" $HOME"][..], 0, "it's a  \\ \"b\" $HOME\n"),
        (&["false"], 1, ""),
        (&["echo $((40 + 2)); exit 7"], 7, "42\n"),
        (&["printf", "no line end"], 0, "no line end"),
        (&["cat"], 0, ""),
        (&["cat", "/app/www/index.html"], 0, "r0\n"),
        (&["sh", "-c", "kill -TERM $$"], 143, ""),
    ] {
        let arguments = [&["-s", "web", "--"], words].concat();
        ended(&exec(&scene, &arguments).await, code, printed);
    }
    for (word, code) in [("/app/nowhere", 127), ("/app/serve", 126)] {
        let output = exec(&scene, &["--", word, ""]).await;
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }

    // A megabyte, over a good channel and over ones that lose, double and reorder, ask for a handshake, and are cut.
    let lines: String = (1..=160_000).map(|n| format!("{n}\n")).collect();
    let good = ExecFaults::default();
    for faults in [good, ExecFaults { has_handshake: true, ..good }, ExecFaults { cut_after: Some(300_000), ..good }] {
        scene.stage.exec_channel().set(faults);
        ended(&exec(&scene, &["-s", "web", "--", "seq", "160000"]).await, 0, &lines);
    }
    let few: String = (1..=4000).map(|n| format!("{n}\n")).collect();
    scene.stage.exec_channel().set(ExecFaults { is_unreliable: true, has_handshake: true, ..good });
    // The agent gives the last acknowledgements two seconds: what is lost of the numbers is made good before them.
    ended(&exec(&scene, &["-s", "web", "--", "sh", "-c", "seq 4000; sleep 3; exit 3"]).await, 3, &few);

    // A connection that is lost for good: 125, and words.
    scene.stage.exec_channel().set(ExecFaults { cut_after: Some(100_000), is_resumable: false, ..good });
    let lost = exec(&scene, &["-s", "web", "--", "seq", "160000"]).await;
    let said = String::from_utf8_lossy(&lost.stderr);
    assert_eq!(lost.status.code(), Some(125), "{said}");
    assert!(said.contains("the connection ended before the command did") && said.contains("session is over"), "{said}");
    let printed = String::from_utf8_lossy(&lost.stdout);
    assert!(printed.len() > 50_000 && lines.starts_with(&*printed), "what came before is shown: {}", printed.len());

    // The token is in nothing that was printed.
    assert!(!said.contains("tokenValue") && !said.contains("TokenValue"));

    // Of a pipeline it takes a yes, and what is printed there is fenced.
    scene.stage.exec_channel().set(good);
    let before = sessions(&scene);
    let mut of_job = command(&scene, &["-s", "web", "--", "echo", "::error::owned"]);
    of_job.env("CI", "true");
    refused(&Command::from(of_job).stdin(Stdio::null()).output().await.unwrap(), "`exec --yes`");
    assert_eq!(sessions(&scene), before);

    let mut of_job = command(&scene, &["--yes", "-s", "web", "--", "echo", "::error::owned"]);
    of_job.env("GITHUB_ACTIONS", "true").env("GITHUB_REPOSITORY", "acme/shop").envs(scene.stage.github_env());
    of_job.env_remove("AWS_ACCESS_KEY_ID");
    let output = Command::from(of_job).stdin(Stdio::null()).output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    let [begins, "::error::owned", ends] = lines[..] else {
        panic!("{printed}{}", String::from_utf8_lossy(&output.stderr))
    };
    let token = begins.strip_prefix("::stop-commands::").unwrap();
    assert_eq!((ends, output.status.code()), (format!("::{token}::").as_str(), Some(0)));

    // Its task goes away under a command.
    let task = scene.tasks("RUNNING").await[0]["taskArn"].as_str().unwrap().to_owned();
    let mut child = Command::from(command(&scene, &["-t", &task, "--", "sh", "-c", "echo begun; sleep 300"]));
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut begun = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).await.unwrap();
    scene.call("ecs", "StopTask", json!({ "cluster": "shop", "task": task, "reason": "told to" })).await;
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("its container has stopped"), "{said}");
    scene.close().await;
}

/// The program on a terminal, with somebody who types.
struct Person {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Person {
    /// `folder` gets the terminal's name, the program's id, and how the terminal was set before and after.
    fn sits_down(scene: &Scene, arguments: &str, path: Option<&Path>, folder: &Path) -> Self {
        let plain = command(scene, &[]);
        let at = folder.display();
        let line = format!(
            "tty > {at}/tty; stty cols 100 rows 30; stty -g > {at}/before; \
             sh -c 'echo $$ > {at}/pid; exec {BINARY} exec {arguments}'; code=$?; stty -g > {at}/after; exit $code"
        );
        let mut terminal = scrubbed("script");
        terminal.args(["-qefc", &line, "/dev/null"]).current_dir(scene.app.path()).env("SHELL", "/bin/sh");
        terminal.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(path) = path {
            terminal.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()));
        }
        terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Command::from(terminal).kill_on_drop(true).spawn().unwrap();
        let (keys, mut printed) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = screen.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = printed.read(&mut buffer).await {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self { child, keys, screen }
    }

    async fn types(&mut self, keys: &str) {
        self.screen.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).await.unwrap();
        self.keys.flush().await.unwrap();
    }

    async fn sees(&self, text: &str) {
        eventually(text, || async { self.screen.lock().unwrap().contains(text).then_some(()) }).await;
    }

    async fn leaves(mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_types_interrupts_and_resizes_and_has_the_terminal_back() {
    let scene = open(true).await;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut person = Person::sits_down(&scene, "-s web", None, at);
    person.sees("# ").await;
    person.types("echo $((40+2))\r").await;
    person.sees("\n42").await;
    person.types("stty size\r").await;
    person.sees("30 100").await;
    let resized = scrubbed("stty").args(["-F", &read(at, "tty"), "cols", "77", "rows", "20"]).status().unwrap();
    assert!(resized.success());
    // The size is on its way: each look asks anew.
    let mut looks = 0;
    while !is_of_new_size(&mut person).await {
        looks += 1;
        assert!(looks < 100, "the new size never came");
    }
    person.types("sh -c 'echo be''gun; sleep 300'\r").await;
    person.sees("begun").await;
    person.types("\u{3}").await;
    person.sees("# ").await;
    person.types("echo back $?\r").await;
    person.sees("back 130").await;
    person.types("exit 7\r").await;
    assert_eq!(person.leaves().await, Some(7));
    assert!(!read(at, "before").is_empty());
    assert_eq!(read(at, "after"), read(at, "before"));

    // Told to end by a signal.
    let person = Person::sits_down(&scene, "-s web", None, at);
    person.sees("# ").await;
    assert!(scrubbed("kill").args(["-TERM", &read(at, "pid")]).status().unwrap().success());
    assert_eq!(person.leaves().await, Some(130));
    assert_eq!(read(at, "after"), read(at, "before"));

    // A connection that is cut while somebody types is had again.
    scene.stage.exec_channel().set(ExecFaults { cut_after: Some(3000), ..ExecFaults::default() });
    let mut person = Person::sits_down(&scene, "-s web", None, at);
    person.sees("# ").await;
    person.types("seq 2000; echo all of $((1+1))\r").await;
    person.sees("all of 2").await;
    person.types("exit\r").await;
    assert_eq!(person.leaves().await, Some(0));

    // AWS's own plugin, where it is there: a stand-in that writes down how it was started.
    let plugin = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo ${{PLUGIN_VERSION:-1.2.764.0}}; exit; }}\n\
         printf '%s\\n' \"$@\" > {at}/arguments\nenv > {at}/environment\n",
        at = at.display()
    );
    let path = plugin.path().join("session-manager-plugin");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let person = Person::sits_down(&scene, "-s web", Some(plugin.path()), at);
    assert_eq!(person.leaves().await, Some(0));
    let arguments: Vec<String> = read(at, "arguments").lines().map(str::to_owned).collect();
    let task = &scene.tasks("RUNNING").await[0];
    let (id, runtime) =
        (task["taskArn"].as_str().unwrap().rsplit('/').next().unwrap(), &task["containers"][0]["runtimeId"]);
    assert_eq!(arguments[..3], ["AWS_SSM_START_SESSION_RESPONSE", "eu-central-1", "StartSession"]);
    let target: Value = serde_json::from_str(&arguments[4]).unwrap();
    assert_eq!(target["Target"], format!("ecs:shop_{id}_{}", runtime.as_str().unwrap()));
    let environment = read(at, "environment");
    let response = environment.lines().find_map(|line| line.strip_prefix("AWS_SSM_START_SESSION_RESPONSE=")).unwrap();
    let response: Value = serde_json::from_str(response).unwrap();
    assert!(response["sessionId"].as_str().unwrap().starts_with("ecs-execute-command-"), "{response}");
    assert!(response["streamUrl"].is_string() && response["tokenValue"].is_string(), "{response}");
    assert!(environment.contains("AWS_ACCESS_KEY_ID="));

    // And left where it is, if that is said; with a command, for its exit code.
    let mut person = Person::sits_down(&scene, "-s web --no-plugin", Some(plugin.path()), at);
    person.sees("# ").await;
    person.types("exit 5\r").await;
    assert_eq!(person.leaves().await, Some(5));
    let person = Person::sits_down(&scene, "-s web -- sh -c \"exit 9\"", Some(plugin.path()), at);
    assert_eq!(person.leaves().await, Some(9));
    scene.close().await;
}

async fn is_of_new_size(person: &mut Person) -> bool {
    person.types("stty size; echo si''zed\r").await;
    person.sees("sized").await;
    person.screen.lock().unwrap().contains("20 77")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_before_anything_starts() {
    let scene = open(false).await;
    let env = &["-s", "web", "--", "env"][..];
    refused(&exec(&scene, env).await, "it was started without ECS Exec");
    refused(&exec(&scene, &["-s", "web"]).await, "a shell needs a terminal");
    refused(&exec(&scene, &["-t", "0000", "--", "env"]).await, "task `0000`: there is none");
    assert_eq!(sessions(&scene), 0);

    let before = scene.tasks("RUNNING").await[0]["taskArn"].clone();
    let enabled =
        json!({ "cluster": "shop", "service": "web", "enableExecuteCommand": true, "forceNewDeployment": true });
    scene.call("ecs", "UpdateService", enabled).await;
    eventually("a task with the agent", || async {
        let tasks = scene.tasks("RUNNING").await;
        (tasks.len() == 1 && tasks[0]["taskArn"] != before && tasks[0]["lastStatus"] == "RUNNING").then_some(())
    })
    .await;
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let role = json!({ "RoleName": "shop-task", "AssumeRolePolicyDocument": trust.to_string() });
    scene.call("iam", "CreateRole", role).await;
    let denied = exec(&scene, env).await;
    refused(&denied, "it may not ssmmessages:CreateControlChannel, ssmmessages:CreateDataChannel");
    assert_eq!(sessions(&scene), 0, "nothing was started");

    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Resource": "*", "Action": fargate_deploy_core::exec::TASK_ROLE_ACTIONS}]});
    let policy = json!({ "RoleName": "shop-task", "PolicyName": "exec", "PolicyDocument": policy.to_string() });
    scene.call("iam", "PutRolePolicy", policy).await;
    let output = exec(&scene, &["-s", "web", "--", "sh", "-c", "echo $TERM"]).await;
    ended(&output, 0, "xterm-256color\n");

    let none = json!({ "cluster": "shop", "service": "web", "desiredCount": 0 });
    scene.call("ecs", "UpdateService", none).await;
    eventually("no task runs", || async { scene.tasks("RUNNING").await.is_empty().then_some(()) }).await;
    refused(&exec(&scene, env).await, "none of its tasks runs");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_is_a_task_of_its_own_that_goes_with_its_session() {
    let scene = open(false).await;
    scene.stage.insert_task_role(TASK_ROLE).unwrap();
    let serving = scene.tasks("RUNNING").await[0]["taskArn"].clone();
    let console = |arguments: &[&str]| {
        let mut console = scrubbed(BINARY);
        console.args(["run", "-i"]).args(arguments).current_dir(scene.app.path());
        console.envs(scene.stage.aws_env()).envs(scene.stage.root_env()).env("HOME", scene.app.path());
        Command::from(console)
    };
    let is_gone = || async {
        let left = scene.tasks("RUNNING").await;
        (left.len() == 1 && left[0]["taskArn"] == serving).then_some(())
    };
    let words = ["-s", "web", "--env", "BATCH=5", "--", "sh", "-c", "echo batch $BATCH; exit 7"];
    let output = console(&words).stdin(Stdio::null()).output().await.unwrap();
    ended(&output, 7, "batch 5\n");
    eventually("the console's task stops", is_gone).await;
    let stopped = scene.tasks("STOPPED").await;
    let task = stopped.iter().find(|task| task["enableExecuteCommand"] == true).unwrap();
    assert!(task["startedBy"].as_str().unwrap().starts_with("fargate-deploy/run/"), "{task}");
    let command = task["overrides"]["containerOverrides"][0]["command"][2].as_str().unwrap();
    assert!(command.contains("sleep 3600"), "bounded from within: {command}");

    // It is told to end while something runs in it: the task goes all the same.
    let mut child = console(&["-s", "web", "--", "sh", "-c", "echo begun; sleep 300"]);
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut begun = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).await.unwrap();
    let id = child.id().unwrap().to_string();
    assert!(scrubbed("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    eventually("the console's task stops", is_gone).await;
    scene.close().await;
}
