# syntax=docker/dockerfile:1
# The release image: one static binary. `docker build -t fargate-deploy .`, then for example
# `docker run --rm -v "$PWD:/work" -w /work -v /var/run/docker.sock:/var/run/docker.sock fargate-deploy rehearse`.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache ca-certificates cmake g++ make musl-dev perl linux-headers
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY benches ./benches
COPY crates ./crates
COPY src ./src
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin fargate-deploy && cp target/release/fargate-deploy /fargate-deploy

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /fargate-deploy /fargate-deploy
ENTRYPOINT ["/fargate-deploy"]
