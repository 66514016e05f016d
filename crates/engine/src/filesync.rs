//! FileSync: the Engine asks for directories by name, gets the metadata of what its lists let through, and then requests
//! the content of just those files that it does not have from an earlier build.
//!
//! The protocol is tonistiigi/fsutil's: our Stat packets in walk order, an empty one at the end; for each requested index
//! Data packets and an empty one; Fin answered by Fin.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server::FileSync;
use percent_encoding::percent_decode;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::digest::content_mark;
use super::follow_paths::followed;
use super::ignore::Patterns;
use super::walk::{Entry, Filter, Kind, WalkError, walk};

const CHUNK: u64 = 32 * 1024;
/// Packets between the disk and the connection: one megabyte of content at most.
const IN_FLIGHT: usize = 32;

/// Go's `os.FileMode` bits, which are not those of `stat(2)`.
mod go_mode {
    pub const DIRECTORY: u32 = 1 << 31;
    pub const SYMLINK: u32 = 1 << 27;
    pub const SETUID: u32 = 1 << 23;
    pub const SETGID: u32 = 1 << 22;
    pub const STICKY: u32 = 1 << 20;
}

/// The directories of one build, by the name that the Engine uses.
#[derive(Clone, Debug)]
pub(super) struct Directories {
    pub named: HashMap<&'static str, PathBuf>,
    pub sent: Arc<AtomicU64>,
    /// Why we could not send something: the Engine would only report that we went away.
    pub failure: Arc<Mutex<Option<String>>>,
    /// The paths of the context that were asked for; `.` is all of it.
    pub asked: Arc<Mutex<BTreeSet<String>>>,
}

type Sender = mpsc::Sender<Result<Packet, Status>>;

#[tonic::async_trait]
impl FileSync for Directories {
    type DiffCopyStream = ReceiverStream<Result<Packet, Status>>;
    type TarStreamStream = ReceiverStream<Result<Packet, Status>>;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Self::DiffCopyStream>, Status> {
        let asked = Asked::read(request.metadata()).map_err(|why| {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why.clone());
            Status::invalid_argument(why)
        })?;
        let Some(root) = self.named.get(asked.directory.as_str()).cloned() else {
            return Err(Status::not_found(format!("no directory named `{}` is shared", asked.directory)));
        };
        if asked.directory == "context" {
            let whole = asked.follow.is_empty().then(|| ".".to_owned());
            let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(asked.follow.iter().cloned().chain(whole));
        }
        let (packets, receiver) = mpsc::channel(IN_FLIGHT);
        let transfer = Transfer { packets, sent: self.sent.clone(), failure: self.failure.clone() };
        tokio::spawn(transfer.run(root, asked, request.into_inner()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("TarStream was never advertised"))
    }
}

/// What a request's metadata asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    directory: String,
    include: Vec<String>,
    exclude: Vec<String>,
    follow: Vec<String>,
}

impl Asked {
    /// # Errors
    /// A value that is not UTF-8: a pattern that is left out would let into the image what it keeps out.
    fn read(metadata: &MetadataMap) -> Result<Self, String> {
        let all = |name: &str| -> Result<Vec<String>, String> {
            // Some Engines send what is not ASCII raw; others query-escaped, and the header `<name>-encoded` says so.
            let is_encoded = metadata.get(format!("{name}-encoded")).is_some_and(|flag| flag == "1");
            let values = metadata.get_all(name).iter().map(|value| {
                let raw = value.as_encoded_bytes();
                let bytes = if is_encoded { query_unescaped(raw) } else { raw.to_vec() };
                String::from_utf8(bytes)
                    .map_err(|bad| format!("`{}` of {name} is not UTF-8", String::from_utf8_lossy(bad.as_bytes())))
            });
            values.collect()
        };
        Ok(Self {
            directory: all("dir-name")?.pop().unwrap_or_default(),
            include: all("include-patterns")?,
            exclude: all("exclude-patterns")?,
            follow: all("followpaths")?,
        })
    }

    fn filter(&self, root: &Path) -> Result<Filter, String> {
        let patterns = |list: &[String]| Patterns::new(list).map_err(|bad| bad.to_string());
        let mut include = self.include.clone();
        if !self.follow.is_empty() {
            match followed(root, &self.follow).map_err(|error| format!("cannot follow links: {error}"))? {
                Some(paths) => include.extend(paths),
                None => include.clear(),
            }
        }
        let include = if include.is_empty() { None } else { Some(patterns(&include)?) };
        Ok(Filter { include, exclude: patterns(&self.exclude)? })
    }
}

