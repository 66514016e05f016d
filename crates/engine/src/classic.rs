//! The classic builder, for Engines without BuildKit: the context goes as a tar stream from which we left out what
//! `.dockerignore` excludes.
//!
//! `forcerm` is set because a failing RUN otherwise leaves its stopped container behind.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::build::{BuildRequest, BuiltImage, Sending, TransferProgress, built, image_id};
use super::config_auth::registry_of;
use super::context::{BuildContext, IgnoreFile};
use super::http::{Call, Objects};
use super::progress::{BuildEvent, LogTail, StepState};
use super::stream::stream_error;
use super::walk::{Entry, Filter, Kind, WalkError, walk};
use super::{Engine, EngineError};

const CHUNK: usize = 64 * 1024;
/// Chunks between the disk and the connection.
const IN_FLIGHT: usize = 16;
/// The name of a Dockerfile from outside the context, inside the tar.
const FOREIGN: &str = ".dockerfile.fargate-deploy";

impl Engine {
    pub(super) async fn build_classic(
        &self,
        request: &BuildRequest,
        context: &BuildContext,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<BuiltImage, EngineError> {
        if let Some((id, _)) = request.secrets.first() {
            let why = "this Engine has no BuildKit, and its classic builder would put the secret into the image";
            return Err(EngineError::config(format!("build secret `{id}`"), why));
        }
        let tar = ContextTar::plan(context)?;
        let mut query = request.query(&tar.dockerfile_name);
        query.add("rm", "1").add("forcerm", "1");
        let mut call = Call::new("starting the build", Method::POST, format!("/build{}", query.as_str()));
        call.limit = request.timeout;
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        if let Ok(value) = HeaderValue::from_str(&self.registry_config(request, &tar.dockerfile_text).await?) {
            call.headers.insert(HeaderName::from_static("x-registry-config"), value);
        }
        let sending = Sending::default();
        // It gets all that is not ignored.
        sending.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(".".to_owned());
        let (chunks, receiver) = mpsc::channel(IN_FLIGHT);
        let sender = sending.clone();
        tokio::task::spawn_blocking(move || tar.write(chunks, &sender));
        call.body = StreamBody::new(ReceiverStream::new(receiver).map(|chunk| chunk.map(Frame::data))).boxed_unsync();

        let mut transfer = TransferProgress::new(&sending);
        let answer = {
            let sent = self.transport.send(call);
            tokio::pin!(sent);
            loop {
                tokio::select! {
                    answer = &mut sent => break answer,
                    () = transfer.due() => transfer.report(sink),
                }
            }
        };
        transfer.report(sink);
        let mut objects = match answer {
            Ok(answer) => Objects::of(answer),
            Err(error) => return Err(sending.failed().unwrap_or(error)),
        };
        let mut steps = ClassicSteps::default();
        let mut image = None;
        while let Some(object) = objects.next().await.map_err(|error| self.transport.unreachable(&error))? {
            if let Some(why) = stream_error(&object) {
                steps.end(StepState::Failed { why: why.to_owned() }, sink);
                let (step, log_tail) = (steps.current, steps.tail.lines());
                return Err(EngineError::Build { step, why: why.to_owned(), log_tail });
            }
            if let Some(id) = image_id(&object) {
                image = Some(id);
            }
            steps.object(&object, sink);
        }
        steps.end(StepState::Completed, sink);
        built(image, &sending)
    }

    /// `X-Registry-Config`: credentials for the registries that the Dockerfile's FROM lines name.
    async fn registry_config(&self, request: &BuildRequest, dockerfile: &str) -> Result<String, EngineError> {
        let mut all = BTreeMap::new();
        for registry in base_images(dockerfile).map(registry_of) {
            let found = match request.credentials.get(registry) {
                Some(given) => Some(given.clone()),
                None => self.config.credentials(registry).await?,
            };
            if let Some(found) = found {
                let key = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
                all.insert(key.to_owned(), json!({"username": found.username, "password": found.password.expose()}));
            }
        }
        Ok(URL_SAFE.encode(json!(all).to_string()))
    }
}

/// What each FROM names, build arguments unexpanded.
fn base_images(dockerfile: &str) -> impl Iterator<Item = &str> {
    dockerfile.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("from"))?;
        words.find(|word| !word.starts_with("--"))
    })
}

