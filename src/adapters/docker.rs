//! The Docker Engine API: build through an own BuildKit session, push with digest and progress.
