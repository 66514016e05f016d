//! YAML, and JSON as part of it, read by events: a scalar's text is what the file says, and no reader's idea of a number.

use crate::tree::{Document, Key, Node, Place, Value};
use granit_parser::{Event, Marker, Parser, ScalarStyle};
use std::collections::BTreeMap;

const MOST_DEPTH: usize = 64;
/// Counted with what aliases repeat: a few lines can stand for billions.
const MOST_NODES: usize = 100_000;

/// A collection that is being read.
struct Open {
    node: Node,
    anchor: usize,
    /// Of a mapping: the key whose value comes next.
    key: Option<Key>,
}

struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    twice: Vec<Key>,
    root: Option<Node>,
}

/// Reads the first document of a file.
///
/// # Errors
/// Where, and why it cannot be read.
pub(crate) fn parse(source: &str) -> Result<Document, (Place, String)> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut builder = Builder { open: vec![], anchors: BTreeMap::new(), nodes: 0, twice: vec![], root: None };
    for event in Parser::new_from_str(source) {
        let (event, span) =
            event.map_err(|e| (place(e.marker()), e.info().lines().next().unwrap_or_default().to_owned()))?;
        let at = place(&span.start);
        builder.take(event, at).map_err(|why| (at, why))?;
        if builder.root.is_some() {
            break;
        }
    }
    let root = builder.root.unwrap_or_else(|| Node::null(Place { line: 1, column: 1 }));
    Ok(Document { root, twice: builder.twice })
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_null =
                    style == ScalarStyle::Plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let node = if is_null { Node::null(at) } else { Node::scalar(at, text) };
                self.close(node, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Value::List(vec![]), anchor, at),
            Event::MappingStart(_, anchor, _) => self.begin(Value::Map(vec![]), anchor, at),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.close(merged(open.node), open.anchor),
                None => Ok(()),
            },
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned().ok_or("an alias refers to itself")?;
                let (nodes, depth) = measure(&node);
                self.nodes += nodes;
                if self.open.len() + depth > MOST_DEPTH {
                    return Err("it is nested too deeply".to_owned());
                }
                self.close(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, value: Value, anchor: usize, at: Place) -> Result<(), String> {
        if self.open.len() >= MOST_DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        self.open.push(Open { node: Node { place: at, value }, anchor, key: None });
        Ok(())
    }

    fn close(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err("it is too large, or its aliases repeat too much".to_owned());
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), None) => {
                let text = match &node.value {
                    Value::Scalar(scalar) => scalar.text.clone(),
                    Value::Null => "null".to_owned(),
                    _ => return Err("a key is no text".to_owned()),
                };
                open.key = Some(Key { place: node.place, text });
            }
            (Value::Map(entries), Some(key)) => {
                if key.text != "<<"
                    && let Some(index) = entries.iter().position(|(k, _)| k.text == key.text)
                {
                    self.twice.push(key.clone());
                    entries.remove(index);
                }
                entries.push((key, node));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Merge keys (`<<: *base`, or a list of them): what stands in the mapping itself wins, then the earlier of the list.
fn merged(mut node: Node) -> Node {
    let Value::Map(entries) = &mut node.value else { return node };
    let mut own = vec![];
    let mut bases = vec![];
    for (key, value) in std::mem::take(entries) {
        match (key.text.as_str(), value.value) {
            ("<<", Value::Map(base)) => bases.push(base),
            ("<<", Value::List(list)) => bases.extend(list.into_iter().filter_map(|item| match item.value {
                Value::Map(base) => Some(base),
                _ => None,
            })),
            (_, other) => own.push((key, Node { place: value.place, value: other })),
        }
    }
    for (key, value) in bases.into_iter().flatten() {
        if !own.iter().any(|(known, _)| known.text == key.text) {
            own.push((key, value));
        }
    }
    node.value = Value::Map(own);
    node
}

/// Nodes and depth. What was built is of bounded depth, so this ends.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<_> = match &node.value {
        Value::List(items) => items.iter().map(measure).collect(),
        Value::Map(entries) => entries.iter().map(|(_, value)| measure(value)).collect(),
        _ => vec![],
    };
    children.into_iter().fold((1, 1), |(nodes, depth), (n, d)| (nodes + n, depth.max(d + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Node {
        parse(text).unwrap().root
    }

    #[test]
    fn a_scalar_is_what_the_file_says() {
        let root = root("python: 3.10\nmode: 0755\nport: 22:22\nyes: yes\nnothing: ~\ntext: '~'\n");
        let text = |key: &str| root.text_of(key).map(str::to_owned);
        assert_eq!(text("python").as_deref(), Some("3.10"));
        assert_eq!(text("mode").as_deref(), Some("0755"));
        assert_eq!(text("port").as_deref(), Some("22:22"));
        assert_eq!(text("yes").as_deref(), Some("yes"));
        assert!(root.get("nothing").unwrap().is_null());
        assert_eq!(text("text").as_deref(), Some("~"));
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved_and_the_mapping_itself_wins() {
        let root = root("a: &a {x: 1, y: 2}\nb: &b {x: 3, z: 4}\nc: {<<: [*a, *b], y: 5}\n");
        let c = root.get("c").unwrap();
        let all: Vec<_> = c.entries().iter().map(|(k, v)| format!("{}={}", k.text, v.text().unwrap())).collect();
        assert_eq!(all, ["y=5", "x=1", "z=4"]);
    }

    #[test]
    fn json_with_tabs_and_a_key_twice_is_read_and_the_last_one_counts() {
        let document = parse("{\n\t\"stack\": \"a\",\n\t\"list\": [1, true, null],\n\t\"stack\": \"b\"\n}\n").unwrap();
        assert_eq!(document.root.text_of("stack"), Some("b"));
        assert_eq!(document.root.get("list").unwrap().texts(), ["1", "true"]);
        assert_eq!(document.twice[0].place, Place { line: 4, column: 2 });
    }

    #[test]
    fn what_repeats_itself_without_end_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = level - 1;
            text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", "));
        }
        assert!(parse(&text).unwrap_err().1.contains("too large"));
        assert!(parse(&"[".repeat(5000)).is_err());
        let chain: String = (1..200).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
        assert!(parse(&format!("a0: &a0 [x]\n{chain}")).unwrap_err().1.contains("nested"));
    }

    #[test]
    fn a_mistake_has_its_place() {
        let (at, _) = parse("services:\n  web: [\n").unwrap_err();
        assert!(at.line >= 2, "{at:?}");
    }
}
