//! The methods that wait, read off this crate's sources by rustfmt's layout.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// `Type::method` for each public method that is async or gives a future, and `Type::await` for each type that is one.
/// The driver is no part of the handles, and a `Call` is what the methods give.
pub(super) fn methods_that_wait() -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut methods);
    assert!(methods.remove("Call::await") && methods.len() > 30, "the sources were read: {methods:?}");
    methods
}

fn read_folder(folder: &Path, methods: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_apart = ["driver", "fuzzing"].iter().any(|apart| path.ends_with(apart));
        let is_left_out = is_apart || (path.ends_with("tasks") && !cfg!(feature = "json"));
        if path.is_dir() && !is_left_out {
            read_folder(&path, methods);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(&fs::read_to_string(&path).unwrap(), methods);
        }
    }
}

fn read(source: &str, methods: &mut BTreeSet<String>) {
    let mut of = None;
    let mut signature: Option<String> = None;
    for line in source.lines() {
        if let Some(head) = line.strip_prefix("impl") {
            let (of_trait, name) = head.split_once(" for ").unwrap_or(("", after_generics(head)));
            if of_trait.ends_with(" Future") || of_trait.ends_with(" IntoFuture") {
                methods.insert(format!("{}::await", identifier(name)));
            }
            of = of_trait.is_empty().then(|| identifier(name));
        } else if line == "}" {
            of = None;
        }
        let Some(of) = &of else { continue };
        if line.starts_with("    pub fn ") || line.starts_with("    pub async fn ") {
            signature = Some(String::new());
        }
        if let Some(text) = &mut signature {
            text.push_str(line.trim());
            if line.ends_with('{') {
                let name = text.split_once("fn ").map(|(_, rest)| identifier(rest)).unwrap();
                if waits(text) {
                    methods.insert(format!("{of}::{name}"));
                }
                signature = None;
            }
        }
    }
}

fn waits(signature: &str) -> bool {
    let gives = signature.rsplit_once("-> ").map_or("", |(_, output)| output);
    signature.contains("async fn ")
        || ["Call<", "impl Future", "impl IntoFuture", "BoxFuture<"].iter().any(|future| gives.contains(future))
}

/// What follows the parameters of an `impl`.
fn after_generics(head: &str) -> &str {
    match head.split_once("> ") {
        Some((parameters, name)) if parameters.starts_with('<') => name,
        _ => head.trim_start(),
    }
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
