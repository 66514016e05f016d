//! The one comment that a pull request gets for each config and environment: how it is marked, which one is ours, what to do with it.
//!
//! The comment is evidence, not authority: whoever may write to the repository may edit it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A comment on a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    pub id: u64,
    /// What GraphQL calls it.
    pub node: String,
    /// `github-actions[bot]`, as REST names authors; empty where the account is gone.
    pub author: String,
    pub body: String,
    /// Folded away by a person. `None` where GitHub did not say.
    pub is_minimized: Option<bool>,
}

/// Who our token is, and which of the comments it was asked about are minimized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewer {
    /// With or without the `[bot]` of an app.
    pub login: String,
    /// By [`Comment::node`].
    pub minimized: Vec<String>,
}

impl Viewer {
    /// The author of what a job's own token writes.
    pub const OF_A_JOB: &str = "github-actions[bot]";

    /// GraphQL names an app without the `[bot]` that REST gives it.
    fn wrote(&self, comment: &Comment) -> bool {
        let author = comment.author.to_ascii_lowercase();
        let login = self.login.to_ascii_lowercase();
        !login.is_empty() && (author == login || author.strip_suffix("[bot]").is_some_and(|name| name == login))
    }
}

/// What a comment is about: the same on every run of one config for one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The config's file, from the root of the repository; the services' names where there is no file.
    pub config: String,
    /// `default` for a config without environments; empty where a config could not be read far enough to know.
    pub environment: String,
    /// Empty where it is not known.
    pub cluster: String,
    /// What tells several plans of the same config apart: the flag `--label`.
    pub label: String,
}

impl Key {
    /// Of a config that was read.
    pub fn new(config: &str, environment: Option<&str>, cluster: &str, label: Option<&str>) -> Self {
        Self {
            config: config.to_owned(),
            environment: environment.unwrap_or("default").to_owned(),
            cluster: cluster.to_owned(),
            label: label.unwrap_or_default().to_owned(),
        }
    }

    /// What is not known of one of them is no difference.
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        let agree = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
        self.config == other.config
            && self.label == other.label
            && agree(&self.environment, &other.environment)
            && agree(&self.cluster, &other.cluster)
    }
}

/// The first line of our comments, which GitHub does not show:
/// `<!-- fargate-deploy:plan v=2 key=CONFIG/ENVIRONMENT/LABEL cluster=CLUSTER head=SHA digest=SHA256 -->`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub key: Key,
    /// The commit that the comment speaks of.
    pub head: String,
    /// Of the plan that it shows; empty where it shows none.
    pub digest: String,
}

const OPENS: &str = "<!-- fargate-deploy:plan v=2 ";
const CLOSES: &str = " -->";

impl Marker {
    /// The line, without its line break.
    pub fn line(&self) -> String {
        let Key { config, environment, cluster, label } = &self.key;
        format!(
            "{OPENS}key={}/{}/{} cluster={} head={} digest={}{CLOSES}",
            escaped(config),
            escaped(environment),
            escaped(label),
            escaped(cluster),
            escaped(&self.head),
            escaped(&self.digest)
        )
    }

    /// The marker of a comment: its first line, if it is one. Members that are not known are passed over.
    pub fn of(body: &str) -> Option<Self> {
        let members = body.lines().next()?.trim_end().strip_prefix(OPENS)?.strip_suffix(CLOSES)?;
        let raw = |name: &str| members.split(' ').find_map(|member| member.strip_prefix(name)?.strip_prefix('='));
        let member = |name: &str| raw(name).and_then(unescaped);
        let mut key = raw("key")?.split('/').map(unescaped);
        let mut part = || key.next().flatten();
        let (config, environment, label) = (part()?, part()?, part()?);
        if key.next().is_some() {
            return None;
        }
        let key = Key { config, environment, label, cluster: member("cluster")? };
        Some(Self { key, head: member("head")?, digest: member("digest")? })
    }

