//! The committed table of methods, read without the library.

/// Where it stands.
pub(crate) const TABLE_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/method-table.txt");

/// What stands there.
pub(crate) const TABLE: &str = include_str!("../data/method-table.txt");

/// A method of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) class_id: u16,
    pub(crate) method_id: u16,
    pub(crate) name: &'static str,
    pub(crate) fields: Vec<Field>,
}

/// A field of a method, or a property.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) wire_type: &'static str,
    pub(crate) reserved: bool,
}

/// The methods.
pub(crate) fn rows() -> Vec<Row> {
    lines().filter(|words| words[0] != "property").map(|words| row(&words)).collect()
}

/// The properties, with their bits.
pub(crate) fn properties() -> Vec<(Field, u32)> {
    lines()
        .filter(|words| words[0] == "property")
        .map(|words| (Field { name: words[1], wire_type: words[2], reserved: false }, words[3].parse().unwrap()))
        .collect()
}

fn lines() -> impl Iterator<Item = Vec<&'static str>> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

fn row(words: &[&'static str]) -> Row {
    let (class_id, method_id) = words[0].split_once('.').unwrap();
    Row {
        class_id: class_id.parse().unwrap(),
        method_id: method_id.parse().unwrap(),
        name: words[1],
        fields: words[6..].iter().map(|word| field(word)).collect(),
    }
}

fn field(word: &'static str) -> Field {
    let inner = word.trim_start_matches('(').trim_end_matches(')');
    let (name, wire_type) = inner.split_once(':').unwrap();
    Field { name, wire_type, reserved: inner != word }
}
