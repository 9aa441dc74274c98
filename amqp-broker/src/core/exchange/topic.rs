//! The routing of topic exchanges: a trie of words, where `*` is one word and `#` any number of them.

use std::collections::BTreeMap;

use super::Destination;

/// A node of the trie, and the whole of it.
#[derive(Debug, Default)]
pub(super) struct Topics {
    next: BTreeMap<Box<[u8]>, Topics>,
    /// What the patterns that end here lead to.
    ends: Vec<Destination>,
}

fn words(key: &[u8]) -> Vec<&[u8]> {
    // The empty key has no words, as RabbitMQ sees it.
    if key.is_empty() { Vec::new() } else { key.split(|&byte| byte == b'.').collect() }
}

impl Topics {
    pub(super) fn insert(&mut self, pattern: &[u8], destination: Destination) {
        let mut node = self;
        for word in words(pattern) {
            node = node.next.entry(word.into()).or_default();
        }
        node.ends.push(destination);
    }

    pub(super) fn remove(&mut self, pattern: &[u8], destination: &Destination) {
        self.remove_words(&words(pattern), destination);
    }

    fn remove_words(&mut self, words: &[&[u8]], destination: &Destination) {
        let Some((word, rest)) = words.split_first() else {
            super::remove_one(&mut self.ends, |other| other == destination);
            return;
        };
        if let Some(node) = self.next.get_mut(*word) {
            node.remove_words(rest, destination);
            if node.ends.is_empty() && node.next.is_empty() {
                self.next.remove(*word);
            }
        }
    }

    pub(super) fn find<'a>(&'a self, key: &[u8], found: &mut impl FnMut(&'a Destination)) {
        self.find_words(&words(key), found);
    }

    /// A pattern with two `#` can match in more than one way; `found` is then called more than once.
    fn find_words<'a>(&'a self, words: &[&[u8]], found: &mut impl FnMut(&'a Destination)) {
        if let Some(node) = self.next.get(&b"#"[..]) {
            (0..=words.len()).for_each(|skipped| node.find_words(words.get(skipped..).unwrap_or_default(), found));
        }
        let Some((word, rest)) = words.split_first() else {
            return self.ends.iter().for_each(&mut *found);
        };
        for pattern in [*word, b"*"] {
            // `*` and `#` in a routing key are words like any other, and were looked for as such already.
            if pattern == b"*" && *word == b"*" || pattern == b"#" {
                continue;
            }
            if let Some(node) = self.next.get(pattern) {
                node.find_words(rest, found);
            }
        }
        if *word == b"*"
            && let Some(node) = self.next.get(&b"*"[..])
        {
            node.find_words(rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::name::Name;

    fn matches(pattern: &str, key: &str) -> bool {
        let mut topics = Topics::default();
        let destination = Destination::Exchange(Name::from("x"));
        topics.insert(pattern.as_bytes(), destination.clone());
        let mut found = false;
        topics.find(key.as_bytes(), &mut |_| found = true);
        topics.remove(pattern.as_bytes(), &destination);
        assert!(topics.next.is_empty() && topics.ends.is_empty());
        found
    }

    #[test]
    fn words_stars_and_hashes_match_as_in_rabbitmq() {
        let yes = [
            ("a.b", "a.b"),
            ("a.*", "a.b"),
            ("*", "a"),
            ("#", ""),
            ("#", "a.b.c"),
            ("a.#", "a"),
            ("a.#", "a.b.c"),
            ("#.c", "c"),
            ("#.c", "a.b.c"),
            ("a.#.c", "a.c"),
            ("a.#.c", "a.b.b.c"),
            ("*.#", "a"),
            ("", ""),
            ("#.#", "a"),
            ("a..b", "a..b"),
            ("a.*.b", "a..b"),
            ("*", "*"),
            ("#", "#"),
        ];
        for (pattern, key) in yes {
            assert!(matches(pattern, key), "{pattern} should match {key}");
        }
        let no = [
            ("a.*", "a"),
            ("a.*", "a.b.c"),
            ("*", ""),
            ("a", "b"),
            ("*.#", ""),
            ("a.#.c", "a.c.b"),
            ("", "a"),
            ("*", "a.b"),
        ];
        for (pattern, key) in no {
            assert!(!matches(pattern, key), "{pattern} should not match {key}");
        }
    }
}
