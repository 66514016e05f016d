//! The image could not be pulled, or is not one for this task.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html>

use crate::cause::row::Row;
use crate::cause::row::Sign::{Exit, Is, Line, Said, SaidBoth};
use crate::cause::seen::NO_ANSWER;
use crate::cause::signs::{
    has_private_address, is_by_digest, is_for_other_platform, is_for_this_platform, is_of_other_account,
    is_of_other_registry,
};

const NOT_THERE: &[&str] = &[
    "failed to resolve ref {reference}: *not found",
    "failed to resolve reference \"{reference}\": *not found",
    "failed to resolve reference {reference}: *not found",
    "manifest for {reference} not found",
    "could not fetch content descriptor*not found",
    "failed open: content at*not found",
    "manifest unknown",
    "Requested image not found",
    "ImageNotFoundException",
];

const FORBIDDEN: &[&str] = &[
    "failed to resolve ref {reference}: *403 Forbidden",
    "https://{registry}/v2/{repository}/manifests/{wanted}: 403 Forbidden",
    "unexpected status*403",
    "403 Forbidden",
];

const LOGIN: &[&str] = &[
    "failed to resolve ref {reference}: *pull access denied",
    "failed to resolve ref {reference}: *401 Unauthorized",
    "failed to resolve ref {reference}: *authentication required",
    "pull access denied",
    "401 Unauthorized",
    "authentication required",
];

