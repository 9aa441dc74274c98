//! This crate offers what amqp-api does: the sources say so.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::{Path, PathBuf};

    type Methods = BTreeMap<String, BTreeSet<String>>;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn here() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    fn identifier(text: &str) -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    }

    /// The public methods of all types, by rustfmt's layout.
    fn inherent_methods(source: &str, methods: &mut Methods) {
        let mut of = None;
        for line in source.lines() {
            if let Some(name) = line.strip_prefix("impl ").filter(|rest| !rest.contains(" for ")) {
                of = Some(identifier(name));
            } else if line == "}" {
                of = None;
            }
            let method = line.strip_prefix("    pub fn ").or_else(|| line.strip_prefix("    pub async fn "));
            if let (Some(of), Some(method)) = (&of, method) {
                methods.entry(of.clone()).or_default().insert(identifier(method));
            }
        }
    }

    fn of_amqp_api() -> Methods {
        fn walk(folder: &Path, methods: &mut Methods) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, methods);
                } else {
                    inherent_methods(&read(&path), methods);
                }
            }
        }
        let mut methods = Methods::new();
        walk(&here().join("../amqp-api/src"), &mut methods);
        methods
    }

    fn of_this_crate() -> Methods {
        let mut methods = Methods::new();
        let mut of = None;
        let lists = ["src/methods.rs", "src/methods_json.rs"].map(|list| read(&here().join(list)));
        for line in lists.iter().flat_map(|list| list.lines()) {
            if let Some(name) = line.strip_prefix("    ").and_then(|line| line.strip_suffix(" {"))
                && identifier(name) == name
            {
                of = Some(name.to_owned());
            }
            let method = line.trim().strip_prefix('[').and_then(|line| line.split_once("] fn "));
            if let (Some(of), Some((_, method))) = (&of, method) {
                methods.entry(of.clone()).or_default().insert(identifier(method));
            }
        }
        for file in ["src/above.rs", "src/handles.rs"] {
            inherent_methods(&read(&here().join(file)), &mut methods);
        }
        // By the trait `Iterator`, which is always in scope.
        for iterator in ["Consumer", "Events", "Returns", "StreamedConsumer"] {
            let of = methods.get_mut(iterator).unwrap();
            assert!(of.insert("next".to_owned()));
        }
        methods
    }

    #[test]
    fn every_handle_has_the_methods_of_amqp_api() {
        let (theirs, ours) = (of_amqp_api(), of_this_crate());
        assert_eq!(ours.len(), 19, "{:?}", ours.keys());
        assert!(ours.values().map(BTreeSet::len).sum::<usize>() > 50, "the list was not read");
        for (handle, methods) in &ours {
            assert_eq!(theirs.get(handle), Some(methods), "{handle}");
        }
    }

    /// The names after `pub use` in the root of a crate.
    fn exported(path: &str) -> BTreeSet<String> {
        let source = read(&here().join(path));
        let uses = source.split("\npub use ").skip(1).map(|rest| rest.split_once(';').expect("its end").0);
        let names = uses.flat_map(|list| list.split(|c: char| !c.is_alphanumeric() && c != '_'));
        names.filter(|name| name.starts_with(char::is_uppercase)).map(str::to_owned).collect()
    }

    #[test]
    fn every_type_of_amqp_api_is_here_but_the_one_that_is_awaited() {
        let mut ours = exported("src/lib.rs");
        assert!(ours.insert("Call".to_owned()));
        assert_eq!(ours, exported("../amqp-api/src/lib.rs"));
    }

    /// Nothing that is re-exported as it is has a method that waits.
    #[test]
    fn what_waits_is_wrapped() {
        let ours = of_this_crate();
        let folder = here().join("../amqp-api/src");
        for file in ["content.rs", "delivery.rs", "message.rs", "connect.rs"] {
            let source = read(&folder.join(file));
            assert!(!source.contains("pub async fn ") && !source.contains("-> Call<"), "{file}");
        }
        for (handle, methods) in of_amqp_api() {
            if methods.contains("next") || methods.contains("publish") || methods.contains("close") {
                assert!(ours.contains_key(&handle), "{handle}");
            }
        }
    }
}
