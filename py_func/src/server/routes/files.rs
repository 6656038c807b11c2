//! The files that the calls of a user share, which they see as `/shared`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::host::{FileError, FileKind, SharedFile, SharedFiles, UserFiles};
use crate::server::App;
use crate::server::body;
use crate::server::extract::{FilePath, UserPath};
use crate::server::functions::blocking;
use crate::server::json::Json;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::range;
use crate::server::wire::Binary;

/// What is in a folder.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Folder {
    /// Its files and folders, by name.
    pub entries: Vec<FolderEntry>,
}

/// A file or a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FolderEntry {
    /// Its name. What is not UTF-8 in it is replaced, and cannot be asked for.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// The size of a file, in bytes.
    pub bytes: u64,
}

/// List the files of a user that are in no folder.
#[utoipa::path(
    get,
    path = "/file/{user}",
    tag = "files",
    params(UserPath),
    responses(
        (status = 200, description = "the files and folders", body = Folder),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    UserPath { user }: UserPath,
) -> Result<Json<Folder>, Problem> {
    let listed = move |shared: &SharedFiles| match shared.of_existing(&user) {
        Some(files) => entries(&files, Path::new("")),
        None => Ok(Folder { entries: Vec::new() }),
    };
    with_files(&app, listed).await.map(Json)
}

/// Get a file, or a range of its bytes; or what is in a folder.
#[utoipa::path(
    get,
    path = "/file/{user}/{*path}",
    tag = "files",
    params(
        FilePath,
        ("Range" = Option<String>, Header, pattern = "^bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})$", description = "which bytes, such as `bytes=0-99`"),
    ),
    responses(
        (status = 200, description = "the file, or what is in the folder", content(
            (Binary = "application/octet-stream"),
            (Folder = "application/json"),
        )),
        (status = 206, description = "the range", body = Binary, content_type = "application/octet-stream"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such file", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "it is no file", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 416, description = "the file has no such range", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    FilePath { user, path }: FilePath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let open = move |shared: &SharedFiles| {
        let files = existing(shared, &user)?;
        Ok(match files.open_to_read(&path).map_err(problem)? {
            Some(file) => {
                let size = file.size().map_err(problem)?;
                Found::File(file, size)
            }
            None => Found::Folder(entries(&files, &path)?),
        })
    };
    let (file, size) = match with_files(&app, open).await? {
        Found::File(file, size) => (file, size),
        Found::Folder(folder) => return Ok(Json(folder).into_response()),
    };
    let (status, answer, bytes) = range::answer(&headers, size)?;
    let file = Arc::new(file);
    let body = body::in_chunks(bytes, move |bytes| {
        let file = Arc::clone(&file);
        blocking(move || read(&file, bytes))
    });
    Ok((status, answer, body.await?).into_response())
}

/// Some bytes of a file.
fn read(file: &SharedFile, bytes: Range<u64>) -> Result<Vec<u8>, Problem> {
    let mut buffer = vec![0; (bytes.end - bytes.start) as usize];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(bytes.start + filled as u64, rest).map_err(problem)? {
            0 => return Err(Problem::new(StatusCode::CONFLICT, "file", "the file has become shorter")),
            count => filled += count,
        }
    }
    Ok(buffer)
}

