//! Time and memory of every reader of a client's bytes against their number, from 1 KB to 32 MB: straight lines, and at most three
//! times the body.
//!
//! ```text
//! cargo bench --bench readers [-- NAME]
//! ```
//!
//! Time is that of the processor, so that other programs do not count. Memory is what the process holds at most while it reads, the
//! body included, over the body. Linux only: it asks `/proc`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench that cannot go on should say where it stopped"
)]

use std::{env, fs, hint::black_box, process, process::Command, time::Duration};

use bytes::Bytes;
use thinkgate::{
    api::{ChatRequest, ModelField, SseScanner},
    classifier::Classification,
    config::Routing,
    routing::{Conversation, Policy},
};

const SIZES: [usize; 6] = [1 << 10, 32 << 10, 256 << 10, 2 << 20, 8 << 20, 32 << 20];

/// A body of about so many bytes, and what reads it.
type Reader = (&'static str, fn(usize) -> String, fn(Bytes));

const READERS: [Reader; 14] = [
    (
        "chat, one text",
        |size| chat(&format!("\"{}\"", "word ".repeat(size / 5))),
        decide,
    ),
    (
        "chat, escaped",
        |size| chat(&format!("\"{}\"", "\\u00e9".repeat(size / 6))),
        decide,
    ),
    (
        "chat, messages",
        |size| messages("{\"role\":\"user\",\"content\":\"a question\"}", size),
        decide,
    ),
    (
        "chat, parts",
        |size| chat(&list("{\"type\":\"text\",\"text\":\"a\"}", size)),
        decide,
    ),
    (
        "chat, variables",
        |size| fields("chat_template_kwargs", size, 1_000),
        decide,
    ),
    ("chat, numbers", |size| field("x", &list("1", size)), decide),
    (
        "chat, nested",
        |size| field("x", &("[".repeat(size / 2) + &"]".repeat(size / 2))),
        decide,
    ),
    (
        "refused: messages",
        |size| messages("{\"role\":\"\"}", size),
        decide,
    ),
    ("refused: parts", |size| chat(&list("\"\"", size)), decide),
    (
        "refused: variables",
        |size| fields("chat_template_kwargs", size, usize::MAX),
        decide,
    ),
    (
        "explain, turns",
        |size| messages("{\"role\":\"user\",\"content\":\"hi\"}", size),
        explain,
    ),
    (
        "unjudged",
        |size| field("input", &list("\"a text\"", size)),
        |body| find(None, &body),
    ),
    ("multipart", upload, |body| {
        find(Some("multipart/form-data; boundary=x"), &body)
    }),
    ("event stream", |size| events(size), scan),
];

/// Tells glibc to give every larger block back to the system when it is freed, so that what is held can be seen.
const BLOCKS: &str = "MALLOC_MMAP_THRESHOLD_";

fn main() {
    if env::var_os(BLOCKS).is_none() {
        let again = Command::new(env::current_exe().unwrap())
            .args(env::args_os().skip(1))
            .env(BLOCKS, "65536")
            .status();
        process::exit(again.unwrap().code().unwrap_or(1));
    }
    let wanted = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    print!("{:<20}", "");
    SIZES.iter().for_each(|size| print!("{:>17}", shown(*size)));
    println!();
    for (name, make, read) in READERS {
        if wanted
            .as_ref()
            .is_some_and(|wanted| !name.contains(wanted.as_str()))
        {
            continue;
        }
        print!("{name:<20}");
        for size in SIZES {
            let body = Bytes::from(make(size));
            let memory = body.len() + growth(&body, read);
            let time = time(&body, read);
            let times = memory as f64 / body.len() as f64;
            print!(
                "{:>10.3} ms {}",
                time.as_secs_f64() * 1e3,
                share(size, times)
            );
            assert!(
                size < 2 << 20 || times <= 3.0,
                "{name} takes {times:.1} times its body"
            );
        }
        println!();
    }
}

/// Memory is counted in pages, which says nothing of small bodies.
fn share(size: usize, times: f64) -> String {
    match size < 2 << 20 {
        true => "    ".into(),
        false => format!("{times:>3.1}x"),
    }
}

fn shown(size: usize) -> String {
    match size >> 20 {
        0 => format!("{} KiB", size >> 10),
        mib => format!("{mib} MiB"),
    }
}

/// The most that the process holds while it reads `body`, beyond what it held before.
fn growth(body: &Bytes, read: fn(Bytes)) -> usize {
    let before = resident("VmRSS:");
    fs::write("/proc/self/clear_refs", "5").unwrap(); // the peak begins anew
    read(body.clone());
    resident("VmHWM:").saturating_sub(before)
}

/// Processor time of one reading: of as many as take a tenth of a second, because it is counted in ticks.
fn time(body: &Bytes, read: fn(Bytes)) -> Duration {
    let used = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let began = used();
    let mut count = 0;
    loop {
        read(body.clone());
        count += 1;
        let spent = used() - began;
        if spent >= Duration::from_millis(100) {
            return spent / count;
        }
    }
}

fn resident(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() << 10
}

/// Reads a chat request, finds its turns and prepares its edits.
fn decide(body: Bytes) {
    let Ok(request) = black_box(ChatRequest::read(body)) else {
        return;
    };
    if let Ok(conversation) = Conversation::of(&request) {
        black_box(conversation.last_turn());
    }
    request.prepare_edits();
}

/// Scans the turns of a chat request, of which no score is decisive.
fn explain(body: Bytes) {
    let Ok(request) = ChatRequest::read(body) else {
        return;
    };
    let Ok(conversation) = Conversation::of(&request) else {
        return;
    };
    let policy = Policy::new(Routing::default());
    let mut scan = policy.scan(&conversation);
    while scan.next_text().is_some() {
        scan.observe(Classification {
            score: 0.5,
            domain: None,
            tokens: 1,
            truncated: false,
            unreadable: false,
        });
    }
    black_box(scan.finish(None));
}

fn find(content_type: Option<&str>, body: &Bytes) {
    let _ = black_box(ModelField::find(content_type, body));
}

fn scan(body: Bytes) {
    let mut scanner = SseScanner::default();
    body.chunks(8 << 10).for_each(|chunk| scanner.scan(chunk));
    black_box(scanner.usage());
}

fn chat(content: &str) -> String {
    format!("{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":{content}}}]}}")
}

fn field(name: &str, value: &str) -> String {
    format!(
        "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"q\"}}],\"{name}\":{value}}}"
    )
}

/// An object of `count` members at most.
fn fields(name: &str, size: usize, count: usize) -> String {
    let value = "v".repeat((size / count).max(1));
    let member = format!("\"variable\":\"{value}\",");
    field(
        name,
        &format!(
            "{{{}\"last\":1}}",
            member.repeat((size / member.len()).min(count))
        ),
    )
}

fn list(entry: &str, size: usize) -> String {
    format!(
        "[{}{entry}]",
        format!("{entry},").repeat(size / (entry.len() + 1))
    )
}

fn messages(entry: &str, size: usize) -> String {
    format!("{{\"model\":\"m\",\"messages\":{}}}", list(entry, size))
}

fn upload(size: usize) -> String {
    let part = |name: &str, value: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    part("file", &"\r\n--y\r\n-".repeat(size / 8)) + &part("model", "m") + "--x--\r\n"
}

fn events(size: usize) -> String {
    "data: {\"choices\":[{\"delta\":{\"content\":\" a word\"}}]}\n\n".repeat(size / 56)
}
