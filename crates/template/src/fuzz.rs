//! What reads users' templates, as a function of bytes, for the fuzzer.

use crate::{Data, Record, Template};

/// Any text is read or refused, and filled in or refused.
pub fn template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(template) = Template::parse(&text) else {
        return;
    };
    // How often a number's loop turns is its user's wish.
    if text.contains("range") {
        return;
    }
    let list = Data::List(vec!["A=1".into(), Data::Null]);
    let map = Data::Object(vec![("a".to_owned(), Data::Int(1))]);
    let row = Record::new("*T", vec![("Id", "x".into()), ("Env", list), ("Map", map)]);
    let row = Data::Record(row);
    let _ = template.render(&row);
    let _ = template.render_header(&row);
}
