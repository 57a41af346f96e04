//! Where the body of an answer ends, and what of the bytes that came is body.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use httparse::Status;
use memchr::memchr_iter;

use super::{
    chunks::{Chunks, Next, there},
    head::{LINES, Malformed, headers},
};

/// Trailers at most, in bytes.
const TRAILERS: usize = 16 << 10;

/// How the end of a body is known, and how far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing more comes.
    #[default]
    Over,
    /// So many bytes more.
    Length(u64),
    /// By chunks (RFC 9112, 7.1), and what comes next of them.
    Chunked(Next),
    /// By the end of the connection.
    UntilClosed,
}

impl Framing {
    /// Takes what `buffer` has of the body; all chunks that are in it make one piece. `None` when more has to come first, or
    /// nothing does.
    ///
    /// # Errors
    /// When what came is no chunk; whatever came before it has been taken then.
    pub(super) fn take(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<Frame<Bytes>>, Malformed> {
        let data = match self {
            Self::Over => Bytes::new(),
            Self::Length(left) => {
                let length = there(buffer, *left);
                *left -= length as u64;
                let data = buffer.split_to(length).freeze();
                if *left == 0 {
                    *self = Self::Over;
                }
                data
            }
            Self::UntilClosed => buffer.split().freeze(),
            Self::Chunked(next) => {
                let (data, result) = Chunks::of(buffer, next);
                if data.is_empty() {
                    result?; // else it is found again
                }
                if *next == Next::Trailers {
                    if buffer.starts_with(b"\r\n") {
                        buffer.advance(2); // none, as nearly always: the end comes with the last piece
                        *self = Self::Over;
                    } else if data.is_empty() {
                        return self.take_trailers(buffer);
                    }
                }
                data
            }
        };
        Ok((!data.is_empty()).then(|| Frame::data(data)))
    }

    fn take_trailers(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        let Some(end) = blank_line(buffer, 0) else {
            return match buffer.len() > TRAILERS || has_bare_carriage_return(buffer) {
                true => Err(Malformed),
                false => Ok(None),
            };
        };
        *self = Self::Over;
        let trailers = buffer.split_to(end).freeze();
        if has_bare_line_feed(&trailers) {
            return Err(Malformed);
        }
        let mut lines = [httparse::EMPTY_HEADER; LINES];
        match httparse::parse_headers(&trailers, &mut lines) {
            Ok(Status::Complete((length, lines))) if length == end => {
                Ok(Some(Frame::trailers(headers(&trailers, lines)?)))
            }
            _ => Err(Malformed),
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When it was not to end yet.
    pub(super) fn close(&mut self) -> Result<(), Malformed> {
        match self {
            Self::Over | Self::UntilClosed => {
                *self = Self::Over;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Malformed),
        }
    }
}

/// Where the blank line ends that ends a block of lines, looked for behind `from`.
pub(super) fn blank_line(bytes: &[u8], from: usize) -> Option<usize> {
    let ends = |at: usize| match bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    };
    memchr_iter(b'\n', &bytes[from..]).find_map(|at| ends(from + at))
}

/// True when a line ends without a carriage return: some read on there, and some do not.
pub(super) fn has_bare_line_feed(lines: &[u8]) -> bool {
    let is_bare = |at: usize| at == 0 || lines[at - 1] != b'\r';
    memchr_iter(b'\n', lines).any(is_bare)
}

/// True when a carriage return is followed by something that is no line feed. A line that ends with one alone has no end for us.
pub(super) fn has_bare_carriage_return(lines: &[u8]) -> bool {
    let is_bare = |at: usize| lines.get(at + 1).is_some_and(|next| *next != b'\n');
    memchr_iter(b'\r', lines).any(is_bare)
}

#[cfg(test)]
mod tests {
    use super::{super::chunks::SIZE_LINE, *};

    const CHUNKED: Framing = Framing::Chunked(Next::Size);

    /// What is taken of `pieces`, each behind the one before; `!` where it fails, `.` where it is over.
    fn taken(mut framing: Framing, pieces: &[&str]) -> String {
        let mut buffer = BytesMut::new();
        let mut said = String::new();
        for piece in pieces {
            buffer.extend_from_slice(piece.as_bytes());
            loop {
                match framing.take(&mut buffer) {
                    Ok(Some(frame)) => match frame.into_data() {
                        Ok(data) => said += &format!("{}|", String::from_utf8_lossy(&data)),
                        Err(frame) => said += &format!("{:?}|", frame.trailers_ref().unwrap()),
                    },
                    Ok(None) => break,
                    Err(Malformed) => return said + "!",
                }
            }
        }
        if framing == Framing::Over {
            said += ".";
        }
        said + &String::from_utf8_lossy(&buffer)
    }

    #[test]
    fn a_length_is_taken_to_the_byte() {
        let five = Framing::Length(5);
        assert_eq!(taken(five, &["ab", "", "cdefg"]), "ab|cde|.fg");
        assert_eq!(taken(five, &["ab"]), "ab|");
        assert_eq!(taken(Framing::Over, &["ab"]), ".ab");
        assert_eq!(taken(Framing::UntilClosed, &["ab", "c"]), "ab|c|");
    }

    #[test]
    fn chunks_that_come_together_are_one_piece() {
        let burst = "1\r\na\r\n3;x=y\r\nbcd\r\n000A \r\n0123456789\r\n0\r\n\r\nnext";
        assert_eq!(taken(CHUNKED, &[burst]), "abcd0123456789|.next");
        let cut = [
            "2\r",
            "\nab",
            "\r\n1\r\nc\r",
            "\n5\r\ndef",
            "gh\r\n0\r\n\r",
            "\n",
        ];
        assert_eq!(taken(CHUNKED, &cut), "ab|c|def|gh|.");
        assert_eq!(taken(CHUNKED, &["0\r\n\r\n"]), ".");
    }

    #[test]
    fn trailers_come_behind_the_data() {
        let cut = ["1\r\na\r\n0\r\nx-s", "um: 7\r\nx: y\r\n\r\nnext"];
        assert_eq!(taken(CHUNKED, &cut), r#"a|{"x-sum": "7", "x": "y"}|.next"#);
    }

    #[test]
    fn what_is_no_chunk_fails_behind_what_is_one() {
        for bad in [
            "x",
            "-1\r\n",
            "\r\n",
            "1\n",
            "11111111111111111\r\n",
            "0\r\nx y: z\r\n\r\n",
        ] {
            let stream = format!("1\r\na\r\n{bad}");
            assert_eq!(taken(CHUNKED, &[&stream]), "a|!", "{bad}");
        }
        assert_eq!(taken(CHUNKED, &["1\r\nabc"]), "a|!");
        let long = "1;".to_owned() + &"x".repeat(SIZE_LINE);
        assert_eq!(taken(CHUNKED, &[&long]), "!");
        let many = "0\r\n".to_owned() + &"x: y\r\n".repeat(LINES + 1) + "\r\n";
        assert_eq!(taken(CHUNKED, &[&many]), "!");
        assert_eq!(taken(CHUNKED, &["1;a\nb\r\nc\r\n0\r\n\r\n"]), "!");
        assert_eq!(taken(CHUNKED, &["0\r\nx: y\n\r\n"]), "!");
        assert_eq!(taken(CHUNKED, &["0\r\nx: y\r", "x: z\r\r"]), "!");
        let large = "0\r\nx: ".to_owned() + &"y".repeat(TRAILERS);
        assert_eq!(taken(CHUNKED, &[&large]), "!");
    }

    #[test]
    fn only_a_body_without_an_end_of_its_own_ends_with_the_connection() {
        for (mut framing, may) in [
            (Framing::Over, true),
            (Framing::UntilClosed, true),
            (Framing::Length(1), false),
            (CHUNKED, false),
        ] {
            assert_eq!(framing.close().is_ok(), may, "{framing:?}");
        }
    }
}
