//! The address of the client, as Envoy knows it.

use std::net::IpAddr;

use envoy_types::pb::{
    envoy::service::ext_proc::v3::ProcessingRequest, google::protobuf::value::Kind,
};

use crate::pipeline::parse_address;

/// The attribute that Envoy sends where its filter has `request_attributes: [source.address]`. Envoy takes it from its own
/// connection, or from `x-forwarded-for` where it is told to trust that.
const SOURCE_ADDRESS: &str = "source.address";

/// The `source.address` among the attributes of a message.
pub fn source_address(message: &ProcessingRequest) -> Option<IpAddr> {
    let mut filters = message.attributes.values();
    let value = filters.find_map(|filter| filter.fields.get(SOURCE_ADDRESS))?;
    match value.kind.as_ref()? {
        Kind::StringValue(text) => parse_address(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::google::protobuf::{Struct, Value};

    use super::*;

    #[test]
    fn the_source_address_is_read_with_its_port() {
        let message = |text: &str| {
            let kind = Some(Kind::StringValue(text.into()));
            let fields = [(SOURCE_ADDRESS.to_owned(), Value { kind })].into();
            let filter = "envoy.filters.http.ext_proc".to_owned();
            ProcessingRequest {
                attributes: [(filter, Struct { fields })].into(),
                ..ProcessingRequest::default()
            }
        };
        for (text, expected) in [
            ("192.0.2.7:4711", Some("192.0.2.7")),
            ("[2001:db8::7]:80", Some("2001:db8::7")),
            ("/tmp/socket", None),
        ] {
            let address = source_address(&message(text)).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected);
        }
        assert_eq!(source_address(&ProcessingRequest::default()), None);
    }
}