/// One DiffCopy call.
#[derive(Clone)]
struct Transfer {
    packets: Sender,
    sent: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<String>>>,
}

/// Files by their index, relative to the root.
type Offered = Arc<Mutex<HashMap<u32, String>>>;

impl Transfer {
    async fn run(self, root: PathBuf, asked: Asked, mut requests: Streaming<Packet>) {
        let offered = Offered::default();
        let walker = self.clone();
        let walked = offered.clone();
        let walk_from = root.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = walker.offer(&walk_from, &asked, &walked) {
                walker.fail(&error);
            }
        });

        // Unbounded, but it holds an index and a path for each file at most.
        let (wanted, mut queue) = mpsc::unbounded_channel::<(u32, String)>();
        let reader = self.clone();
        tokio::task::spawn_blocking(move || {
            while let Some((id, path)) = queue.blocking_recv() {
                if let Err(error) = reader.content(id, &root.join(path)) {
                    return reader.fail(&error);
                }
            }
        });

        while let Ok(Some(packet)) = requests.message().await {
            match PacketType::try_from(packet.r#type) {
                Ok(PacketType::PacketReq) => {
                    let path = offered.lock().unwrap_or_else(PoisonError::into_inner).remove(&packet.id);
                    let Some(path) = path else { break };
                    if wanted.send((packet.id, path)).is_err() {
                        break;
                    }
                }
                Ok(PacketType::PacketFin) => {
                    let fin = Packet { r#type: PacketType::PacketFin.into(), ..Packet::default() };
                    let _ = self.packets.send(Ok(fin)).await;
                    break;
                }
                _ => break,
            }
        }
    }

    fn offer(&self, root: &Path, asked: &Asked, offered: &Offered) -> Result<(), WalkError> {
        let filter = match asked.filter(root) {
            Ok(filter) => filter,
            Err(why) => {
                let source = std::io::Error::other(why);
                return Err(WalkError::Unreadable { path: root.to_owned(), source });
            }
        };
        let mut index = 0_u32;
        // Where a file with several links was first offered, by device and inode.
        let mut linked: HashMap<(u64, u64), String> = HashMap::new();
        walk(root, &filter, &mut |entry| {
            let mut stat = stat(entry)?;
            if entry.kind == Kind::File {
                let inode = (entry.metadata.dev(), entry.metadata.ino());
                match linked.get(&inode) {
                    Some(first) => (stat.linkname, stat.size) = (first.clone(), 0),
                    None => {
                        let mut offered = offered.lock().unwrap_or_else(PoisonError::into_inner);
                        offered.insert(index, entry.path.clone());
                        if entry.metadata.nlink() > 1 {
                            linked.insert(inode, entry.path.clone());
                        }
                    }
                }
            }
            index += 1;
            self.packet(Packet { stat: Some(stat), ..Packet::default() })
        })?;
        self.packet(Packet::default())
    }

    fn content(&self, id: u32, path: &Path) -> Result<(), WalkError> {
        let unreadable = |source| WalkError::Unreadable { path: path.to_owned(), source };
        let data = |data| Packet { r#type: PacketType::PacketData.into(), id, data, stat: None };
        let mut file = File::open(path).map_err(unreadable)?;
        loop {
            let mut chunk = Vec::new();
            let read = (&mut file).take(CHUNK).read_to_end(&mut chunk).map_err(unreadable)?;
            self.packet(data(chunk))?;
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn packet(&self, packet: Packet) -> Result<(), WalkError> {
        self.sent.fetch_add(prost::Message::encoded_len(&packet) as u64, Ordering::Relaxed);
        self.packets.blocking_send(Ok(packet)).map_err(|_| WalkError::Stopped)
    }

    fn fail(&self, error: &WalkError) {
        if matches!(error, WalkError::Stopped) {
            return;
        }
        let why = error.to_string();
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why.clone());
        let _ = self.packets.blocking_send(Err(Status::aborted(why)));
    }
}

/// Everything belongs to root in a context, as `docker build` has it.
///
/// The builder takes a file for the one that it has already if path, size, mode and time are equal. Times are equal where
/// sources come from an archive or a `cp -p`, so the part of a second is a mark of the content instead of the clock's:
/// what changed is always asked for, what did not is not. No image keeps it, a layer's times are whole seconds.
///
/// # Errors
/// A directory that must not be listed, and what is not UTF-8.
fn stat(entry: &Entry) -> Result<Stat, WalkError> {
    let mode = entry.metadata.permissions().mode();
    let mut go = mode & 0o777;
    for (unix, bit) in [(0o4000, go_mode::SETUID), (0o2000, go_mode::SETGID), (0o1000, go_mode::STICKY)] {
        if mode & unix != 0 {
            go |= bit;
        }
    }
    let mut nanoseconds = entry.metadata.mtime_nsec();
    let (kind, size, linkname) = match &entry.kind {
        Kind::Directory => (go_mode::DIRECTORY, 0, String::new()),
        Kind::Unlistable => {
            let source = std::io::ErrorKind::PermissionDenied.into();
            return Err(WalkError::Unreadable { path: entry.on_disk.clone(), source });
        }
        Kind::Symlink { target } => {
            let target = target.to_str().ok_or_else(|| WalkError::NotUtf8 { path: entry.on_disk.clone() })?;
            (go_mode::SYMLINK, 0, target.to_owned())
        }
        Kind::File => {
            // What cannot be read fails when the builder asks for it.
            if let Ok(mark) = File::open(&entry.on_disk).and_then(|mut file| content_mark(&mut file)) {
                nanoseconds = i64::from(mark);
            }
            (0, entry.metadata.len(), String::new())
        }
    };
    Ok(Stat {
        path: entry.utf8_path()?.to_owned(),
        mode: go | kind,
        size: i64::try_from(size).unwrap_or(i64::MAX),
        mod_time: entry.metadata.mtime().saturating_mul(1_000_000_000).saturating_add(nanoseconds),
        linkname,
        ..Stat::default()
    })
}

/// Go's `url.QueryUnescape`, leaving what is malformed as it is.
fn query_unescaped(raw: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_escaped_and_plain() {
        let mut metadata = MetadataMap::new();
        metadata.append("dir-name", "context".parse().unwrap());
        metadata.append("followpaths", "a%20b".parse().unwrap());
        metadata.append("exclude-patterns", "sm%C3%B8rrebr%C3%B8d+x".parse().unwrap());
        metadata.append("exclude-patterns", "100%25".parse().unwrap());
        metadata.append("exclude-patterns-encoded", "1".parse().unwrap());
        assert_eq!(
            Asked::read(&metadata).unwrap(),
            Asked {
                directory: "context".to_owned(),
                include: vec![],
                exclude: vec!["smørrebrød x".to_owned(), "100%".to_owned()],
                follow: vec!["a%20b".to_owned()],
            }
        );
    }

    #[test]
    fn a_pattern_that_an_engine_sends_raw_is_read_and_one_that_cannot_be_read_is_an_error() {
        let with = |value: &[u8]| {
            let mut metadata = MetadataMap::new().into_headers();
            metadata.append("exclude-patterns", hyper::header::HeaderValue::from_bytes(value).unwrap());
            Asked::read(&MetadataMap::from_headers(metadata))
        };
        assert_eq!(with("geheim/schlüssel.txt".as_bytes()).unwrap().exclude, ["geheim/schlüssel.txt"]);
        assert_eq!(with(b"schl\xfcssel").unwrap_err(), "`schl\u{fffd}ssel` of exclude-patterns is not UTF-8");
    }

    #[test]
    fn a_stat_has_gos_mode_bits_and_roots_ownership() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("tool");
        std::fs::write(&file, "12345").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::os::unix::fs::symlink("tool", root.path().join("link")).unwrap();
        std::fs::create_dir(root.path().join("dir")).unwrap();
        let mut stats = Vec::new();
        walk(root.path(), &Filter::default(), &mut |entry| {
            stats.push(stat(entry)?);
            Ok(())
        })
        .unwrap();
        let [directory, link, tool] = &stats[..] else { panic!("{stats:?}") };
        assert_ne!(directory.mode & (1 << 31), 0);
        assert_eq!((link.mode & (1 << 27), link.linkname.as_str(), link.size), (1 << 27, "tool", 0));
        assert_eq!((tool.mode, tool.size, tool.uid, tool.gid), (0o755 | 1 << 23, 5, 0, 0));
    }
}
