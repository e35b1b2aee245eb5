//! CloudEvents 1.0 in JSON, structured: the attributes around the event as OCSF has it. Pure.

use serde_json::{Value, json};

use crate::event::Event;
use crate::ocsf;
use crate::text::time;

/// Returns an event as a CloudEvent.
pub(crate) fn event(event: &Event<'_>) -> Value {
    let mut object = json!({
        "specversion": "1.0",
        "id": event.id(),
        "source": format!("urn:wardline:{}", event.origin),
        "type": format!("wardline.{}.v1", event.record().kind.name()),
        "time": time(event.record().at),
        "datacontenttype": "application/json",
        "dataschema": format!("https://schema.ocsf.io/{}/", ocsf::VERSION),
        "data": ocsf::event(event),
    });
    if let (Some(resource), Some(fields)) = (event.record().resource.as_deref(), object.as_object_mut()) {
        fields.insert("subject".to_owned(), json!(crate::text::shown(resource)));
    }
    object
}