pub(super) const ROWS: &[Row] = &[
    Row {
        code: "image-platform-missing",
        title: "The image has no variant for the architecture of the task",
        proofs: &[
            &[Said("descriptor matching platform '{wanted}'")],
            &[Said("no matching manifest for {wanted} in the manifest list")],
            &[Said("no matching manifest for {wanted}")],
        ],
        cause: "the image[ `{image}`] has no variant for {wanted}, which the task definition asks for",
        next: "build it for {wanted} (`platform: {wanted}` of the image in the config), or set `runtimePlatform.cpuArchitecture` of the task definition to the architecture it is built for",
        likely: &[],
        more: "A manifest list names one image per platform. Fargate takes the one of `runtimePlatform.cpuArchitecture`, which is X86_64 unless the task definition says ARM64. `docker buildx imagetools inspect IMAGE` shows what is there.",
    },
    Row {
        code: "image-wrong-architecture",
        title: "The image is built for another architecture than the task's",
        proofs: &[
            &[Said("exec format error"), Is(is_for_other_platform)],
            &[Line("exec format error"), Is(is_for_other_platform)],
        ],
        cause: "the image of container `{container}` is built for {image-platform}, and the task definition asks for {platform}",
        next: "build it for {platform} (`platform: {platform}` of the image in the config), or set `runtimePlatform.cpuArchitecture` of the task definition",
        likely: &[],
        more: "An image with a single platform is pulled whatever the task asks for, and fails when its first program is started: `exec format error`. Images that are built on a Mac with Apple silicon are linux/arm64 unless they are told otherwise.",
    },
    Row {
        code: "entrypoint-without-interpreter-line",
        title: "The entrypoint is a file that the kernel cannot run",
        proofs: &[
            &[Said("exec {file}: exec format error"), Is(is_for_this_platform)],
            &[Line("exec {file}: exec format error"), Is(is_for_this_platform)],
            &[Said("exec format error"), Is(is_for_this_platform)],
            &[Line("exec format error"), Is(is_for_this_platform)],
        ],
        cause: "container `{container}`: the file that it starts[, `{file}`,] is no program: a script needs `#!/bin/sh` as its first line",
        next: "make `#!/bin/sh` the very first line of the script, without a blank line or a byte order mark before it",
        likely: &[],
        more: "The image is for the architecture of the task, so the kernel's `exec format error` is about the file itself.",
    },
    Row {
        code: "exec-format-error",
        title: "The kernel cannot run the file that the container starts",
        proofs: &[
            &[Said("exec {file}: exec format error")],
            &[Line("exec {file}: exec format error")],
            &[Said("exec format error")],
            &[Line("exec format error")],
        ],
        cause: "container `{container}`: the kernel cannot run the file that it starts[ (`{file}`)]: exec format error",
        next: "see for which architecture the image is built: `docker buildx imagetools inspect {image}`; the task runs on {platform}",
        likely: &[
            "the image is built for another architecture than {platform}",
            "the file is a script without `#!/bin/sh` as its first line",
        ],
        more: "Both look the same to the kernel. Where the platform of the image can be read, one of them is ruled out: see `image-wrong-architecture` and `entrypoint-without-interpreter-line`.",
    },
    Row {
        code: "image-digest-missing",
        title: "The image with this digest is not in its repository any more",
        proofs: &[&[SaidBoth(&["CannotPull", "failed to resolve", "pull image"], NOT_THERE), Is(is_by_digest)]],
        cause: "the image `{reference}` is not in its repository: nothing there has this digest any more",
        next: "build and push it again by deploying its commit, and keep the digests of running releases in the repository's lifecycle policy",
        likely: &[],
        more: "Task definitions name images by digest, and a lifecycle policy that expires untagged images takes what a running service or a rollback needs. It also shows at a later restart or a scale-out.",
    },
    Row {
        code: "image-tag-missing",
        title: "The repository has no image with this tag",
        proofs: &[&[SaidBoth(&["CannotPull", "failed to resolve", "pull image"], NOT_THERE)]],
        cause: "the image `{reference}` does not exist: its repository has no such tag",
        next: "push this tag, or name one that is there[: `aws ecr describe-images --repository-name {repository}` lists them]",
        likely: &[],
        more: "A tag that was never pushed, was misspelled, or was removed. The build may have pushed to another repository, account or Region.",
    },
    Row {
        code: "image-needs-login",
        title: "A registry other than ECR gives the image to nobody without a login, or does not have it",
        proofs: &[
            &[SaidBoth(&["CannotPull", "failed to resolve", "pull image"], FORBIDDEN), Is(is_of_other_registry)],
            &[SaidBoth(&["CannotPull", "failed to resolve", "pull image"], LOGIN), Is(is_of_other_registry)],
        ],
        cause: "the registry `{host}` does not give the image[ `{reference}`] to this task",
        next: "see the image's name, then give the container `repositoryCredentials`: a secret with `username` and `password` that the execution role may read",
        likely: &[
            "the repository is private, and the container has no `repositoryCredentials` that are valid",
            "there is no such repository or image: registries answer the same for both",
        ],
        more: "Tokens of a registry expire too, and GitHub's needs `read:packages`.",
    },
    Row {
        code: "image-other-account",
        title: "The registry of another account refuses the pull",
        proofs: &[&[
            SaidBoth(&["CannotPull", "failed to resolve", "pull image", "unexpected status"], FORBIDDEN),
            Is(is_of_other_account),
        ]],
        cause: "the registry of account {other-account} refuses the pull (403 Forbidden) for a task of account {account}",
        next: "look at the repository's policy in account {other-account}, then at the execution role[ `{execution-role}`]",
        likely: &[
            "the policy of the repository does not allow account {account} `ecr:BatchGetImage` and `ecr:GetDownloadUrlForLayer`",
            "the execution role[ `{execution-role}`] does not allow these actions on a repository of account {other-account}",
        ],
        more: "Both are needed: the policy of the repository names the other account, and the role there allows the pull.",
    },
    Row {
        code: "image-digest-forbidden",
        title: "The registry answers 403 for an image by digest",
        proofs: &[&[
            SaidBoth(&["CannotPull", "failed to resolve", "pull image", "unexpected status"], FORBIDDEN),
            Is(is_by_digest),
        ]],
        cause: "the registry refuses the pull[ of `{reference}`] with 403 Forbidden",
        next: "see whether the digest is there[: `aws ecr describe-images --repository-name {repository}`]; if it is, allow the execution role `ecr:BatchGetImage` and `ecr:GetDownloadUrlForLayer` on the repository",
        likely: &[
            "nothing in the repository has this digest any more (a lifecycle policy, or a tag that was moved)",
            "the execution role[ `{execution-role}`] lacks `ecr:BatchGetImage` or `ecr:GetDownloadUrlForLayer` on the repository",
        ],
        more: "ECR answers 403 for a digest that is not there as well as for one that may not be read.",
    },
    Row {
        code: "image-forbidden",
        title: "The registry refuses the pull",
        proofs: &[&[SaidBoth(&["CannotPull", "failed to resolve", "pull image", "unexpected status"], FORBIDDEN)]],
        cause: "the registry refuses the pull[ of `{reference}`] with 403 Forbidden",
        next: "allow the execution role `ecr:BatchGetImage`, `ecr:GetDownloadUrlForLayer` and `ecr:BatchCheckLayerAvailability` on the repository[ `{repository}`], and read the repository's own policy",
        likely: &[
            "the execution role[ `{execution-role}`] lacks `ecr:BatchGetImage` or `ecr:GetDownloadUrlForLayer` on the repository",
            "the policy of the repository denies it",
        ],
        more: "`AmazonECSTaskExecutionRolePolicy` allows the pull from every repository of the account. A pull-through cache of an official Docker image needs `library/` in its name.",
    },
    Row {
        code: "image-private",
        title: "The registry gives the image to nobody without a login, or does not have it",
        proofs: &[
            &[Said("failed to resolve ref {reference}: *pull access denied")],
            &[Said("docker.io/{rest}: pull access denied")],
            &[Said("pull access denied for {reference}, repository does not exist or may require")],
            &[Said("pull access denied"), Said("repository does not exist or may require")],
            &[Said("failed to resolve ref {reference}: *401 Unauthorized")],
            &[Said("CannotPull*401 Unauthorized")],
        ],
        cause: "the registry gives out no image[ `{reference}`] without a login",
        next: "write the image with its registry's host (`ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME`), or give the container `repositoryCredentials`",
        likely: &[
            "the name has no registry host, so Docker Hub was asked, which has no such repository",
            "the repository is private and the container has no `repositoryCredentials`",
        ],
        more: "A name without a host is looked up at docker.io. Docker Hub says the same of a repository that does not exist and of one that is private.",
    },
    Row {
        code: "registry-rate-limit",
        title: "The registry's limit of pulls is used up",
        proofs: &[
            &[Said("You have reached your*pull rate limit")],
            &[Said("CannotPull*toomanyrequests")],
            &[Said("failed to*toomanyrequests")],
        ],
        cause: "the registry's pull rate limit is reached: anonymous pulls are counted by the address that they come from",
        next: "pull through ECR (a pull-through cache rule, or a copy in your own repository), or give the container `repositoryCredentials`; waiting helps for a while",
        likely: &[],
        more: "Tasks behind one NAT gateway share its address, and so its limit.",
    },
    Row {
        code: "image-too-large",
        title: "The image does not fit into the task's storage",
        proofs: &[&[SaidBoth(
            &["CannotPull", "extract layer", "failed to register layer"],
            &["no space left on device"],
        )]],
        cause: "the image[ `{image}`] does not fit: the {storage} GiB of ephemeral storage of the task are full",
        next: "set `ephemeralStorage.sizeInGiB` of the task definition (21 to 200), or make the image smaller",
        likely: &[],
        more: "Layers are kept compressed and unpacked, so an image needs more than twice its size.",
    },
    Row {
        code: "image-repository-missing",
        title: "There is no such repository",
        proofs: &[
            &[Said("repository with name '{repository}' does not exist in the registry with id '{registry-id}'")],
            &[SaidBoth(
                &["CannotPull", "failed to resolve", "pull image"],
                &["name unknown", "RepositoryNotFoundException"],
            )],
        ],
        cause: "there is no repository[ `{repository}`][ in the registry of account {registry-id}]",
        next: "create it, or correct the name, account and Region in the image's reference; a pull-through cache needs `ecr:CreateRepository` and `ecr:BatchImportUpstreamImage` for the execution role",
        likely: &[],
        more: "ECR does not create a repository by itself, unless a repository creation template says so.",
    },
    Row {
        code: "image-layers-unreachable",
        title: "No way from the task to the layers of the image, which are in S3",
        proofs: &[
            &[SaidBoth(&["starport-layer-bucket", "s3.{region}.amazonaws", ".s3.dualstack"], NO_ANSWER)],
            &[Said("CannotPull*panic: runtime error: invalid memory address")],
        ],
        cause: "the task has no route to Amazon S3, where ECR keeps the layers of the image[: {network}]",
        next: "add an S3 gateway endpoint to the route tables of the subnets[ ({subnets})], or give them a NAT gateway",
        likely: &[],
        more: "ECR's interface endpoints carry the login and the manifest only. The layers come from a bucket of AWS, through a gateway endpoint for S3 or the internet.",
    },
    Row {
        code: "ecr-endpoint-closed",
        title: "The VPC endpoint of ECR does not let the task in",
        proofs: &[&[SaidBoth(&["api.ecr", "dkr.ecr", "Amazon ECR", "ecr:Get"], NO_ANSWER), Is(has_private_address)]],
        cause: "the VPC endpoint of Amazon ECR at {ip} does not answer the task",
        next: "let the endpoint's security group accept TCP 443 from the security group of the tasks",
        likely: &[],
        more: "The name resolves to an address of the VPC, so an endpoint is there; what gets no answer at all is dropped on the way.",
    },
    Row {
        code: "no-route-to-ecr",
        title: "No way from the task to Amazon ECR",
        proofs: &[
            &[SaidBoth(&["api.ecr", "dkr.ecr", "dkr-ecr", "Amazon ECR", "pull registry auth"], NO_ANSWER)],
            &[Said("CannotPull*connection issue between the task and Amazon ECR")],
        ],
        cause: "the task has no route to Amazon ECR[ at {ip}][: {network}]",
        next: "give the subnets[ ({subnets})] a NAT gateway, or `assignPublicIp: ENABLED` where they route to an internet gateway, or the VPC endpoints `ecr.api`, `ecr.dkr` and `s3`",
        likely: &[],
        more: "A pull needs three: `ecr.api` for the login, `ecr.dkr` for the manifest, S3 for the layers. Without any way out none of them answers, and AWS waits until its own limit.",
    },
    Row {
        code: "registry-name-unknown",
        title: "The registry's name cannot be resolved",
        proofs: &[&[SaidBoth(
            &["CannotPull", "failed to resolve", "pull image", "retrieve ecr registry auth"],
            &["lookup {host}*no such host", "no such host"],
        )]],
        cause: "the name of the registry[ `{host}`] is not known to the DNS of the VPC",
        next: "correct the host in the image's reference; for a VPC endpoint switch on its private DNS name, and `enableDnsSupport` and `enableDnsHostnames` of the VPC",
        likely: &[],
        more: "A wrong Region or a misspelled host gives a name that nobody has. Private DNS names of endpoints need both DNS settings of the VPC.",
    },
    Row {
        code: "registry-not-trusted",
        title: "Fargate does not trust the registry's certificate",
        proofs: &[&[SaidBoth(&["CannotPull", "failed to resolve", "pull image"], &["x509: {words..}"])]],
        cause: "Fargate does not trust the certificate of the registry[ `{registry}`]: {words}",
        next: "give the registry a certificate of a public certificate authority, or copy the image to ECR",
        likely: &[],
        more: "Certificate authorities of your own cannot be given to Fargate.",
    },
    Row {
        code: "no-route-to-registry",
        title: "No way from the task to the registry",
        proofs: &[&[SaidBoth(&["CannotPull", "failed to resolve", "pull image"], NO_ANSWER)]],
        cause: "the task has no route to the registry[ `{registry}`][ at {ip}][: {network}]",
        next: "give the subnets[ ({subnets})] a NAT gateway, or `assignPublicIp: ENABLED` where they route to an internet gateway, and allow outgoing TCP 443 in the security group",
        likely: &[],
        more: "VPC endpoints lead to AWS only: any other registry needs a way to the internet.",
    },
    Row {
        code: "registry-error",
        title: "The registry answers the pull with an error",
        proofs: &[&[SaidBoth(
            &["CannotPull", "failed to resolve", "pull image"],
            &[
                "unexpected status from {method} request to {url}: {status..}",
                "unexpected status code {url}: {status..}",
            ],
        )]],
        cause: "the registry[ `{registry}`] answers the pull with {status}",
        next: "try `docker pull` of the image from your machine; what begins with 5 is the registry's own trouble and mostly passes: then run this again",
        likely: &[],
        more: "An answer came, so the way to the registry is open.",
    },
    Row {
        code: "image-pull-failed",
        title: "The image could not be pulled, and AWS's words do not tell why",
        proofs: &[&[Said("CannotPull")], &[Said("failed to resolve ref {reference}")]],
        cause: "the image[ `{reference}`] could not be pulled, and AWS's words do not tell why",
        next: "see whether the image is there, then whether the subnets have a way to its registry",
        likely: &["the image's name or tag does not exist", "the subnets of the task have no route to the registry"],
        more: "Platform version 1.4 cuts its messages off. The evidence has all of it that there is.",
    },
    Row {
        code: "image-content-missing",
        title: "Exit code 125: Docker itself could not run the container",
        proofs: &[&[Exit(&[125])]],
        cause: "container `{container}` ended with 125, which is how Docker says that it could not run it",
        next: "run the image with the same command on your machine: `docker run IMAGE`",
        likely: &["a setting of the container that the runtime refuses", "the program's own exit code is 125"],
        more: "A program may use 125 itself; nothing in the task's reason tells them apart.",
    },
];
