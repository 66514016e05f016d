//! A Dockerfile where none is: what the platform's own build did for the language that a folder is written in, as little as
//! runs. It is there to be read and changed: a row of the table says so.

use crate::{File, Folder, normal, yaml};

/// What is written for a language.
struct Recipe {
    language: &'static str,
    /// The file that tells the language.
    from: &'static str,
    lines: Vec<String>,
}

/// A Dockerfile that was written, and what from.
pub(crate) struct Made {
    pub file: File,
    pub language: &'static str,
    pub from: String,
    /// `.dockerignore` beside it, where there is none: what must not get into an image.
    pub ignored: Option<File>,
}

/// What is not the application: its history, what is installed anew, and where secrets are kept.
const IGNORED: &str = ".git\n.github\nnode_modules\n.venv\n__pycache__\nvendor/bundle\ntmp\nlog\n.env\n.env.*\n*.pem\ninfra\nfargate-deploy.yml\n";

/// The Dockerfile for what is in the folder of `path`, or else in the folder around it; `None` where the language is not known.
pub(crate) fn made(folder: &dyn Folder, path: &str) -> Option<Made> {
    let own = path.rsplit_once('/').map_or(".", |(directory, _)| directory);
    let (directory, recipe) = [own, "."].into_iter().find_map(|at| Some((at, recipe(folder, at)?)))?;
    let ignore = normal(&format!("{directory}/.dockerignore"));
    let text = format!(
        "# For {}, as `{}` says. Written by `fargate-deploy init --dockerfile`.\n",
        recipe.language, recipe.from
    ) + &recipe.lines.join("\n")
        + "\n";
    Some(Made {
        file: File { path: path.to_owned(), text },
        language: recipe.language,
        from: normal(&format!("{directory}/{}", recipe.from)),
        ignored: folder.text(&ignore).is_none().then(|| File { path: ignore, text: IGNORED.to_owned() }),
    })
}

fn recipe(folder: &dyn Folder, directory: &str) -> Option<Recipe> {
    let read = |name: &str| folder.text(&normal(&format!("{directory}/{name}")));
    // A Rails or Django application has a `package.json` for its assets too.
    None.or_else(|| ruby(&read)).or_else(|| python(&read)).or_else(|| go(&read)).or_else(|| node(&read))
}

type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

fn node(read: Read<'_>) -> Option<Recipe> {
    let package = yaml::parse(&read("package.json")?).ok()?.root;
    let wanted = package.get("engines").and_then(|engines| engines.text_of("node")).unwrap_or_default();
    let major = numbers(wanted).first().copied().filter(|major| (18..100).contains(major)).unwrap_or(24);
    let has_script = |name: &str| package.get("scripts").is_some_and(|scripts| scripts.text_of(name).is_some());
    let (locks, install, run) = match () {
        () if read("pnpm-lock.yaml").is_some() => {
            ("pnpm-lock.yaml", "corepack enable && pnpm install --frozen-lockfile", "pnpm")
        }
        () if read("yarn.lock").is_some() => ("yarn.lock", "corepack enable && yarn install --immutable", "yarn"),
        () if read("package-lock.json").is_some() => ("package-lock.json", "npm ci", "npm"),
        () => ("", "npm install", "npm"),
    };
    let mut lines = vec![format!("FROM node:{major}-slim"), "WORKDIR /app".to_owned()];
    lines.push(format!("COPY {} ./", ["package.json", locks].join(" ").trim_end()));
    lines.push(format!("RUN {install}"));
    lines.push("COPY . .".to_owned());
    if has_script("build") {
        lines.push(format!("RUN {run} run build"));
    }
    lines.extend(["ENV NODE_ENV=production".to_owned(), "USER node".to_owned(), "EXPOSE 8080".to_owned()]);
    lines.push(match (has_script("start"), package.text_of("main")) {
        (false, Some(main)) => command(&["node", main]),
        (false, None) => command(&["node", "server.js"]),
        (true, _) => command(&[run, "start"]),
    });
    Some(Recipe { language: "Node.js", from: "package.json", lines })
}

