//! `logs -f` of four tasks that say 10,000 lines a second, across a rollout: every line once, in bounded memory.

use crate::program::{BINARY, scrubbed};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Lines in a millisecond, from four tasks in turn.
const EACH_MILLISECOND: i64 = 10;
const LASTS: i64 = 14_000;
const LINES: i64 = LASTS * EACH_MILLISECOND;
/// What CloudWatch gives in a page.
const PAGE: usize = 10_000;
/// The program's own file is no larger than this; what it maps of it is memory too. A debug build's file is four times that.
const PROGRAM: u64 = 18 * 1024;
const MOST: u64 = 64 * 1024;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Four tasks, and from half of the time on four others, as AWS shows them.
struct Shop {
    /// Milliseconds since the epoch.
    begins: i64,
}

impl Shop {
    fn replaced(&self) -> i64 {
        self.begins + LASTS / 2
    }

    /// The task that says line `number`: the ones of the new release are 4 to 7.
    fn says(number: i64) -> i64 {
        number % 4 + if number < LINES / 2 { 0 } else { 4 }
    }

    fn arn(task: i64) -> String {
        format!("arn:aws:ecs:eu-central-1:111122223333:task/shop/{task:032x}")
    }

    fn answer(&self, operation: &str, asked: &Value) -> Value {
        match operation {
            "ListTasks" => {
                let is_new = now() >= self.replaced();
                let tasks = match (asked["desiredStatus"] == "STOPPED", is_new) {
                    (true, false) => 0..0,
                    (false, true) => 4..8,
                    _ => 0..4,
                };
                json!({"taskArns": tasks.map(Self::arn).collect::<Vec<_>>()})
            }
            "DescribeTasks" => {
                let task = |arn: &Value| {
                    let is_old = (0..4).any(|task| *arn == Self::arn(task));
                    let mut task = json!({"taskArn": arn, "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "containers": [],
                        "taskDefinitionArn": "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:1"});
                    if is_old && now() >= self.replaced() {
                        task["lastStatus"] = "STOPPED".into();
                        task["desiredStatus"] = "STOPPED".into();
                        task["stoppedAt"] = json!(self.replaced() / 1000);
                    }
                    task
                };
                json!({"tasks": asked["tasks"].as_array().unwrap().iter().map(task).collect::<Vec<_>>(), "failures": []})
            }
            "DescribeTaskDefinition" => json!({"tags": [], "taskDefinition": {
                "taskDefinitionArn": "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:1",
                "family": "web", "revision": 1, "status": "ACTIVE",
                "containerDefinitions": [{"name": "app", "image": "web", "essential": true, "logConfiguration": {
                    "logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web",
                        "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "web"}}}]}}),
            "FilterLogEvents" => self.page(asked),
            _ => json!({"events": []}),
        }
    }

    /// The lines of the streams that are asked for, as far as they have been said.
    fn page(&self, asked: &Value) -> Value {
        let said = ((now() - self.begins) * EACH_MILLISECOND).clamp(0, LINES);
        let from = asked["startTime"].as_i64().unwrap_or_default();
        let begins = ((from - self.begins) * EACH_MILLISECOND).max(0);
        let mut next = asked["nextToken"].as_str().map_or(begins, |token| token.parse().unwrap());
        let streams: Vec<String> = (0..8).map(|task| format!("web/app/{task:032x}")).collect();
        let is_wanted: Vec<bool> = streams
            .iter()
            .map(|stream| asked["logStreamNames"].as_array().unwrap().iter().any(|s| s == stream))
            .collect();
        let mut events = vec![];
        while next < said && events.len() < PAGE {
            let task = usize::try_from(Self::says(next)).unwrap();
            if is_wanted[task] {
                let timestamp = self.begins + next / EACH_MILLISECOND;
                events.push(json!({"eventId": format!("{next:056}"), "logStreamName": streams[task], "timestamp": timestamp,
                    "ingestionTime": timestamp + 900,
                    "message": format!("line {next} GET /orders/4711 200 12ms agent=curl/8.5.0 trace=0af7651916cd43dd8448eb211c80319c")}));
            }
            next += 1;
        }
        match next < said {
            true => json!({"events": events, "nextToken": next.to_string()}),
            false => json!({"events": events}),
        }
    }

    /// Answers the requests of one connection, in AWS's JSON protocol.
    async fn serve(&self, connection: TcpStream) -> Option<()> {
        let mut connection = BufReader::new(connection);
        loop {
            let (mut operation, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if connection.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
                let line = line.trim_end();
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                match name.to_ascii_lowercase().as_str() {
                    "x-amz-target" => operation = value.rsplit('.').next()?.trim().to_owned(),
                    "content-length" => length = value.trim().parse().ok()?,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            connection.read_exact(&mut body).await.ok()?;
            let answer = self.answer(&operation, &serde_json::from_slice(&body).ok()?).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            connection.write_all(head.as_bytes()).await.ok()?;
            connection.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}

/// A line of what the kernel says of a process, in KiB.
fn memory(process: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn printed(file: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(file).unwrap();
    let number = |line: &str| line.strip_prefix("line ")?.split(' ').next()?.parse().ok();
    text.lines().map(|line| number(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_a_second_across_a_rollout_are_each_told_once_in_less_than_64_megabytes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shop = Arc::new(Shop { begins: now() + 3_000 });
    let serving = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let shop = Arc::clone(&shop);
                tokio::spawn(async move { shop.serve(connection).await });
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut command = scrubbed(BINARY);
    command.args([
        "logs",
        "-f",
        "-n",
        "0",
        "--no-prefix",
        "--cluster",
        "shop",
        "-s",
        "web",
        "--region",
        "eu-central-1",
    ]);
    command
        .env("AWS_ENDPOINT_URL", &url)
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    command.current_dir(folder.path()).env("HOME", folder.path()).stdin(Stdio::null());
    command.stdout(std::fs::File::create(&out).unwrap());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let process = child.id().unwrap();
    let mut most = 0;
    let reading = async {
        // The last of them is there, and nothing comes twice in what is read again after it.
        let mut is_read_again = 0;
        while is_read_again < 60 {
            most = most.max(memory(process, "RssAnon"));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let is_over = now() > shop.begins + LASTS;
            let length = std::fs::metadata(&out).unwrap().len();
            is_read_again += u32::from(is_over && length > 0 && printed(&out).len() >= usize::try_from(LINES).unwrap());
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(180), reading).await;
    let whole = memory(process, "VmHWM");
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    serving.abort();
    let mut lines = printed(&out);
    let count = lines.len();
    assert!(ended.is_ok(), "only {count} of {LINES} lines were told");
    lines.sort_unstable();
    assert!(lines == (0..LINES).collect::<Vec<_>>(), "{count} of {LINES} lines: some are lost, or told twice");
    assert!(most + PROGRAM < MOST, "{most} KiB beside its file; {whole} KiB with that of a debug build");
}
