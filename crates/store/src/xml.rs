//! The few answers of S3 that are XML.

use roxmltree::{Document, Node};

/// Reads a document and hands its first element to `read`; `None` when it is none.
pub(crate) fn root<T>(body: &[u8], read: impl FnOnce(Node<'_, '_>) -> Option<T>) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    let document = Document::parse(text).ok()?;
    read(document.root_element())
}

/// Returns the text of a child element; empty when it has none.
pub(crate) fn text(node: Node<'_, '_>, name: &str) -> Option<String> {
    child(node, name).map(|child| child.text().unwrap_or_default().to_owned())
}

/// Returns a child element.
pub(crate) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.tag_name().name() == name)
}
