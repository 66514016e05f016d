//! Images of the release as they become ready. Whoever needs one waits for it here, and nobody for more than they need.

use fargate_deploy_core::names::{ImageKey, PinnedImage};
use fargate_deploy_core::outcome::Failure;
use tokio::sync::watch;

pub type Images = Vec<(ImageKey, PinnedImage)>;

#[derive(Debug)]
pub(super) struct ReadyImages {
    state: watch::Sender<State>,
    /// Images of the release.
    all: usize,
}

#[derive(Debug, Default)]
struct State {
    ready: Images,
    failure: Option<Failure>,
}

impl ReadyImages {
    pub fn new(all: usize) -> Self {
        Self { state: watch::Sender::new(State::default()), all }
    }

    pub fn put(&self, key: &ImageKey, image: PinnedImage) {
        self.state.send_modify(|state| state.ready.push((key.clone(), image)));
    }

    /// An image that cannot be had fails everybody who waits: a release is all of its images or none.
    pub fn fail(&self, failure: Failure) {
        self.state.send_modify(|state| state.failure = Some(failure));
    }

    /// Those that are ready now.
    pub fn ready(&self) -> Images {
        self.state.borrow().ready.clone()
    }

    /// Those that are ready, once that is `enough` or all of them are.
    ///
    /// # Errors
    /// Why an image cannot be had.
    pub async fn wait_until(&self, enough: impl Fn(&Images) -> bool) -> Result<Images, Failure> {
        let mut seen = self.state.subscribe();
        let is_over = |s: &State| s.failure.is_some() || s.ready.len() == self.all || enough(&s.ready);
        // The sender is `self`: it cannot be gone.
        let _ = seen.wait_for(is_over).await;
        let state = self.state.borrow();
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(state.ready.clone()),
        }
    }

    /// # Errors
    /// Why an image cannot be had.
    pub async fn all(&self) -> Result<Images, Failure> {
        self.wait_until(|_| false).await
    }
}

/// Are all of `keys` among `images`?
pub(super) fn has_all<'a>(images: &Images, mut keys: impl Iterator<Item = &'a ImageKey>) -> bool {
    keys.all(|key| images.iter().any(|(ready, _)| ready == key))
}