    /// A comment that begins with this marker.
    pub fn body(&self, text: &str) -> String {
        format!("{}\n{text}", self.line())
    }
}

/// What to do so that the pull request has this comment once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Create,
    Update(u64),
    /// It is there, word for word.
    Nothing(u64),
}

/// Comments that carry our marker with this key, whoever wrote them.
pub fn marked<'a>(comments: &'a [Comment], key: &'a Key) -> impl Iterator<Item = &'a Comment> {
    comments
        .iter()
        .filter(move |comment| Marker::of(&comment.body).is_some_and(|marker| marker.key.is_about_the_same(key)))
}

/// Our comments about this key, oldest first: those that we wrote, that carry the marker and that nobody folded away.
/// Somebody else's copy of the marker makes no comment ours. More than one is there after two runs made theirs at once.
pub fn ours<'a>(comments: &'a [Comment], key: &'a Key, viewer: &Viewer) -> Vec<&'a Comment> {
    let is_shown =
        |comment: &Comment| !comment.is_minimized.unwrap_or_else(|| viewer.minimized.contains(&comment.node));
    let mut ours: Vec<_> = marked(comments, key).filter(|comment| viewer.wrote(comment) && is_shown(comment)).collect();
    ours.sort_by_key(|comment| comment.id);
    ours
}

/// What a second comment says once the plan is kept in the first. It carries no marker: it is not looked at again.
pub fn retired(kept: u64) -> String {
    format!("<!-- fargate-deploy:retired -->\nWhat stood here is kept in [another comment](#issuecomment-{kept}).")
}

/// What to do with the comment that is there, so that it says `body`.
pub fn step(ours: Option<&Comment>, body: &str) -> Step {
    match ours {
        None => Step::Create,
        Some(comment) if says(comment, body) => Step::Nothing(comment.id),
        Some(comment) => Step::Update(comment.id),
    }
}

/// GitHub keeps line breaks as they were typed, and gives the text back without the white space at its end.
pub fn says(comment: &Comment, body: &str) -> bool {
    let as_kept = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    as_kept(&comment.body) == as_kept(body)
}

/// What can end neither a member, nor a part of the key, nor an HTML comment.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

/// Percent-encoded; two hyphens in a row, which would end the comment, are not left either.
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string().replace("--", "-%2D")
}

