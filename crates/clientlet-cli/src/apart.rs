//! Checks that no file is both read and written.

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;

use crate::report::Failure;

/// Checks that no file is both written and read, or written twice, under any name: links,
/// `/dev/stdin` and files that a shell has opened are recognized. `written` and `read` are open
/// files with the options that name them; `secrets` are files that were read already.
///
/// # Errors
/// When two of them are the same file.
pub(crate) fn check(
    read: &[(&File, &str)],
    secrets: &[(PathBuf, &str)],
    written: &[(&File, &str)],
) -> Result<(), Failure> {
    let one_file =
        |one: &str, other: &str| Err(Failure::bad_input(format!("{one} and {other} are one file")));
    let of_secrets = secrets
        .iter()
        .filter_map(|(path, option)| Some((identity(&std::fs::metadata(path).ok()?)?, *option)));
    let mut seen: Vec<_> = read.iter().filter_map(of_file).chain(of_secrets).collect();
    // A failure written to the input would be read as a document and fail again, without end. In the
    // output it does no harm.
    let stderr = stderr().ok();
    if let Some((file, _)) = stderr.as_ref().and_then(|file| of_file(&(file, "stderr")))
        && let Some((_, other)) = seen.iter().find(|(other, _)| *other == file)
    {
        return one_file("stderr", other);
    }
    for (file, option) in written.iter().filter_map(of_file) {
        if let Some((_, other)) = seen.iter().find(|(other, _)| *other == file) {
            return one_file(option, other);
        }
        seen.push((file, option));
    }
    Ok(())
}

fn of_file<'o>((file, option): &(&File, &'o str)) -> Option<(Identity, &'o str)> {
    Some((identity(&file.metadata().ok()?)?, *option))
}

/// The device of a file and its number on that device.
type Identity = (u64, u64);

/// The identity of a file; `None` for files that keep nothing, such as terminals and `/dev/null`,
/// which may be both read and written.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let kind = metadata.file_type();
    let keeps = kind.is_file() || kind.is_fifo() || kind.is_block_device();
    keeps.then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<Identity> {
    None
}

fn stderr() -> io::Result<File> {
    #[cfg(unix)]
    let owned = std::os::fd::AsFd::as_fd(&io::stderr()).try_clone_to_owned();
    #[cfg(windows)]
    let owned = std::os::windows::io::AsHandle::as_handle(&io::stderr()).try_clone_to_owned();
    owned.map(File::from)
}
