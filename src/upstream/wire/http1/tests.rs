//! What is read of answers, whatever pieces they come in.

use std::future::poll_fn;

use futures_util::FutureExt;
use http::Method;
use proptest::prelude::*;

use super::{AnswerReader, Malformed};

/// What an answer says, in short: status, headers, trailers and body, and how it ended. It comes in pieces of these lengths, again
/// and again.
fn read(stream: &[u8], lengths: &[usize], method: &Method) -> String {
    let mut reader = AnswerReader::default();
    let (mut rest, mut lengths) = (stream, lengths.iter().cycle());
    let mut comes = |reader: &mut AnswerReader| {
        let length = lengths.next().map_or(0, |length| rest.len().min(*length));
        let mut piece = rest.split_off(..length).unwrap();
        while !piece.is_empty() {
            let filled = poll_fn(|cx| reader.poll_fill(&mut piece, cx));
            assert!(filled.now_or_never().unwrap().unwrap() > 0);
        }
        length > 0
    };
    let head = loop {
        match reader.head(method) {
            Ok(Some(head)) => break head,
            Ok(None) if comes(&mut reader) => {}
            Ok(None) => return "no head".into(),
            Err(Malformed) => return "malformed".into(),
        }
    };
    let (status, headers, keeps) = (head.status.as_u16(), head.headers, head.keeps);
    let mut said = format!("{status} {headers:?} keeps={keeps}");
    let mut body = Vec::new();
    let end = loop {
        match reader.frame() {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(trailers) => said += &format!(" {:?}", trailers.trailers_ref()),
            },
            Ok(None) if reader.is_over() => break "whole",
            Ok(None) if comes(&mut reader) => {}
            Ok(None) if reader.close().is_ok() => break "whole",
            Ok(None) => break "cut",
            Err(Malformed) => break "malformed",
        }
    };
    format!("{said} {:?} {end}", String::from_utf8_lossy(&body))
}

fn read_at_once(stream: &str) -> String {
    read(stream.as_bytes(), &[usize::MAX], &Method::POST)
}

#[test]
fn the_end_of_a_body_is_known_by_its_head() {
    for (head, body, said) in [
        ("content-length: 2", "abc", r#""ab" whole"#),
        ("content-length: 2", "a", r#""a" cut"#),
        ("content-length: 2, 2", "ab", r#""ab" whole"#),
        ("content-length: 0", "ab", r#""" whole"#),
        (
            "transfer-encoding: Chunked",
            "1\r\na\r\n0\r\n\r\n",
            r#""a" whole"#,
        ),
        (
            "transfer-encoding: chunked",
            "1\r\na\r\n0\r\n",
            r#""a" cut"#,
        ),
        (
            "transfer-encoding: identity\r\ncontent-length: 2",
            "abc",
            r#""ab" whole"#,
        ),
        ("x: y", "abc", r#""abc" whole"#),
    ] {
        let read = read_at_once(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}"));
        assert!(read.ends_with(said), "{head}: {read}");
    }
}

#[test]
fn what_is_no_answer_or_more_than_one_is_malformed() {
    for head in [
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2, 3",
        "content-length: +2",
        "content-length: -2",
        "content-length:",
        "content-length: 99999999999999999999",
        "content-length: \u{e4}",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: \u{e4}",
        "x: a\r\n b",
        "x y: a",
        "x: a\0b",
    ] {
        let read = read_at_once(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
        assert_eq!(read, "malformed", "{head}");
    }
    for whole in [
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "SSH-2.0-OpenSSH",
        "\rHTTP/1.1 200 OK\r\n\r\n",
        "\n\r\rHTTP/1.1 200 OK\r\n\r\n",
        " \r\nHTTP/1.1 200 OK\r\n\r\n",
        "\u{15}",
        // A head whose lines end in a carriage return alone never ends; it is known at its second byte.
        "HTTP/1.1 200 OK\rcontent-length: 2\r\r{}",
        "HTTP/1.1 200 OK\rx",
        "HTTP/1.1 200 OK\r\r\n",
    ] {
        assert_eq!(read_at_once(whole), "malformed", "{whole}");
    }
    let head = |lines: &str| read_at_once(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    assert!(head(&"x: y\r\n".repeat(100)).starts_with("200"));
    assert_eq!(head(&"x: y\r\n".repeat(101)), "malformed");
    assert!(head(&format!("x: {}\r\n", "y".repeat(400_000))).starts_with("200"));
    assert_eq!(
        head(&format!("x: {}\r\n", "y".repeat(410_000))),
        "malformed"
    );
}

#[test]
fn whether_a_connection_is_kept_is_the_servers_to_say() {
    for (head, keeps) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0", true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x, Close",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x\r\nconnection: close",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close, keep-alive",
            false,
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0", false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive",
            true,
        ),
        ("HTTP/1.1 200 OK", false),
        ("HTTP/1.1 204 No Content", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 0",
            false,
        ),
    ] {
        let read = read_at_once(&format!("{head}\r\n\r\n"));
        assert!(read.contains(&format!("keeps={keeps}")), "{head}: {read}");
    }
}

#[test]
fn some_answers_have_no_body_whatever_they_say_of_it() {
    let told = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\nabcde");
    for (status, method) in [
        ("204 No Content", Method::POST),
        ("304 Not Modified", Method::GET),
        ("200 OK", Method::HEAD),
    ] {
        let read = read(told(status).as_bytes(), &[usize::MAX], &method);
        assert!(
            read.ends_with(r#"{"content-length": "5"} keeps=true "" whole"#),
            "{read}"
        );
    }
    let interim = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{}",
        told("200 OK")
    );
    assert_eq!(read_at_once(&interim), read_at_once(&told("200 OK")));
}

#[test]
fn blank_lines_before_an_answer_are_skipped() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na";
    for before in [
        "\r\n",
        "\n\r\n\n",
        "\r\nHTTP/1.1 103 Early Hints\r\n\r\n\r\n",
    ] {
        let late = format!("{before}{answer}");
        assert_eq!(read_at_once(&late), read_at_once(answer), "{before:?}");
        assert_eq!(
            read(late.as_bytes(), &[1], &Method::POST),
            read_at_once(answer),
            "{before:?} in single bytes"
        );
    }
    assert_eq!(read_at_once("\r\n\r"), "no head");
}

/// Parts that answers are made of, right ones and wrong ones.
fn streams() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200\r\n",
        "HTTP/1.1 100 C\r\n\r\n",
        "HTTP/1.1 204 N\r\n",
        "content-length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "connection: close\r\n",
        "x: y\r\n",
        "x: y\n",
        "\r\n",
        "\n",
        "\r",
        "3\r\nabc\r\n",
        "1;a=b\r\nd\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "A\r\n0123456789",
        "abc",
        ":",
        " ",
    ]);
    let parts = prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat());
    (any::<bool>(), parts).prop_map(|(begins, parts)| match begins {
        true => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{parts}"),
        false => parts,
    })
}

proptest! {
    #[test]
    fn what_is_read_does_not_depend_on_how_it_came(stream in streams(), lengths in prop::collection::vec(1usize..20, 1..5)) {
        prop_assert_eq!(read(stream.as_bytes(), &lengths, &Method::POST), read_at_once(&stream));
    }
}
