//! The one comment of a config's environment on a pull request: found again, edited in place, left alone when it says it all.

use crate::ports::{Call, CallErrorKind, GitHub};
use fargate_deploy_core::comment::{Comment, Key, Marker, Step, marked, ours, retired, says, step};

/// What became of the comment, with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upserted {
    Created(u64),
    Updated(u64),
    /// It said the same already: nothing was written.
    Unchanged(u64),
}

impl Upserted {
    fn id(self) -> u64 {
        match self {
            Self::Created(id) | Self::Updated(id) | Self::Unchanged(id) => id,
        }
    }
}

/// Our comments about `key` as they stand, oldest first, for whoever wants to compare what was reviewed ([`Marker::of`]).
/// The first one is kept up to date.
///
/// # Errors
/// `Denied` without `pull-requests: read`, and whatever else GitHub answers.
pub async fn find_existing(github: &dyn GitHub, pull_request: u64, key: &Key) -> Call<Vec<Comment>> {
    let comments = github.comments(pull_request).await?;
    let candidates: Vec<_> = marked(&comments, key).collect();
    if candidates.is_empty() {
        return Ok(vec![]);
    }
    let viewer = github.viewer(&candidates).await?;
    Ok(ours(&comments, key, &viewer).into_iter().cloned().collect())
}

/// Makes the pull request say `text` under `marker`, in one comment: ours is edited, somebody else's is left alone, an
/// equal one costs no write, one that was removed meanwhile is made again, and further ones of ours point to it. `text`
/// must fit into a comment ([`fargate_deploy_core::markdown::fit`]).
///
/// # Errors
/// `Denied` without `pull-requests: write`, `Conflict` where the conversation is locked, and whatever else GitHub answers.
pub async fn upsert(github: &dyn GitHub, pull_request: u64, marker: &Marker, text: &str) -> Call<Upserted> {
    let body = marker.body(text);
    let there = find_existing(github, pull_request, &marker.key).await?;
    let done = match step(there.first(), &body) {
        Step::Nothing(id) => Upserted::Unchanged(id),
        Step::Create => create(github, pull_request, marker, &body).await?,
        Step::Update(id) => match edit(github, id, &body).await? {
            true => Upserted::Updated(id),
            false => create(github, pull_request, marker, &body).await?,
        },
    };
    retire(github, &there, done.id()).await?;
    Ok(done)
}

/// Makes every comment but the one that is kept say where it is.
///
/// # Errors
/// Whatever GitHub answers.
pub async fn retire(github: &dyn GitHub, comments: &[Comment], kept: u64) -> Call<()> {
    for duplicate in comments.iter().filter(|comment| comment.id != kept) {
        edit(github, duplicate.id, &retired(kept)).await?;
    }
    Ok(())
}

/// Whether the comment was still there to be edited.
///
/// # Errors
/// `Denied` without `pull-requests: write`, and whatever else GitHub answers.
pub async fn edit(github: &dyn GitHub, id: u64, body: &str) -> Call<bool> {
    match github.update_comment(id, body).await {
        Err(error) if error.kind == CallErrorKind::NotFound => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// A lost answer does not tell whether the comment is there: that is looked up before it is written again, once.
async fn create(github: &dyn GitHub, pull_request: u64, marker: &Marker, body: &str) -> Call<Upserted> {
    let lost = match github.create_comment(pull_request, body).await {
        Err(error) if error.kind == CallErrorKind::Unreachable => error,
        answer => return answer.map(|comment| Upserted::Created(comment.id)),
    };
    let Ok(there) = find_existing(github, pull_request, &marker.key).await else { return Err(lost) };
    match there.first() {
        Some(comment) if says(comment, body) => Ok(Upserted::Created(comment.id)),
        Some(comment) => github.update_comment(comment.id, body).await.map(|()| Upserted::Updated(comment.id)),
        None => github.create_comment(pull_request, body).await.map(|comment| Upserted::Created(comment.id)),
    }
}
