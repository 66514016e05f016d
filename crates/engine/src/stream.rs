//! The Engine's progress streams: JSON objects, one a line, cut anywhere by the transport.

use serde_json::Value;

/// Collects bytes and gives out whole objects.
#[derive(Debug, Default)]
pub(super) struct JsonLines {
    pending: Vec<u8>,
}

impl JsonLines {
    /// Takes a chunk; returns the objects that it completed.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Value> {
        self.pending.extend_from_slice(chunk);
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end + 1);
        let whole = std::mem::replace(&mut self.pending, rest);
        objects(&whole)
    }

    /// The last object, if the stream ended without a line feed.
    pub fn finish(self) -> Vec<Value> {
        objects(&self.pending)
    }
}

/// An error inside a stream whose HTTP status said 200.
pub(super) fn stream_error(object: &Value) -> Option<&str> {
    object["errorDetail"]["message"].as_str().or_else(|| object["error"].as_str())
}

/// Line by line, so that one which is not JSON takes no other with it, however the transport cuts them.
fn objects(lines: &[u8]) -> Vec<Value> {
    let whole = |line| serde_json::Deserializer::from_slice(line).into_iter().map_while(Result::ok);
    lines.split(|byte| *byte == b'\n').flat_map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_whole_however_the_transport_cuts_them() {
        let text = "{\"stream\":\"Step 1/2\"}\r\n{\"aux\":{\"ID\":\"sha256:ab\"}}\r\n{\"stream\":\"é\"}";
        for size in 1..text.len() {
            let mut lines = JsonLines::default();
            let mut seen = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                seen.extend(lines.push(chunk));
            }
            seen.extend(lines.finish());
            assert_eq!(seen.len(), 3, "in chunks of {size}");
            assert_eq!(seen[1]["aux"]["ID"], "sha256:ab");
            assert_eq!(seen[2]["stream"], "é");
        }
    }

    fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Value> {
        let mut lines = JsonLines::default();
        let mut seen: Vec<_> = chunks.flat_map(|chunk| lines.push(chunk)).collect();
        seen.extend(lines.finish());
        seen
    }

    mod fuzzed {
        use super::*;
        use test_support::fuzz;
        use test_support::proptest::prelude::*;
        use test_support::proptest::sample::select;

        #[test]
        fn any_bytes_give_the_same_events_however_they_are_cut() {
            let pieces: Vec<&[u8]> = vec![
                b"{\"stream\":\"Step 1/2\"}",
                b"{\"id\":\"moby.buildkit.trace\",\"aux\":\"Cg==\"}",
                b"\n",
                b"\r\n",
                b"\n\n",
                b"{",
                b"null",
                b"\"\\u12",
                b"\xff\xfe",
                b"proxy error",
                b"{\"error\":\"x\"}\n",
                b"[1e999]",
            ];
            fuzz(3000, (prop::collection::vec(select(pieces), 0..12), 1..10_usize), |(pieces, size)| {
                let bytes = pieces.concat();
                let whole = read(std::iter::once(bytes.as_slice()));
                assert_eq!(read(bytes.chunks(size)), whole, "in chunks of {size}");
                for object in &whole {
                    stream_error(object);
                }
            });
        }
    }

    #[test]
    fn a_line_that_is_not_json_takes_no_other_with_it() {
        let text: &[u8] = b"{\"stream\":\"a\"}\nproxy error\n{\"error\":\"b\"}\n";
        assert_eq!(read(std::iter::once(text)).len(), 2);
    }

    #[test]
    fn an_error_inside_a_stream_is_found_in_both_its_spellings() {
        let old = serde_json::json!({"error": "denied", "errorDetail": {"message": "denied: no"}});
        assert_eq!(stream_error(&old), Some("denied: no"));
        assert_eq!(stream_error(&serde_json::json!({"error": "denied"})), Some("denied"));
        assert_eq!(stream_error(&serde_json::json!({"status": "Pushing"})), None);
    }
}
