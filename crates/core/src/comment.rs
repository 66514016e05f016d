//! The one comment that a pull request gets for each environment: how it is marked, which one is ours, what to do with it.
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

/// What a comment is about: the same on every run of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `default` for a config without environments.
    pub environment: String,
    pub cluster: String,
}

impl Key {
    pub fn new(environment: Option<&str>, cluster: &str) -> Self {
        Self { environment: environment.unwrap_or("default").to_owned(), cluster: cluster.to_owned() }
    }
}

/// The first line of our comments, which GitHub does not show:
/// `<!-- fargate-deploy:plan v=1 key=production/shop head=SHA digest=SHA256 -->`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub key: Key,
    /// The commit that the comment speaks of.
    pub head: String,
    /// Of the plan that it shows.
    pub digest: String,
}

const OPENS: &str = "<!-- fargate-deploy:plan v=1 ";
const CLOSES: &str = " -->";

impl Marker {
    /// The line, without its line break.
    pub fn line(&self) -> String {
        let Key { environment, cluster } = &self.key;
        format!(
            "{OPENS}key={}/{} head={} digest={}{CLOSES}",
            escaped(environment),
            escaped(cluster),
            escaped(&self.head),
            escaped(&self.digest)
        )
    }

    /// The marker of a comment: its first line, if it is one. Members that are not known are passed over.
    pub fn of(body: &str) -> Option<Self> {
        let members = body.lines().next()?.trim_end().strip_prefix(OPENS)?.strip_suffix(CLOSES)?;
        let member = |name: &str| {
            members.split(' ').find_map(|member| member.strip_prefix(name)?.strip_prefix('=')).and_then(unescaped)
        };
        let key = members.split(' ').find_map(|member| member.strip_prefix("key="))?;
        let (environment, cluster) = key.split_once('/')?;
        let key = Key { environment: unescaped(environment)?, cluster: unescaped(cluster)? };
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
    comments.iter().filter(move |comment| Marker::of(&comment.body).is_some_and(|marker| marker.key == *key))
}

/// Our comment about this key: the oldest that we wrote, that carries the marker and that nobody folded away. Somebody
/// else's copy of the marker makes no comment ours.
pub fn ours<'a>(comments: &'a [Comment], key: &'a Key, viewer: &Viewer) -> Option<&'a Comment> {
    let is_shown =
        |comment: &Comment| !comment.is_minimized.unwrap_or_else(|| viewer.minimized.contains(&comment.node));
    marked(comments, key).filter(|comment| viewer.wrote(comment) && is_shown(comment)).min_by_key(|comment| comment.id)
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
        let key = Key { environment: environment.to_owned(), cluster: cluster.to_owned() };
        Marker { key, head: "4f2c1d6".to_owned(), digest: "sha256:ab12".to_owned() }
    }

    fn comment(id: u64, author: &str, body: &str) -> Comment {
        Comment { id, node: format!("IC_{id}"), author: author.to_owned(), body: body.to_owned(), is_minimized: None }
    }

    fn viewer(login: &str) -> Viewer {
        Viewer { login: login.to_owned(), minimized: vec![] }
    }

    #[test]
    fn the_marker_is_one_line_that_says_what_the_comment_is_about() {
        assert_eq!(
            marker("production", "shop").line(),
            "<!-- fargate-deploy:plan v=1 key=production/shop head=4f2c1d6 digest=sha256:ab12 -->"
        );
    }

    #[test]
    fn hostile_values_come_back_as_they_were_and_close_nothing() {
        for text in ["a b", "-->", "--!>", "a/b=c", "<!--", "%", "%2F", "ü🚀", "a\nb", "---", "", "key=x/y -->"] {
            let mut given = marker(text, text);
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
            "text first\n<!-- fargate-deploy:plan v=1 key=a/b head=c digest=d -->",
            "<!-- fargate-deploy:plan v=2 key=a/b head=c digest=d -->",
            "<!-- fargate-deploy:plan v=1 key=ab head=c digest=d -->",
            "<!-- fargate-deploy:plan v=1 key=a/b head=c -->",
            "<!-- fargate-deploy:plan v=1 key=a/%zz head=c digest=d -->",
            "<!-- fargate-deploy:plan v=1 key=a/%F head=c digest=d -->",
            "<!-- fargate-deploy:plan v=1 key=a/b head=c digest=d",
        ] {
            assert_eq!(Marker::of(body), None, "{body}");
        }
        let newer = "<!-- fargate-deploy:plan v=1 key=a/b head=c digest=d more=x -->\r\nbody";
        assert_eq!(Marker::of(newer).map(|marker| marker.digest), Some("d".to_owned()));
    }

    #[test]
    fn a_comment_is_ours_by_author_and_marker_and_only_while_it_is_shown() {
        let body = marker("production", "shop").body("text");
        let key = Key::new(Some("production"), "shop");
        let comments = [
            comment(1, "mallory", &body),
            comment(2, "github-actions[bot]", &marker("staging", "shop").body("text")),
            comment(3, "github-actions[bot]", "no marker"),
            comment(4, "github-actions[bot]", &body),
            comment(5, "github-actions[bot]", &body),
        ];
        for login in ["github-actions", "github-actions[bot]", "GitHub-Actions"] {
            assert_eq!(ours(&comments, &key, &viewer(login)).map(|c| c.id), Some(4), "{login}");
        }
        assert_eq!(ours(&comments, &key, &viewer("mallory")).map(|c| c.id), Some(1));
        assert_eq!(ours(&comments, &key, &viewer("")), None);
        let folded = Viewer { login: "github-actions".to_owned(), minimized: vec!["IC_4".to_owned()] };
        assert_eq!(ours(&comments, &key, &folded).map(|c| c.id), Some(5));
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
        assert_eq!(Key::new(None, "shop"), Key { environment: "default".to_owned(), cluster: "shop".to_owned() });
    }
}