/// The context as it will be sent.
struct ContextTar {
    context: BuildContext,
    filter: Filter,
    ignore_text: String,
    dockerfile_name: String,
    dockerfile_text: String,
    is_foreign: bool,
}

impl ContextTar {
    /// The Dockerfile and the ignore file are sent even if they are ignored: the Engine needs the first, and takes both out
    /// of the context itself by reading the second. A Dockerfile from outside gets a name of its own, hidden from COPY.
    fn plan(context: &BuildContext) -> Result<Self, EngineError> {
        let ignore_file = IgnoreFile::of(context)?;
        let mut ignore_text = ignore_file.text.clone();
        let text = context.dockerfile_text()?;
        let inside = context.dockerfile_in_context();
        let is_foreign = inside.is_none();
        let dockerfile_name = inside.unwrap_or_else(|| FOREIGN.to_owned());
        if is_foreign {
            ignore_text = format!("{}\n{FOREIGN}\n.dockerignore\n", ignore_text.trim_end());
        }
        let own = if is_foreign { format!("{FOREIGN}\n.dockerignore\n") } else { String::new() };
        let exclude = ignore_file.patterns(&format!("{own}!{dockerfile_name}\n!.dockerignore\n"))?;
        Ok(Self {
            context: context.clone(),
            filter: Filter { include: None, exclude },
            ignore_text,
            dockerfile_name,
            dockerfile_text: String::from_utf8_lossy(&text).into_owned(),
            is_foreign,
        })
    }

    fn write(self, chunks: mpsc::Sender<io::Result<Bytes>>, sending: &Sending) {
        let writer = ChunkWriter { chunks: chunks.clone(), sending: sending.clone() };
        let Err(error) = self.write_to(BufWriter::with_capacity(CHUNK, writer)) else { return };
        if error.kind() == io::ErrorKind::BrokenPipe {
            return;
        }
        sending.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        let _ = chunks.blocking_send(Err(error));
    }

    fn write_to(self, writer: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(writer);
        // Where a file with several links was first written, by device and inode.
        let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
        let has_ignore_text = !self.ignore_text.is_empty();
        let result = walk(&self.context.root, &self.filter, &mut |entry| {
            // Ours goes last, in the place of the file on disk.
            if has_ignore_text && entry.path == ".dockerignore" {
                return Ok(());
            }
            let unreadable = |source| WalkError::Unreadable { path: entry.on_disk.clone(), source };
            if entry.kind == Kind::File && entry.metadata.nlink() > 1 {
                let inode = (entry.metadata.dev(), entry.metadata.ino());
                match linked.get(&inode) {
                    Some(first) => return append_hard_link(&mut tar, entry, first).map_err(unreadable),
                    None => linked.insert(inode, relative(entry).to_owned()),
                };
            }
            append(&mut tar, entry).map_err(unreadable)
        });
        result.map_err(|error| match error {
            WalkError::Unreadable { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => source,
            other => io::Error::other(other.to_string()),
        })?;
        if has_ignore_text {
            append_text(&mut tar, ".dockerignore", &self.ignore_text)?;
        }
        if self.is_foreign {
            append_text(&mut tar, FOREIGN, &self.dockerfile_text)?;
        }
        tar.into_inner()?.flush()
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, entry: &Entry) -> io::Result<()> {
    let mut header = header(entry);
    let path = relative(entry);
    match &entry.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, path.join(""), io::empty())
        }
        Kind::Unlistable => Err(io::ErrorKind::PermissionDenied.into()),
        Kind::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)
        }
        Kind::File => {
            let size = entry.metadata.len();
            header.set_size(size);
            // A file that grows meanwhile must not run into the next header.
            tar.append_data(&mut header, path, File::open(&entry.on_disk)?.take(size))
        }
    }
}

fn append_hard_link<W: Write>(tar: &mut tar::Builder<W>, entry: &Entry, first: &Path) -> io::Result<()> {
    let mut header = header(entry);
    header.set_entry_type(tar::EntryType::Link);
    tar.append_link(&mut header, relative(entry), first)
}

fn header(entry: &Entry) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.metadata.permissions().mode() & 0o7777);
    header.set_mtime(u64::try_from(entry.metadata.mtime()).unwrap_or_default());
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// As on disk: a tar carries names that are not UTF-8.
fn relative(entry: &Entry) -> &Path {
    Path::new(OsStr::from_bytes(entry.path_bytes()))
}

