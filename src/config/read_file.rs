//! Reads the files that a configuration is made of: bounded, and only files that have an end.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

/// The largest configuration file, and the largest file with a key or a certificate, in bytes. A configuration of a thousand models
/// has some 200 KB.
const MAX_BYTES: u64 = 1 << 20;

/// The content of a file or a pipe. A pipe, such as `<(command)` of a shell, can be read once.
///
/// # Errors
/// Why it is not read, in words: it is missing, a folder, a device or too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Looked at before it is opened: to open a device may do something, or never return.
    if !is_file_or_pipe(&fs::metadata(path).map_err(cannot)?) {
        return Err("cannot be read: it is neither a file nor a pipe".into());
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut content);
    read.map_err(cannot)?;
    match content.len() as u64 > MAX_BYTES {
        true => Err(format!(
            "cannot be read: it is larger than {MAX_BYTES} bytes"
        )),
        false => Ok(content),
    }
}

/// The content of a file that may be read more than once, to see whether it changed; `None` if it cannot be read, or only once.
pub fn read_again(path: &Path) -> Option<Vec<u8>> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    read_file(path).ok()
}

#[cfg(unix)]
fn is_file_or_pipe(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.is_file() || metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_file_or_pipe(metadata: &fs::Metadata) -> bool {
    metadata.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_a_device_a_link_to_one_and_a_file_that_is_too_large_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("/dev/zero", at("link")).unwrap();
        fs::write(at("large"), vec![b'a'; (1 << 20) + 1]).unwrap();
        fs::write(at("largest"), vec![b'a'; 1 << 20]).unwrap();
        for (path, says) in [
            (folder.path().to_owned(), "neither a file nor a pipe"),
            ("/dev/zero".into(), "neither a file nor a pipe"),
            (at("link"), "neither a file nor a pipe"),
            (at("large"), "larger than 1048576 bytes"),
            (at("missing"), "No such file"),
        ] {
            let error = read_file(&path).unwrap_err();
            assert!(error.contains(says), "{}: {error}", path.display());
            assert!(read_again(&path).is_none());
        }
        assert_eq!(read_file(&at("largest")).unwrap().len(), 1 << 20);
    }

    #[test]
    fn a_pipe_is_read_once_and_not_to_see_whether_it_changed() {
        use std::{io::Write, os::fd::AsRawFd};

        let (from, mut to) = std::io::pipe().unwrap();
        to.write_all(b"content").unwrap();
        drop(to);
        let path = format!("/dev/fd/{}", from.as_raw_fd());
        assert!(read_again(Path::new(&path)).is_none());
        assert_eq!(read_file(Path::new(&path)).unwrap(), b"content");
    }
}
