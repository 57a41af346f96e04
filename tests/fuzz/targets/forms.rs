//! Fuzzes the reader of multipart forms: its time must grow with the size only, and the field that it finds must be one that can be
//! renamed and found again.
#![no_main]

mod growth;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use thinkgate::api::{ModelField, form_boundary};

const TYPE: Option<&str> = Some("multipart/form-data; boundary=x");

fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    if let Ok(Some(named)) = ModelField::find(TYPE, &body) {
        assert!(!named.name.is_empty() && named.name.len() <= 512);
        let edited = named.rename(&body, "another").into_bytes();
        let again = ModelField::find(TYPE, &edited).expect("still one name");
        assert_eq!(again.expect("still a name").name, "another");
    }
    let find = |body: &[u8]| drop(ModelField::find(TYPE, &Bytes::copy_from_slice(body)));
    let part = b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
    for start in [&b""[..], b"--x", part] {
        growth::assert_linear(start, input, find);
    }
    // The head of the request may be as long as 400 KB.
    if let Ok(value) = std::str::from_utf8(input) {
        let read = |value: &[u8]| drop(std::str::from_utf8(value).map(form_boundary));
        growth::assert_linear(b"multipart/form-data; boundary=x", value.as_bytes(), read);
    }
});
