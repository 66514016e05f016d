//! Blob uploads: streamed to disk and hashed on the way, so that a layer of a gigabyte costs no memory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use http_body_util::BodyExt as _;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use crate::request::{lock, random_hex};

use super::Registry;

pub(super) type Shared = Arc<Mutex<Upload>>;

/// One upload session.
#[derive(Debug)]
pub(super) struct Upload {
    path: PathBuf,
    file: File,
    hash: Sha256,
    /// Bytes received so far.
    pub(super) length: u64,
}

impl Upload {
    /// Appends a request body.
    pub(super) async fn append(&mut self, mut body: Body) -> io::Result<()> {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            self.file.write_all(&data).await?;
            self.hash.update(&data);
            self.length += data.len() as u64;
        }
        self.file.flush().await
    }
}

impl Registry {
    pub(super) async fn begin_upload(&self) -> io::Result<(String, Shared)> {
        let id = random_hex(16);
        let path = self.root().join("uploads").join(&id);
        let file = File::create(&path).await?;
        let upload = Arc::new(Mutex::new(Upload { path, file, hash: Sha256::new(), length: 0 }));
        lock(&self.uploads).insert(id.clone(), upload.clone());
        Ok((id, upload))
    }

    pub(super) fn upload(&self, id: &str) -> Option<Shared> {
        lock(&self.uploads).get(id).cloned()
    }

    pub(super) async fn cancel_upload(&self, id: &str) -> bool {
        let Some(upload) = lock(&self.uploads).remove(id) else { return false };
        let path = upload.lock().await.path.clone();
        tokio::fs::remove_file(path).await.is_ok()
    }

    /// Ends an upload. `Ok(None)` when the bytes do not have the digest that was claimed.
    pub(super) async fn finish_upload(&self, id: &str, claimed: &str) -> io::Result<Option<u64>> {
        let Some(upload) = lock(&self.uploads).remove(id) else { return Ok(None) };
        let mut upload = upload.lock().await;
        upload.file.flush().await?;
        let digest = format!("sha256:{}", hex::encode(upload.hash.clone().finalize()));
        match self.blob_path(claimed) {
            Some(target) if digest == claimed => {
                tokio::fs::rename(&upload.path, target).await?;
                Ok(Some(upload.length))
            }
            _ => {
                tokio::fs::remove_file(&upload.path).await?;
                Ok(None)
            }
        }
    }
}