/// `None` for what [`escaped`] does not make.
fn unescaped(text: &str) -> Option<String> {
    let plain = percent_decode_str(text).decode_utf8().ok()?.into_owned();
    (escaped(&plain) == text).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(environment: &str, cluster: &str) -> Marker {
        let key = Key::new("fargate-deploy.yml", Some(environment), cluster, None);
        Marker { key, head: "4f2c1d6".to_owned(), digest: "sha256:ab12".to_owned() }
    }

    fn comment(id: u64, author: &str, body: &str) -> Comment {
        Comment { id, node: format!("IC_{id}"), author: author.to_owned(), body: body.to_owned(), is_minimized: None }
    }

    fn ids(comments: Vec<&Comment>) -> Vec<u64> {
        comments.into_iter().map(|comment| comment.id).collect()
    }

    fn viewer(login: &str) -> Viewer {
        Viewer { login: login.to_owned(), minimized: vec![] }
    }

    #[test]
    fn the_marker_is_one_line_that_says_what_the_comment_is_about() {
        assert_eq!(
            marker("production", "shop").line(),
            "<!-- fargate-deploy:plan v=2 key=fargate-deploy.yml/production/ cluster=shop head=4f2c1d6 digest=sha256:ab12 -->"
        );
    }

    #[test]
    fn hostile_values_come_back_as_they_were_and_close_nothing() {
        for text in ["a b", "-->", "--!>", "a/b=c", "<!--", "%", "%2F", "ü🚀", "a\nb", "---", "", "key=x/y -->"] {
            let mut given = marker(text, text);
            given.key.config = text.to_owned();
            given.key.label = text.to_owned();
            given.head = text.to_owned();
            given.digest = text.to_owned();
            let line = given.line();
            assert_eq!(Marker::of(&format!("{line}\nbody -->")), Some(given), "{line}");
            let inside = &line[4..line.len() - 3];
            assert!(!inside.contains(['<', '>', '\n']) && !inside.contains("--"), "{line}");
        }
    }

    #[test]
    fn what_is_no_marker_of_ours_is_none() {
        for body in [
            "",
            "hello",
            "text first\n<!-- fargate-deploy:plan v=2 key=a/b/ cluster=x head=c digest=d -->",
            "<!-- fargate-deploy:plan v=1 key=a/b head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=ab cluster=x head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=a/b cluster=x head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=a/b/c/d cluster=x head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=a/b/ cluster=x head=c -->",
            "<!-- fargate-deploy:plan v=2 key=a/b/ head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=a/%zz/ cluster=x head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=a/%F/ cluster=x head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=a/b/ cluster=x head=c digest=d",
        ] {
            assert_eq!(Marker::of(body), None, "{body}");
        }
        let newer = "<!-- fargate-deploy:plan v=2 key=a/b/ cluster=x head=c digest=d more=x -->\r\nbody";
        assert_eq!(Marker::of(newer).map(|marker| marker.digest), Some("d".to_owned()));
    }

    #[test]
    fn a_comment_is_ours_by_author_and_marker_and_only_while_it_is_shown() {
        let body = marker("production", "shop").body("text");
        let key = Key::new("fargate-deploy.yml", Some("production"), "shop", None);
        let comments = [
            comment(1, "mallory", &body),
            comment(2, "github-actions[bot]", &marker("staging", "shop").body("text")),
            comment(3, "github-actions[bot]", "no marker"),
            comment(4, "github-actions[bot]", &body),
            comment(5, "github-actions[bot]", &body),
        ];
        for login in ["github-actions", "github-actions[bot]", "GitHub-Actions"] {
            assert_eq!(ids(ours(&comments, &key, &viewer(login))), [4, 5], "{login}");
        }
        assert_eq!(ids(ours(&comments, &key, &viewer("mallory"))), [1]);
        assert_eq!(ids(ours(&comments, &key, &viewer(""))), [0_u64; 0]);
        let folded = Viewer { login: "github-actions".to_owned(), minimized: vec!["IC_4".to_owned()] };
        assert_eq!(ids(ours(&comments, &key, &folded)), [5]);
    }

    #[test]
    fn an_equal_body_is_left_alone_however_its_lines_end() {
        let there = comment(7, "github-actions[bot]", "one\r\ntwo");
        assert_eq!(step(Some(&there), "one\ntwo\n"), Step::Nothing(7));
        assert_eq!(step(Some(&there), "one\ntwo!"), Step::Update(7));
        assert_eq!(step(None, "one"), Step::Create);
    }

    #[test]
    fn a_config_without_environments_has_the_default_one() {
        assert_eq!(Key::new("a.yml", None, "shop", None).environment, "default");
    }

    #[test]
    fn config_label_environment_and_cluster_each_make_another_comment_and_what_is_unknown_makes_none() {
        let key = |config, environment, cluster, label| Key::new(config, Some(environment), cluster, Some(label));
        let one = key("a.yml", "production", "shop", "");
        assert!(one.is_about_the_same(&one));
        for other in [
            key("b.yml", "production", "shop", ""),
            key("a.yml", "staging", "shop", ""),
            key("a.yml", "production", "other", ""),
            key("a.yml", "production", "shop", "canary"),
        ] {
            assert!(!one.is_about_the_same(&other) && !other.is_about_the_same(&one), "{other:?}");
        }
        assert!(one.is_about_the_same(&key("a.yml", "", "", "")));
        assert!(!one.is_about_the_same(&key("b.yml", "", "", "")));
    }
}
