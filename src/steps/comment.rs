//! The one comment of an environment on a pull request: found again, edited in place, left alone when it says it all.

use crate::ports::{Call, CallErrorKind, GitHub};
use fargate_deploy_core::comment::{Comment, Key, Marker, Step, marked, ours, says, step};

/// What became of the comment, with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    Created(u64),
    Updated(u64),
    /// It said the same already: nothing was written.
    Unchanged(u64),
}

/// Our comment about `key` as it stands, for whoever wants to compare what was reviewed ([`Marker::of`]).
///
/// # Errors
/// `Denied` without `pull-requests: read`, and whatever else GitHub answers.
pub async fn standing(github: &dyn GitHub, pull_request: u64, key: &Key) -> Call<Option<Comment>> {
    let comments = github.comments(pull_request).await?;
    let candidates: Vec<_> = marked(&comments, key).collect();
    if candidates.is_empty() {
        return Ok(None);
    }
    let viewer = github.viewer(&candidates).await?;
    Ok(ours(&comments, key, &viewer).cloned())
}

/// Makes the pull request say `text` under `marker`, in one comment: ours is edited, somebody else's is left alone, and
/// an equal one costs no write. `text` must fit into a comment ([`fargate_deploy_core::markdown::fit`]).
///
/// # Errors
/// `Denied` without `pull-requests: write`, and whatever else GitHub answers.
pub async fn stick(github: &dyn GitHub, pull_request: u64, marker: &Marker, text: &str) -> Call<Stuck> {
    let body = marker.body(text);
    let there = standing(github, pull_request, &marker.key).await?;
    match step(there.as_ref(), &body) {
        Step::Nothing(id) => Ok(Stuck::Unchanged(id)),
        Step::Update(id) => github.update_comment(id, &body).await.map(|()| Stuck::Updated(id)),
        Step::Create => create(github, pull_request, marker, &body).await,
    }
}

/// A lost answer does not tell whether the comment is there: that is looked up before it is written again, once.
async fn create(github: &dyn GitHub, pull_request: u64, marker: &Marker, body: &str) -> Call<Stuck> {
    let lost = match github.create_comment(pull_request, body).await {
        Err(error) if error.kind == CallErrorKind::Unreachable => error,
        answer => return answer.map(|comment| Stuck::Created(comment.id)),
    };
    match standing(github, pull_request, &marker.key).await {
        Ok(Some(comment)) if says(&comment, body) => Ok(Stuck::Created(comment.id)),
        Ok(Some(comment)) => github.update_comment(comment.id, body).await.map(|()| Stuck::Updated(comment.id)),
        Ok(None) => github.create_comment(pull_request, body).await.map(|comment| Stuck::Created(comment.id)),
        Err(_) => Err(lost),
    }
}
