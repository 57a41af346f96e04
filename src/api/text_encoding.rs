//! The encoding of a body that should be text.

/// UTF-16 or UTF-32, when a JSON text is written in one of them (RFC 4627, 3): by a byte order mark, or by the zeros in its first
/// characters. Python's `json` reads them, and we do not.
pub fn wide_encoding(body: &[u8]) -> Option<&'static str> {
    let is_start = |byte: u8| matches!(byte, b'{' | b'[' | b'"' | b' ' | b'\t' | b'\r' | b'\n');
    match body {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [start, 0, 0, 0, ..] | [0, 0, 0, start, ..] if is_start(*start) => Some("UTF-32"),
        [start, 0, ..] | [0, start, ..] if is_start(*start) => Some("UTF-16"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_utf_16_and_utf_32_is_recognised_with_and_without_a_mark() {
        for json in ["{\"a\":1}", " \n{}", "\u{feff}{}"] {
            let units: Vec<u16> = json.encode_utf16().collect();
            let wide: Vec<u32> = json.chars().map(u32::from).collect();
            let as_bytes = [
                (
                    units
                        .iter()
                        .flat_map(|unit| unit.to_le_bytes())
                        .collect::<Vec<u8>>(),
                    Some("UTF-16"),
                ),
                (
                    units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
                    Some("UTF-16"),
                ),
                (
                    wide.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
                    Some("UTF-32"),
                ),
                (
                    wide.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
                    Some("UTF-32"),
                ),
                (json.as_bytes().to_vec(), None),
            ];
            for (body, encoding) in as_bytes {
                assert_eq!(wide_encoding(&body), encoding, "{body:?}");
            }
        }
        for body in [&b""[..], b"{", b"RIFF\0\0", b"\xff\xfb\x90", b"[1]"] {
            assert_eq!(wide_encoding(body), None, "{body:?}");
        }
    }
}
