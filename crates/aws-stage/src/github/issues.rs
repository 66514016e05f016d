//! Comments on pull requests, which are comments on issues, and the pull requests of a commit.
//! <https://docs.github.com/en/rest/issues/comments>

use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::{PullRequest, Request, State};

/// Of UTF-8. GitHub counts in bytes and speaks of a quarter as many characters.
const LARGEST_BODY: usize = 262_144;

/// A comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// Unique among all comments.
    pub id: u64,
    /// The issue or pull request.
    pub issue: u64,
    /// As REST names authors.
    pub author: String,
    /// Markdown.
    pub body: String,
    /// Folded away.
    pub is_minimized: bool,
    /// How often it was edited.
    pub edits: u32,
}

impl Comment {
    pub(super) fn new(id: u64, issue: u64, author: &str, body: &str) -> Self {
        Self { id, issue, author: author.to_owned(), body: body.to_owned(), is_minimized: false, edits: 0 }
    }

    /// Its id in GraphQL.
    pub(super) fn node(&self) -> String {
        format!("IC_{}", self.id)
    }

    fn json(&self) -> Value {
        let is_bot = self.author.ends_with("[bot]");
        // Of an account that was deleted nothing is left.
        let user = if self.author.is_empty() { Value::Null } else { reply::account(&self.author) };
        json!({
            "id": self.id, "node_id": self.node(), "body": self.body, "user": user,
            "url": format!("https://api.github.com/repos/o/r/issues/comments/{}", self.id),
            "html_url": format!("https://github.com/o/r/pull/{}#issuecomment-{}", self.issue, self.id),
            "created_at": "2026-11-20T09:00:00Z", "updated_at": "2026-11-20T09:00:00Z",
            "author_association": if is_bot { "NONE" } else { "CONTRIBUTOR" },
        })
    }
}

pub(super) fn list(state: &State, issue: u64, request: &Request) -> Reply {
    if !exists(state, issue) {
        return reply::not_found();
    }
    let of_issue: Vec<_> = state.comments.iter().filter(|c| c.issue == issue).map(Comment::json).collect();
    request.page(state, &of_issue)
}

pub(super) fn create(state: &mut State, issue: u64, author: &str, body: &Value) -> Reply {
    if !exists(state, issue) {
        return reply::not_found();
    }
    if state.locked.contains(&issue) {
        return reply::locked();
    }
    match text(body) {
        Ok(text) => {
            let comment = Comment::new(state.next_id(), issue, author, text);
            state.comments.push(comment.clone());
            Reply::new(201, comment.json())
        }
        Err(refusal) => refusal,
    }
}

pub(super) fn update(state: &mut State, id: u64, body: &Value) -> Reply {
    let Some(comment) = state.comments.iter_mut().find(|comment| comment.id == id) else { return reply::not_found() };
    match text(body) {
        Ok(text) => {
            text.clone_into(&mut comment.body);
            comment.edits += 1;
            Reply::ok(comment.json())
        }
        Err(refusal) => refusal,
    }
}

/// <https://docs.github.com/en/rest/commits/commits#list-pull-requests-associated-with-a-commit>
pub(super) fn pull_requests_of(state: &State, sha: &str, request: &Request) -> Reply {
    let is_of = |pull: &&PullRequest| pull.head == sha || pull.merged_as.as_deref() == Some(sha);
    let pulls = state.pulls.iter().filter(is_of).map(|pull| {
        let is_merged = pull.merged_as.is_some();
        json!({
            "number": pull.number,
            "state": if is_merged { "closed" } else { "open" },
            "merged_at": is_merged.then_some("2026-11-21T09:00:00Z"),
            "merge_commit_sha": pull.merged_as,
            "head": {"sha": pull.head, "ref": "feature"},
            "base": {"ref": "main"},
        })
    });
    request.page(state, &pulls.collect::<Vec<_>>())
}

fn exists(state: &State, issue: u64) -> bool {
    state.pulls.iter().any(|pull| pull.number == issue) || state.comments.iter().any(|c| c.issue == issue)
}

fn text(body: &Value) -> Result<&str, Reply> {
    match body["body"].as_str() {
        None | Some("") => Err(reply::invalid("IssueComment", "body", "body cannot be blank")),
        Some(text) if text.len() > LARGEST_BODY => {
            Err(reply::invalid("IssueComment", "body", "body is too long (maximum is 65536 characters)"))
        }
        Some(text) => Ok(text),
    }
}
