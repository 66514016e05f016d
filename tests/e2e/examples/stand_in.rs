//! The runtimes of the examples, played by busybox and psql: one root file system for all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// One build context of an example, and what its application would do.
#[derive(Clone, Copy, Default)]
pub struct StandIn {
    /// From the root of the example.
    pub context: &'static str,
    /// What is answered at which path; see `runtime/respond`.
    pub routes: &'static str,
    /// What a worker does with its next job.
    pub work: &'static str,
    /// The data migration.
    pub backfill: &'static str,
    /// Where migrations are not SQL: what they come to. Name and text.
    pub migrations: &'static [(&'static str, &'static str)],
}

/// Not part of an image: either the example's `.dockerignore` names it, or a real build makes it into something else.
const LEFT_OUT: [&str; 8] =
    [".dockerignore", ".gitignore", ".stand-in", "Dockerfile", "README.md", "fargate-deploy.yml", "infra", "workflows"];

/// Makes every context one that can be built without a registry, and every task definition one for this Engine.
pub fn furnish(example: &Path, images: &[StandIn]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = tempfile::tempdir().unwrap();
    run(Command::new(root.join("scripts/stand-in-context")).arg(base.path()));
    let base = base.path().join("stand-in");
    // The users of the images that are played.
    let users = base.join("etc/passwd");
    let known = std::fs::read_to_string(&users).unwrap();
    std::fs::write(&users, known + "node:x:1000:1000:node:/:/bin/sh\n").unwrap();
    std::fs::create_dir_all(base.join("usr/local/bin")).unwrap();
    run(Command::new("cp").arg("-R").arg(root.join("tests/e2e/examples/runtime/.")).arg(base.join("usr/local/bin")));
    std::fs::create_dir_all(base.join("stand-in")).unwrap();
    for image in images {
        let context = example.join(image.context);
        let own = context.join(".stand-in");
        run(Command::new("cp").arg("-R").arg(&base).arg(&own));
        for (name, text) in [("routes", image.routes), ("work.sql", image.work), ("backfill.sql", image.backfill)] {
            std::fs::write(own.join("stand-in").join(name), text).unwrap();
        }
        for (name, text) in image.migrations {
            std::fs::create_dir_all(context.join("migrations")).unwrap();
            std::fs::write(context.join("migrations").join(name), text).unwrap();
        }
        let dockerfile = std::fs::read_to_string(context.join("Dockerfile")).unwrap();
        std::fs::write(context.join("Dockerfile"), played(&dockerfile, &entries(&context))).unwrap();
    }
    let architecture = if engine() == "arm64" { "ARM64" } else { "X86_64" };
    let definitions = format!("find {} -name '*.json' -path '*/infra/*'", example.display());
    let replace = format!("s/\"cpuArchitecture\": \"[A-Z0-9_]*\"/\"cpuArchitecture\": \"{architecture}\"/");
    run(Command::new("sh").args(["-c", &format!("{definitions} -exec sed -i '{replace}' {{}} +")]));
}

/// The Engine's processor, as images name it.
pub fn engine() -> String {
    crate::scene::docker(&["version", "--format", "{{.Server.Arch}}"])
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn entries(context: &Path) -> Vec<String> {
    let all = std::fs::read_dir(context).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<_> = all.filter(|name| !LEFT_OUT.contains(&name.as_str())).collect();
    all.sort();
    all
}

/// The example's own Dockerfile with another base and without a build: every stage that has a command keeps it, its environment,
/// folder, user and ports.
fn played(dockerfile: &str, entries: &[String]) -> String {
    let mut stages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut order = vec![];
    for line in dockerfile.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["FROM", base, rest @ ..] = words.as_slice() {
            let name = rest.get(1).map_or_else(|| "last".to_owned(), |name| (*name).to_owned());
            stages.insert(name.clone(), stages.get(*base).cloned().unwrap_or_default());
            order.push(name);
        } else if matches!(words.first(), Some(&("ENV" | "WORKDIR" | "USER" | "EXPOSE" | "CMD" | "ENTRYPOINT"))) {
            stages.get_mut(order.last().unwrap()).unwrap().push(line);
        }
    }
    let copies: String = entries.iter().map(|name| format!("COPY {name} /app/{name}\n")).collect();
    let runs = |name: &&String| stages[*name].iter().any(|line| line.starts_with("CMD"));
    let stage = |name: &String| {
        let kept = stages[name].join("\n");
        format!("FROM scratch AS {name}\nCOPY .stand-in/ /\n{copies}WORKDIR /app\n{kept}\n")
    };
    order.iter().filter(runs).map(stage).collect()
}
