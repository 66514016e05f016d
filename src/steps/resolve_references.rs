//! Values that the config takes from AWS: read before anything else is, and all at once.

use crate::config::{Answers, Needs, Requester};
use crate::error::call_failed;
use crate::ports::{Aws, CallError, CallErrorKind};
use fargate_deploy_core::outcome::{Failure, Reason};
use futures_util::future::{FutureExt as _, try_join_all};
use std::collections::BTreeMap;

/// # Errors
/// `permission` and the like: nothing was touched. That there is no such stack or parameter is an answer.
pub async fn resolve_references(needs: &Needs, aws: Aws<'_>) -> Result<Answers, Failure> {
    let terraform = async {
        let Some((bucket, key, requester)) = &needs.terraform else { return Ok(None) };
        aws.outputs.object(bucket, key).await.map(Some).map_err(|e| of_bucket(bucket, refused(requester, &e), &e))
    };
    let stacks = each(&needs.stacks, |stack| aws.outputs.stack_outputs(stack));
    let parameters = each(&needs.parameters, |name| aws.parameters.parameter(name));
    let (terraform, stacks, parameters) =
        futures_util::try_join!(terraform.boxed_local(), stacks.boxed_local(), parameters.boxed_local())?;
    Ok(Answers { terraform, stacks, parameters })
}

async fn each<'a, T, F: Future<Output = Result<T, CallError>>>(
    wanted: &'a BTreeMap<String, Requester>,
    ask: impl Fn(&'a str) -> F,
) -> Result<BTreeMap<String, T>, Failure> {
    let ask = &ask;
    let answers = wanted.iter().map(async |(name, requester)| {
        let answer = ask(name).await.map_err(|e| refused(requester, &e))?;
        Ok::<_, Failure>((name.clone(), answer))
    });
    Ok(try_join_all(answers).await?.into_iter().collect())
}

fn refused(requester: &Requester, error: &CallError) -> Failure {
    let mut failure = call_failed(&format!("looking up `{}`", requester.written), error);
    failure.place.clone_from(&requester.place);
    failure
}

/// S3 says `AccessDenied` of an object that is not there, to those who may not list the bucket.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
fn of_bucket(bucket: &str, failure: Failure, error: &CallError) -> Failure {
    match error.kind {
        CallErrorKind::Denied => failure.with_next(format!(
            "allow `{}` on the object; without `s3:ListBucket` on `{bucket}` an object that is not there is denied too",
            error.action
        )),
        CallErrorKind::NotFound => Failure { reason: Reason::Config, ..failure },
        _ => failure,
    }
}
