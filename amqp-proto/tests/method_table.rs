//! The table of methods: what the library says of itself against the text that is committed, and that against the
//! specification's XML where there is one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use amqp_proto::method::properties::PROPERTIES;
use amqp_proto::method::{Method, Sender, info_of, methods, name_of};
use common::method_table::{TABLE, TABLE_FILE};

/// The table as text, from the library's reflection.
fn rendered() -> String {
    let mut out = String::from(
        "# Methods: class and method, name, who sends it, sync or async, plain or content, replies, fields.\n\
         # A field in parentheses is reserved. Properties: name, type, bit of the property flags.\n",
    );
    for info in methods() {
        let sender = match info.sender {
            Sender::Client => "client",
            Sender::Server => "server",
            Sender::Both => "both",
        };
        let sync = if info.synchronous { "sync" } else { "async" };
        let content = if info.content { "content" } else { "plain" };
        let replies = if info.replies.is_empty() { "-".to_owned() } else { info.replies.join(",") };
        let (class_id, method_id, name) = (info.class_id, info.method_id, info.name);
        write!(out, "{class_id}.{method_id} {name} {sender} {sync} {content} {replies}").unwrap();
        for field in info.fields {
            let (name, wire_type) = (field.name, field.wire_type.name());
            if field.reserved { write!(out, " ({name}:{wire_type})") } else { write!(out, " {name}:{wire_type}") }
                .unwrap();
        }
        out.push('\n');
    }
    for property in PROPERTIES {
        let (name, wire_type, bit) = (property.name, property.wire_type.name(), property.flag.trailing_zeros());
        writeln!(out, "property {name} {wire_type} {bit}").unwrap();
    }
    out
}

#[test]
fn the_committed_table_is_the_librarys() {
    let rendered = rendered();
    if std::env::var_os("AMQP_UPDATE_METHOD_TABLE").is_some() {
        std::fs::write(TABLE_FILE, &rendered).unwrap();
        return;
    }
    for (number, (committed, ours)) in TABLE.lines().zip(rendered.lines()).enumerate() {
        assert_eq!(committed, ours, "line {} (AMQP_UPDATE_METHOD_TABLE=1 rewrites the table)", number + 1);
    }
    assert_eq!(TABLE, rendered);
}

#[test]
fn every_method_is_found_by_its_ids_and_named() {
    for info in methods() {
        assert_eq!(info_of(info.class_id, info.method_id), Some(info));
        assert_eq!(name_of(info.class_id, info.method_id), Some(info.name));
    }
    assert_eq!(name_of(0, 0), None);
    assert_eq!(methods().count(), 66);
}

#[test]
fn every_reply_is_a_method_of_the_same_class() {
    for info in methods() {
        for reply in info.replies {
            let found = methods().find(|other| other.name == *reply).unwrap();
            assert_eq!(found.class_id, info.class_id, "{reply}");
        }
    }
}

#[test]
fn a_decoded_method_knows_its_row() {
    let method = Method::decode(&[0, 60, 0, 11]).unwrap();
    assert_eq!((method.class_id(), method.method_id(), method.name()), (60, 11, "basic.qos-ok"));
}

/// What we say otherwise than the XML, and why.
const OURS: [(&str, &str); 5] = [
    // The XML lets both send these; only brokers do.
    ("connection.blocked", "sender"),
    ("connection.unblocked", "sender"),
    // The XML has these the wrong way round.
    ("connection.update-secret", "sender"),
    ("connection.update-secret-ok", "sender"),
    // The XML does not say what answers it, but there is recover-ok.
    ("basic.recover", "replies"),
];

/// What we have and the XML has not: of 0-8, and still answered by RabbitMQ.
const OURS_ALONE: [&str; 2] = ["access.request", "access.request-ok"];

#[test]
fn the_committed_table_is_the_specifications() {
    let Some(file) = std::env::var_os("AMQP_SPEC_XML") else {
        println!("not compared with the specification: AMQP_SPEC_XML names no file");
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let xml = roxmltree::Document::parse(&text).unwrap();
    let domains: BTreeMap<_, _> = elements(xml.root_element(), "domain")
        .map(|domain| (domain.attribute("name").unwrap(), domain.attribute("type").unwrap()))
        .collect();

    let mut theirs = Vec::new();
    for class in elements(xml.root_element(), "class") {
        for method in elements(class, "method") {
            theirs.push(check_method(class, method, &domains));
        }
    }
    let ours: Vec<_> =
        methods().map(|info| info.name).filter(|name| !theirs.iter().any(|other| other == name)).collect();
    assert_eq!(ours, OURS_ALONE);

    let basic = elements(xml.root_element(), "class").find(|class| class.attribute("name") == Some("basic")).unwrap();
    let fields: Vec<_> =
        elements(basic, "field").map(|field| (field_name(field), field_type(field, &domains))).collect();
    let properties = PROPERTIES.map(|property| (property.name.to_owned(), property.wire_type.name().to_owned()));
    assert_eq!(fields, properties);
}

/// Compares a method with ours, and gives its name.
fn check_method(
    class: roxmltree::Node<'_, '_>,
    method: roxmltree::Node<'_, '_>,
    domains: &BTreeMap<&str, &str>,
) -> String {
    let name_in_class = |node: roxmltree::Node<'_, '_>| {
        format!("{}.{}", class.attribute("name").unwrap(), node.attribute("name").unwrap())
    };
    let id = |node: roxmltree::Node<'_, '_>| node.attribute("index").unwrap().parse::<u16>().unwrap();
    let name = name_in_class(method);
    let info = info_of(id(class), id(method)).unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(info.name, name);

    let check = |what, equal: bool| {
        let ours = OURS.contains(&(&name, what));
        assert_eq!(equal, !ours, "{name}: {what} differs or is not ours any more: {info:?}");
    };
    // A chassis is who has to understand the method.
    let by = |who| elements(method, "chassis").any(|chassis| chassis.attribute("name") == Some(who));
    let sender = match (by("server"), by("client")) {
        (true, true) => Sender::Both,
        (true, false) => Sender::Client,
        _ => Sender::Server,
    };
    check("sender", info.sender == sender);
    check("sync", info.synchronous == method.has_attribute("synchronous"));
    check("content", info.content == method.has_attribute("content"));
    check("replies", info.replies == elements(method, "response").map(name_in_class).collect::<Vec<_>>());
    let theirs = elements(method, "field")
        .map(|field| (field_name(field), field_type(field, domains), field.has_attribute("reserved")));
    let ours =
        info.fields.iter().map(|field| (field.name.to_owned(), field.wire_type.name().to_owned(), field.reserved));
    check("fields", ours.eq(theirs));
    name
}

fn elements<'a, 'input>(
    node: roxmltree::Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = roxmltree::Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

/// Our name of a field.
fn field_name(field: roxmltree::Node<'_, '_>) -> String {
    match field.attribute("name").unwrap() {
        "type" => "kind".to_owned(),
        "no-wait" => "nowait".to_owned(),
        "reserved" => "cluster_id".to_owned(),
        name => name.replace('-', "_"),
    }
}

fn field_type(field: roxmltree::Node<'_, '_>, domains: &BTreeMap<&str, &str>) -> String {
    let name = field.attribute("type").or_else(|| field.attribute("domain")).unwrap();
    domains[name].to_owned()
}
