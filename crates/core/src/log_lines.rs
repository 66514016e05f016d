//! Lines of many containers as one log: which were told already, in which order, and by which name.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

/// The events of a group that were told, as far back as they are read again. An event is known by its stream and its id, so
/// that equal texts of one millisecond are as many as they are.
#[derive(Debug)]
pub struct Told {
    /// By timestamp, in milliseconds since the epoch: hashes of stream and id.
    by_time: BTreeMap<i64, Vec<u64>>,
    count: usize,
    most: usize,
    /// Nothing before is known any more.
    floor: i64,
}

impl Told {
    /// `most`: how many events are remembered, sixteen bytes each at least.
    pub fn new(most: usize) -> Self {
        Self { by_time: BTreeMap::new(), count: 0, most, floor: i64::MIN }
    }

    /// Whether it was not told before; it is from now on.
    pub fn is_new(&mut self, timestamp: i64, stream: &str, id: &str) -> bool {
        if timestamp < self.floor {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        (stream, id).hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.by_time.entry(timestamp).or_default();
        if known.contains(&hash) {
            return false;
        }
        known.push(hash);
        self.count += 1;
        while self.count > self.most && self.by_time.len() > 1 {
            let Some((oldest, gone)) = self.by_time.pop_first() else { break };
            self.count -= gone.len();
            self.floor = oldest + 1;
        }
        true
    }

    /// From when on the last `events` of them are, but no further back than `most_back` milliseconds before the newest, and
    /// never so far that what was told is not known any more. `None`: nothing was told.
    pub fn window(&self, events: usize, most_back: i64) -> Option<i64> {
        let newest = *self.by_time.last_key_value()?.0;
        let mut left = events;
        let mut from = newest;
        for (timestamp, known) in self.by_time.iter().rev() {
            if newest - timestamp > most_back || left == 0 {
                break;
            }
            from = *timestamp;
            left = left.saturating_sub(known.len());
        }
        Some(from.max(self.floor))
    }
}

/// Several lists that are sorted by time as one, in which equal times keep the order of the lists.
pub fn merged<T>(lists: Vec<Vec<T>>, timestamp: impl Fn(&T) -> i64) -> Vec<T> {
    let mut all: Vec<T> = lists.into_iter().flatten().collect();
    all.sort_by_key(timestamp);
    all
}

/// What a task is called in a log: the beginning of its id, as long as it takes to tell it from the others.
pub fn short_id<'a>(id: &'a str, others: impl Iterator<Item = &'a str> + Clone) -> &'a str {
    let is_alone = |length: &usize| {
        let beginning = id.get(..*length).unwrap_or(id);
        others.clone().all(|other| other == id || !other.starts_with(beginning))
    };
    let length = (4..=id.len()).find(is_alone).unwrap_or(id.len());
    id.get(..length).unwrap_or(id)
}

/// A text for a terminal: its colours stay, what else controls a terminal does not.
pub fn coloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let after = &rest[at + 2..];
        let length = after.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':');
        match length.filter(|length| after[*length..].starts_with('m')) {
            Some(length) => {
                out.push_str(&crate::markdown::stripped(&rest[..at]));
                out.push_str(&rest[at..at + 2 + length + 1]);
                rest = &after[length + 1..];
            }
            None => {
                // The whole sequence goes: it is looked at with what follows it, up to the next colour.
                let end = after.find("\u{1b}[").map_or(rest.len(), |next| at + 2 + next);
                out.push_str(&crate::markdown::stripped(&rest[..end]));
                rest = &rest[end..];
            }
        }
    }
    out.push_str(&crate::markdown::stripped(rest));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_once_and_equal_ones_are_as_many_as_they_are() {
        let mut told = Told::new(100);
        assert!(told.is_new(5, "a", "1") && told.is_new(5, "a", "2") && told.is_new(5, "b", "1"));
        assert!(!told.is_new(5, "a", "1") && !told.is_new(5, "a", "2"));
        assert!(told.is_new(3, "a", "0"), "late");
        assert!(!told.is_new(3, "a", "0"));
    }

    #[test]
    fn only_so_many_are_remembered_and_nothing_older_is_read_again() {
        let mut told = Told::new(1000);
        for at in 0..5000 {
            assert!(told.is_new(at, "a", &at.to_string()));
        }
        assert!(told.count <= 1000);
        let from = told.window(usize::MAX, i64::MAX / 2).unwrap();
        assert!(from >= 4000, "{from}");
        assert!((from..5000).all(|at| !told.is_new(at, "a", &at.to_string())));
    }

    #[test]
    fn a_window_is_a_number_of_events_or_a_time() {
        let mut told = Told::new(1000);
        assert_eq!(told.window(10, 100), None);
        for at in 0..100 {
            told.is_new(at * 10, "a", &at.to_string());
        }
        assert_eq!(told.window(5, 10_000), Some(950));
        assert_eq!(told.window(50, 100), Some(890));
        assert_eq!(told.window(5000, 10_000), Some(0));
    }

    #[test]
    fn a_task_is_called_by_as_much_of_its_id_as_tells_it_from_others() {
        let all = ["9c1e40", "9c1e77", "ab0000"];
        let short = |id| short_id(id, all.iter().copied());
        assert_eq!((short("9c1e40"), short("ab0000"), short("abc")), ("9c1e4", "ab00", "abc"));
    }

    #[test]
    fn a_terminal_gets_colours_and_nothing_that_moves_it() {
        let text = "\u{1b}[31mred\u{1b}[0m\u{1b}[2J\u{1b}]0;title\u{7} \u{1b}[1;32mgreen\u{1b}[m\u{8}!\u{1b}[";
        assert_eq!(coloured(text), "\u{1b}[31mred\u{1b}[0m \u{1b}[1;32mgreen\u{1b}[m!");
    }
}