fn python(read: Read<'_>) -> Option<Recipe> {
    let poetry = "pip install --no-cache-dir poetry && poetry config virtualenvs.create false && poetry install --only main --no-root";
    let (from, files, install) = [
        (
            "uv.lock",
            "pyproject.toml uv.lock",
            "pip install --no-cache-dir uv && uv sync --frozen --no-dev --no-install-project",
        ),
        ("poetry.lock", "pyproject.toml poetry.lock", poetry),
        (
            "Pipfile.lock",
            "Pipfile Pipfile.lock",
            "pip install --no-cache-dir pipenv && pipenv install --system --deploy",
        ),
        ("requirements.txt", "requirements.txt", "pip install --no-cache-dir -r requirements.txt"),
        ("pyproject.toml", "", "pip install --no-cache-dir ."),
    ]
    .into_iter()
    .find(|(from, ..)| read(from).is_some())?;
    let wanted = read(".python-version").or_else(|| read("runtime.txt")).unwrap_or_default();
    let version = match numbers(&wanted)[..] {
        [3, minor, ..] => format!("3.{minor}"),
        _ => "3.13".to_owned(),
    };
    let mut lines =
        vec![format!("FROM python:{version}-slim"), "ENV PYTHONUNBUFFERED=1".to_owned(), "WORKDIR /app".to_owned()];
    match files {
        "" => lines.extend(["COPY . .".to_owned(), format!("RUN {install}")]),
        files => lines.extend([format!("COPY {files} ./"), format!("RUN {install}"), "COPY . .".to_owned()]),
    }
    if from == "uv.lock" {
        lines.push("ENV PATH=/app/.venv/bin:$PATH".to_owned());
    }
    lines.push("RUN useradd --create-home app".to_owned());
    lines.extend(["USER app".to_owned(), "EXPOSE 8080".to_owned()]);
    lines.push(match read("manage.py") {
        Some(_) => command(&["python", "manage.py", "runserver", "0.0.0.0:8080"]),
        None => command(&["python", "main.py"]),
    });
    Some(Recipe { language: "Python", from, lines })
}

fn ruby(read: Read<'_>) -> Option<Recipe> {
    read("Gemfile")?;
    let version = match numbers(&read(".ruby-version").unwrap_or_default())[..] {
        [major @ 2..=9, minor, ..] => format!("{major}.{minor}"),
        _ => "3.4".to_owned(),
    };
    let lock = if read("Gemfile.lock").is_some() { " Gemfile.lock" } else { "" };
    let mut lines = vec![
        format!("FROM ruby:{version}-slim"),
        "RUN apt-get update && apt-get install --yes --no-install-recommends build-essential git libpq-dev libyaml-dev pkg-config \\".to_owned(),
        "    && rm -rf /var/lib/apt/lists/*".to_owned(),
        "ENV BUNDLE_WITHOUT=development:test RACK_ENV=production".to_owned(),
        "WORKDIR /app".to_owned(),
        format!("COPY Gemfile{lock} ./"),
        "RUN bundle install".to_owned(),
        "COPY . .".to_owned(),
    ];
    let is_rails = read("config/application.rb").is_some();
    if is_rails {
        lines.push("ENV RAILS_ENV=production RAILS_LOG_TO_STDOUT=1 RAILS_SERVE_STATIC_FILES=1".to_owned());
        lines.push("RUN SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile".to_owned());
    }
    lines.push("RUN useradd --create-home app && chown -R app /app".to_owned());
    lines.extend(["USER app".to_owned(), "EXPOSE 8080".to_owned()]);
    lines.push(match is_rails {
        true => command(&["bundle", "exec", "rails", "server", "-b", "0.0.0.0", "-p", "8080"]),
        false => command(&["bundle", "exec", "rackup", "-o", "0.0.0.0", "-p", "8080"]),
    });
    Some(Recipe { language: "Ruby", from: "Gemfile", lines })
}

fn go(read: Read<'_>) -> Option<Recipe> {
    let module = read("go.mod")?;
    let wanted = module.lines().find_map(|line| line.trim().strip_prefix("go ")).unwrap_or_default();
    let version = match numbers(wanted)[..] {
        [1, minor, ..] => format!("1.{minor}"),
        _ => "1.25".to_owned(),
    };
    let name = module.lines().find_map(|line| line.trim().strip_prefix("module ")).unwrap_or_default();
    let name = crate::app::key(name.trim().rsplit('/').find(|part| !is_major(part)).unwrap_or_default());
    let lock = if read("go.sum").is_some() { " go.sum" } else { "" };
    let lines = vec![
        format!("FROM golang:{version} AS build"),
        "WORKDIR /app".to_owned(),
        format!("COPY go.mod{lock} ./"),
        "RUN go mod download".to_owned(),
        "COPY . .".to_owned(),
        "RUN mkdir -p bin && CGO_ENABLED=0 go build -o bin/ ./...".to_owned(),
        String::new(),
        "FROM debian:stable-slim".to_owned(),
        "RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \\".to_owned(),
        "    && useradd --create-home app".to_owned(),
        "WORKDIR /app".to_owned(),
        "COPY --from=build /app ./".to_owned(),
        "ENV PATH=/app/bin:$PATH".to_owned(),
        "USER app".to_owned(),
        "EXPOSE 8080".to_owned(),
        command(&[&name]),
    ];
    Some(Recipe { language: "Go", from: "go.mod", lines })
}

/// `v2` at the end of a module's path is no part of its name.
fn is_major(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// `CMD` as a list of words.
fn command(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| serde_json::Value::from(*word).to_string()).collect();
    format!("CMD [{}]", words.join(", "))
}

/// The numbers of a version, as `>=20.1 <23` or `python-3.11.4` has them.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}
