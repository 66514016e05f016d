//! TOML as the same tree. Numbers keep the text of the file: `8_080` is the port 8080.

use crate::tree::{Document, Key, Node, Place, Value};
use toml_span::value::{Key as TomlKey, ValueInner};

/// # Errors
/// Where, and why it cannot be read.
pub(crate) fn parse(source: &str) -> Result<Document, (Place, String)> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    // The reader recurses: what is nested deeper than anybody writes is not given to it.
    if nesting(source) > 64 {
        return Err((Place { line: 1, column: 1 }, "it is nested too deeply".to_owned()));
    }
    let value = toml_span::parse(source).map_err(|e| (place(source, e.span.start), e.to_string()))?;
    Ok(Document { root: node(value, source), twice: vec![] })
}

fn nesting(source: &str) -> usize {
    let mut depth = 0_usize;
    let mut most = 0;
    for c in source.chars() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    let dots = source.lines().map(|line| line.matches('.').count()).max().unwrap_or_default();
    if dots > 1000 { usize::MAX } else { most }
}

fn node(mut value: toml_span::Value<'_>, source: &str) -> Node {
    let (start, end) = (value.span.start, value.span.end);
    let at = place(source, start);
    let written = || source.get(start..end).unwrap_or_default().trim().replace('_', "");
    let value = match value.take() {
        ValueInner::String(text) => return Node::scalar(at, text),
        ValueInner::Integer(_) | ValueInner::Float(_) => return Node::scalar(at, written()),
        ValueInner::Boolean(is_true) => return Node::scalar(at, is_true.to_string()),
        ValueInner::Array(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        ValueInner::Table(table) => {
            let mut entries: Vec<(TomlKey<'_>, _)> = table.into_iter().collect();
            entries.sort_by_key(|(key, _)| key.span.start);
            let entries = entries.into_iter().map(|(key, value)| {
                let key = Key { place: place(source, key.span.start), text: key.name.into_owned() };
                (key, node(value, source))
            });
            Value::Map(entries.collect())
        }
    };
    Node { place: at, value }
}

fn place(source: &str, offset: usize) -> Place {
    let before = source.get(..offset).unwrap_or_default();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line: before.matches('\n').count() + 1, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_tables_keep_what_they_say() {
        let root =
            parse("app = 'x'\nprocesses = []\n[[services]]\ninternal_port = 8_080\nratio = 1.50\n[env]\nON = true\n")
                .unwrap()
                .root;
        let service = &root.get("services").unwrap().items()[0];
        assert_eq!(service.text_of("internal_port"), Some("8080"));
        assert_eq!(service.text_of("ratio"), Some("1.50"));
        assert_eq!(root.at(&["env", "ON"]).unwrap().text(), Some("true"));
        assert_eq!(service.get("internal_port").unwrap().place, Place { line: 4, column: 17 });
        assert!(parse("a = [").is_err());
    }
}