/// Write a file, and the folders that it is to be in.
///
/// Who reads the file at that time reads either what it was before or all that it is then. The answer says that it is stored for good.
#[utoipa::path(
    put,
    path = "/file/{user}/{*path}",
    tag = "files",
    params(FilePath),
    request_body(content = Binary, content_type = "application/octet-stream", description = "the content"),
    responses(
        (status = 204, description = "it is stored"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "the body did not arrive in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "there is a folder of that name, or a file where a folder is to be", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "the user's quota is used up", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    FilePath { user, path }: FilePath,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let received = body::read(&app, &headers, body).await?;
    let write = move |shared: &SharedFiles| {
        let written = shared.of(&user).replace(&path, &received.bytes).map_err(problem);
        drop(received.reserved);
        written
    };
    with_files(&app, write).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a file, or a folder in which there is nothing.
#[utoipa::path(
    delete,
    path = "/file/{user}/{*path}",
    tag = "files",
    params(FilePath),
    responses(
        (status = 204, description = "it is gone"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such file", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "there is something in the folder", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    FilePath { user, path }: FilePath,
) -> Result<StatusCode, Problem> {
    let remove = move |shared: &SharedFiles| existing(shared, &user)?.remove(&path).map_err(problem);
    with_files(&app, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a path stands for.
enum Found {
    File(SharedFile, u64),
    Folder(Folder),
}

/// Does something with shared files, on a thread that may be blocked.
async fn with_files<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&SharedFiles) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let app = Arc::clone(app);
    blocking(move || {
        let shared = app.shared.as_ref();
        work(shared.ok_or_else(|| Problem::internal("there are no shared files"))?)
    })
    .await
}

fn existing(shared: &SharedFiles, user: &str) -> Result<UserFiles, Problem> {
    shared.of_existing(user).ok_or_else(|| problem(FileError::NOENT))
}

fn entries(files: &UserFiles, folder: &Path) -> Result<Folder, Problem> {
    let listed = files.list(folder).map_err(problem)?;
    let mut entries: Vec<FolderEntry> = listed
        .map(|(name, stat)| FolderEntry {
            name: String::from_utf8_lossy(&name).into_owned(),
            is_folder: stat.kind == FileKind::Directory,
            bytes: if stat.kind == FileKind::RegularFile { stat.size } else { 0 },
        })
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Folder { entries })
}

fn problem(error: FileError) -> Problem {
    let (status, kind, detail) = match error {
        FileError::NOENT => (StatusCode::NOT_FOUND, "no-file", "there is no such file"),
        FileError::ISDIR => (StatusCode::CONFLICT, "file", "it is a folder"),
        FileError::NOTDIR => (StatusCode::CONFLICT, "file", "a part of the path is a file and no folder"),
        FileError::NOTEMPTY | FileError::EXIST => {
            (StatusCode::CONFLICT, "file", "there is something in the folder")
        }
        FileError::ACCES | FileError::PERM | FileError::LOOP => {
            (StatusCode::CONFLICT, "file", "it is no file")
        }
        FileError::NAMETOOLONG | FileError::INVAL => {
            (StatusCode::BAD_REQUEST, "path", "no file can have such a path")
        }
        FileError::DQUOT => {
            (StatusCode::INSUFFICIENT_STORAGE, "quota", "the user's files take all that they may")
        }
        FileError::NOSPC => {
            (StatusCode::INSUFFICIENT_STORAGE, "quota", "there is no room left on the device")
        }
        FileError::MFILE | FileError::NFILE => return Problem::busy("too many files are open"),
        _ => return Problem::internal("failed to use a shared file"),
    };
    Problem::new(status, kind, detail)
}

/// The path of a file below its user's folder, or why it is none.
pub(in crate::server) fn clean(path: &str) -> Result<PathBuf, Problem> {
    let refused = |detail: &str| Err(Problem::bad_request("path", detail));
    let names: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    if names.iter().any(|name| matches!(*name, "" | "." | "..")) {
        return refused("the path of a file has a part that is empty, `.` or `..`");
    }
    if path.contains('\0') || path.len() > 1024 || names.iter().any(|name| name.len() > 255) {
        return refused("the path of a file has up to 1024 bytes, each name in it up to 255, and no NUL");
    }
    Ok(names.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_folder() {
        let long = format!("a/{}", "b".repeat(256));
        for (path, expected) in [
            ("a", Some("a")),
            ("a/b.c/", Some("a/b.c")),
            ("é/...", Some("é/...")),
            ("", None),
            ("/", None),
            ("/a", None),
            ("a//b", None),
            ("..", None),
            ("a/../b", None),
            ("./a", None),
            ("a\0", None),
            (&long, None),
        ] {
            assert_eq!(clean(path).ok().as_deref(), expected.map(Path::new), "{path}");
        }
    }
}
