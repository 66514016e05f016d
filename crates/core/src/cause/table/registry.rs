//! A push that the registry refused.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors-docker.html>

use crate::cause::row::Row;
use crate::cause::row::Sign::Said;

pub(super) const ROWS: &[Row] = &[
    Row {
        code: "tag-immutable",
        title: "The tag is taken, and the repository's tags cannot be moved",
        proofs: &[
            &[Said("tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten")],
            &[Said("cannot be overwritten because the*immutable")],
            &[Said("ImageTagAlreadyExistsException")],
        ],
        cause: "the tag[ `{tag}`] is on another image already, and the tags of the repository[ `{repository}`] cannot be moved",
        next: "leave moving tags such as `latest` out of `tags`, or exclude them from the repository's immutability",
        likely: &[],
        more: "`IMMUTABLE_WITH_EXCLUSION` keeps all tags but those of a filter where they are.",
    },
    Row {
        code: "push-repository-missing",
        title: "There is no repository to push to",
        proofs: &[
            &[Said("repository with name '{repository}' does not exist in the registry with id '{registry-id}'")],
            &[Said("name unknown")],
            &[Said("RepositoryNotFoundException")],
        ],
        cause: "there is no repository[ `{repository}`][ in the registry of account {registry-id}] to push to",
        next: "create it, or set `create-repository: true`; see that account and Region are the ones that are meant",
        likely: &[],
        more: "ECR creates none by itself, unless a repository creation template says so.",
    },
    Row {
        code: "registry-login-expired",
        title: "The login to the registry has expired",
        proofs: &[&[Said("authorization token has expired")]],
        cause: "the login to the registry has expired",
        next: "run this again: each run logs in anew",
        likely: &[],
        more: "A login to ECR is valid for twelve hours.",
    },
    Row {
        code: "registry-login-missing",
        title: "There is no login for the registry",
        proofs: &[&[Said("no basic auth credentials")]],
        cause: "there is no login for the registry of the image",
        next: "correct the account and the Region in the repository's name; for a registry that is not ECR log in before: `docker login HOST`",
        likely: &[],
        more: "A login counts for one host: ECR of another account or Region is another host.",
    },
    Row {
        code: "registry-throttled",
        title: "The registry limits the rate of calls",
        proofs: &[&[Said("toomanyrequests")], &[Said("429 Too Many Requests")], &[Said("Rate exceeded")]],
        cause: "the registry limits the rate of calls, and went on doing so after every retry",
        next: "run this again later, with fewer builds at once",
        likely: &[],
        more: "ECR's limits are per account and Region.",
    },
];
