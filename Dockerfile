# The image of a release: its program, the authorities that it trusts, and no shell. It holds what `scripts/release image` puts
# into target/image, which is the very program that the release has; nothing is compiled here.
FROM scratch
ARG VERSION=0.0.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="fargate-deploy" \
      org.opencontainers.image.description="From Dockerfile to a healthy ECS Fargate release, and back when the release is bad" \
      org.opencontainers.image.source="https://github.com/org/fargate-deploy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY target/image/ /
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/fargate-deploy"]
