//! Images that cannot be pulled or run.

use super::{Case, IMAGE, ended, unstarted, with};
use crate::cause::{SeenNetwork, SeenSubnet, WayOut};

pub(super) fn cases() -> Vec<Case> {
    let pull = |rest: &str| format!("CannotPullContainerError: pull image manifest has been retried 5 time(s): {rest}");
    let digest = format!("111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop@sha256:{}", "1".repeat(64));
    vec![
        (
            "image-tag-missing",
            "the tag is not there",
            unstarted(&pull(&format!("failed to resolve ref {IMAGE}: {IMAGE}: not found"))),
        ),
        (
            "image-tag-missing",
            "the older words",
            unstarted(
                "CannotPullContainerError: Error response from daemon: manifest for shop:v41 not found: manifest unknown: Requested image not found",
            ),
        ),
        (
            "image-digest-missing",
            "by digest: it was removed",
            unstarted(&pull(&format!("failed to resolve ref {digest}: {digest}: not found"))),
        ),
        (
            "image-pull-failed",
            "cut off before it says why",
            unstarted(&pull(&format!("failed to resolve ref {IMAGE}"))),
        ),
        (
            "image-platform-missing",
            "the list has no such platform",
            unstarted(&pull("image Manifest does not contain descriptor matching platform 'linux/arm64'")),
        ),
        (
            "image-wrong-architecture",
            "a single platform, and it is the other one",
            with(ended(1, &["exec /usr/local/bin/node: exec format error"]), |s| {
                s.container_mut("app").image_platform = Some("linux/arm64".to_owned());
            }),
        ),
        (
            "entrypoint-without-interpreter-line",
            "the platform is right, so it is the file",
            with(ended(1, &["exec /entrypoint.sh: exec format error"]), |s| {
                s.container_mut("app").image_platform = Some("linux/amd64".to_owned());
            }),
        ),
        (
            "exec-format-error",
            "the platform is not known: two causes",
            ended(255, &["standard_init_linux.go:228: exec user process caused: exec format error"]),
        ),
        (
            "image-forbidden",
            "403 by tag",
            unstarted(&format!(
                "CannotPullContainerError: failed to resolve ref {IMAGE}: unexpected status from HEAD request to https://111122223333.dkr.ecr.eu-central-1.amazonaws.com/v2/shop/manifests/v41: 403 Forbidden"
            )),
        ),
        (
            "image-digest-forbidden",
            "403 by digest: it may be gone",
            unstarted(&format!(
                "CannotPullContainerError: failed to resolve ref {digest}: unexpected status from HEAD request to https://111122223333.dkr.ecr.eu-central-1.amazonaws.com/v2/shop/manifests/sha256:1: 403 Forbidden"
            )),
        ),
        (
            "image-other-account",
            "403 of another account's registry",
            unstarted(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): unexpected status from HEAD request to https://999988887777.dkr.ecr.eu-central-1.amazonaws.com/v2/shop/manifests/v1: 403 Forbidden",
            ),
        ),
        (
            "image-needs-login",
            "a registry with a name is no Docker Hub, and 403 of it is not about the execution role",
            unstarted(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref ghcr.io/acme/shop:v42: unexpected status from HEAD request to https://ghcr.io/v2/acme/shop/manifests/v42: 403 Forbidden",
            ),
        ),
        (
            "registry-not-trusted",
            "the way is open, and the image was not asked for yet",
            unstarted(
                "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref registry.acme.com/shop:v42: failed to do request: Head \"https://registry.acme.com/v2/shop/manifests/v42\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            ),
        ),
        (
            "registry-error",
            "it answers",
            unstarted(
                "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref ghcr.io/acme/shop:v42: unexpected status from HEAD request to https://ghcr.io/v2/acme/shop/manifests/v42: 503 Service Unavailable",
            ),
        ),
        (
            "image-private",
            "Docker Hub, without a login",
            unstarted(&pull(
                "failed to resolve ref docker.io/shop/app:v1: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            )),
        ),
        (
            "registry-rate-limit",
            "anonymous pulls",
            unstarted(
                "CannotPullContainerError: inspect image has been retried 5 time(s): httpReaderSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/nginx/manifests/sha256:1: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit",
            ),
        ),
        (
            "image-too-large",
            "no space",
            unstarted(
                "CannotPullContainerError: failed to extract layer sha256:1: write /var/lib/x: no space left on device",
            ),
        ),
        (
            "image-repository-missing",
            "the repository is not there",
            unstarted(&pull(
                "failed to resolve ref x: name unknown: The repository with name 'shop' does not exist in the registry with id '111122223333'",
            )),
        ),
        (
            "no-route-to-ecr",
            "AWS's new words",
            unstarted(
                "CannotPullContainerError: The task cannot pull '111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop:v41' from the Amazon ECR repository 'arn:aws:ecr:eu-central-1:111122223333:repository/shop'. There is a connection issue between the task and Amazon ECR. Check your task network configuration.",
            ),
        ),
        (
            "no-route-to-ecr",
            "a public address does not answer, and the subnet is known",
            with(
                unstarted(
                    "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth from Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network configuration. RequestError: send request failed caused by: Post \"https://api.ecr.eu-central-1.amazonaws.com/\": dial tcp 3.120.181.40:443: i/o timeout",
                ),
                |s| {
                    let subnet =
                        SeenSubnet { id: "subnet-1".to_owned(), way_out: Some(WayOut::None), ..SeenSubnet::default() };
                    s.network = Some(SeenNetwork { subnets: vec![subnet], ..SeenNetwork::default() });
                },
            ),
        ),
        (
            "ecr-endpoint-closed",
            "a private address: an endpoint is there",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr registry auth: service call has been retried 3 time(s): RequestError: send request failed caused by: Post \"https://api.ecr.eu-central-1.amazonaws.com/\": dial tcp 10.0.1.23:443: i/o timeout",
            ),
        ),
        (
            "image-layers-unreachable",
            "only the layers",
            unstarted(
                "CannotPullContainerError: ref pull has been retried 5 time(s): failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com/x\": dial tcp 52.219.1.1:443: i/o timeout",
            ),
        ),
        (
            "registry-name-unknown",
            "DNS",
            unstarted(
                "CannotPullContainerError: failed to resolve ref 111122223333.dkr.ecr.eu-centrl-1.amazonaws.com/shop:v41: failed to do request: Head \"https://111122223333.dkr.ecr.eu-centrl-1.amazonaws.com/v2/shop/manifests/v41\": dial tcp: lookup 111122223333.dkr.ecr.eu-centrl-1.amazonaws.com on 10.0.0.2:53: no such host",
            ),
        ),
        (
            "no-route-to-registry",
            "another registry",
            unstarted(
                "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref ghcr.io/acme/shop:v1: failed to do request: Head \"https://ghcr.io/v2/acme/shop/manifests/v1\": dial tcp 140.82.121.33:443: i/o timeout",
            ),
        ),
        ("image-content-missing", "Docker's own code", ended(125, &[])),
    ]
}