fn append_text<W: Write>(tar: &mut tar::Builder<W>, path: &str, text: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, path, text.as_bytes())
}

struct ChunkWriter {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    sending: Sending,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.chunks.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.sending.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads steps out of the classic builder's text: `Step 2/3 : COPY a /`, ` ---> Using cache`, and output between.
#[derive(Debug, Default)]
struct ClassicSteps {
    current: Option<String>,
    is_cached: bool,
    tail: LogTail,
}

impl ClassicSteps {
    fn object(&mut self, object: &Value, sink: &mut (dyn FnMut(BuildEvent) + Send)) {
        let Some(text) = object["stream"].as_str() else { return };
        let line = text.trim_end();
        if line.starts_with("Step ") && line.contains(" : ") {
            self.end(StepState::Completed, sink);
            let (step, name) = (line.to_owned(), line.to_owned());
            self.current = Some(step.clone());
            self.is_cached = false;
            self.tail = LogTail::default();
            sink(BuildEvent::Step { step, name, state: StepState::Started });
        } else if line == " ---> Using cache" {
            self.is_cached = true;
        } else if let Some(step) = self.current.as_ref().filter(|_| !is_builders_own(line)) {
            self.tail.push(text.as_bytes());
            sink(BuildEvent::Log { step: step.clone(), bytes: text.as_bytes().to_vec() });
        }
    }

    fn end(&mut self, state: StepState, sink: &mut (dyn FnMut(BuildEvent) + Send)) {
        let Some(step) = self.current.clone() else { return };
        let state = if self.is_cached && state == StepState::Completed { StepState::Cached } else { state };
        sink(BuildEvent::Step { name: step.clone(), step, state });
    }
}

/// What the builder says between steps about its own layers and containers.
fn is_builders_own(line: &str) -> bool {
    line.is_empty() || line.starts_with(" ---> ") || line.starts_with("Removing intermediate container ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_the_classic_builders_text() {
        let mut steps = ClassicSteps::default();
        let mut seen = Vec::new();
        for text in [
            "Step 1/2 : FROM scratch\n",
            " ---> Using cache\n",
            " ---> 12ab\n",
            "Step 2/2 : RUN make\n",
            "\n",
            "out\n",
            "Removing intermediate container 12ab\n",
        ] {
            steps.object(&json!({"stream": text}), &mut |event| seen.push(event));
        }
        let step = |step: &str, state| BuildEvent::Step { step: step.to_owned(), name: step.to_owned(), state };
        assert_eq!(
            seen,
            [
                step("Step 1/2 : FROM scratch", StepState::Started),
                step("Step 1/2 : FROM scratch", StepState::Cached),
                step("Step 2/2 : RUN make", StepState::Started),
                BuildEvent::Log { step: "Step 2/2 : RUN make".to_owned(), bytes: b"out\n".to_vec() },
            ]
        );
        assert_eq!(steps.tail.lines(), ["out"]);
    }

    #[test]
    fn base_images_are_found_past_their_flags() {
        let dockerfile = "# FROM no\nFROM --platform=$P ghcr.io/a/b:1 AS x\nfrom scratch\nCOPY --from=x . .\n";
        assert_eq!(base_images(dockerfile).collect::<Vec<_>>(), ["ghcr.io/a/b:1", "scratch"]);
    }

    #[test]
    fn the_tar_leaves_out_what_is_ignored_and_keeps_what_the_engine_needs() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        write("Dockerfile", "FROM scratch");
        write(".dockerignore", "*\n!app");
        write("app", "app");
        write("secret.txt", "no");
        std::os::unix::fs::symlink("app", root.path().join("ignored-link")).unwrap();
        std::fs::write(other.path().join("Other"), "FROM busybox").unwrap();

        let names = |dockerfile: Option<&std::path::Path>| {
            let context = BuildContext::resolve(root.path(), dockerfile).unwrap();
            let mut bytes = Vec::new();
            ContextTar::plan(&context).unwrap().write_to(&mut bytes).unwrap();
            let mut archive = tar::Archive::new(bytes.as_slice());
            let paths = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
            paths.collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["Dockerfile", "app", ".dockerignore"]);
        assert_eq!(names(Some(&other.path().join("Other"))), ["app", ".dockerignore", FOREIGN]);
    }
}
