"Files of the workspace and of volumes, as the SDK and strangers send them"

import http.client
import io
import os
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlparse

import pytest
from databricks.sdk.errors import AlreadyExists, BadRequest, DatabricksError, NotFound
from databricks.sdk.service import iam, workspace
from served_workspace import HOME, TOKEN, USER, ask, client, files_in, make_volume, open_workspace


def test_files_of_a_volume(w, storage):
    place = make_volume(w)
    w.files.upload(f"{place}/day/1.json", io.BytesIO(b'{"id": 1}'))
    with pytest.raises(AlreadyExists):
        w.files.upload(f"{place}/day/1.json", io.BytesIO(b"x"), overwrite=False)
    w.files.upload(f"{place}/day/1.json", io.BytesIO(b'{"id": 2}'), overwrite=True)
    w.files.create_directory(f"{place}/empty/below")
    assert (storage.root / "Volumes/main/shop/raw/day/1.json").read_bytes() == b'{"id": 2}'
    assert w.files.download(f"{place}/day/1.json").contents.read() == b'{"id": 2}'
    assert w.files.get_metadata(f"{place}/day/1.json").content_length == 9
    w.files.get_directory_metadata(f"{place}/empty")
    assert [(each.name, each.is_directory) for each in w.files.list_directory_contents(place)] == [
        ("day", True),
        ("empty", True),
    ]
    with pytest.raises(BadRequest, match="is not empty"):
        w.files.delete_directory(f"{place}/day")
    w.files.delete(f"{place}/day/1.json")
    w.files.delete_directory(f"{place}/day")
    for call in (w.files.get_metadata, w.files.delete, w.files.download):
        with pytest.raises(NotFound):
            call(f"{place}/day/1.json")
    with pytest.raises(NotFound):
        w.files.get_directory_metadata(f"{place}/day")
    with pytest.raises(NotFound, match="Volume 'main.shop.other' does not exist"):
        w.files.upload("/Volumes/main/shop/other/x", io.BytesIO(b"x"))
    assert files_in(storage.root / "Volumes") == []


def test_a_file_that_the_sdk_would_send_in_parts(running, storage):
    w = client(running, files_ext_multipart_upload_min_stream_size=1000)
    content = os.urandom(300_000)
    w.files.upload(f"{make_volume(w)}/big.bin", io.BytesIO(content))
    assert w.files.download("/Volumes/main/shop/raw/big.bin").contents.read() == content
    assert files_in(storage.root / "workspace/uploads") == []


def test_files_of_the_workspace(w, storage):
    w.workspace.mkdirs(f"{HOME}/project/deep")
    w.workspace.upload(f"{HOME}/project/etl.py", io.BytesIO(b"print(1)"), format=workspace.ImportFormat.AUTO)
    w.workspace.upload(f"{HOME}/project/look", io.BytesIO(b"print(2)"), language=workspace.Language.PYTHON)
    w.workspace.upload(
        f"/Users/{USER}/project/book.ipynb", io.BytesIO(b"{}"), format=workspace.ImportFormat.AUTO
    )
    found = {
        each.path.removeprefix(HOME): each.object_type.value for each in w.workspace.list(f"{HOME}/project")
    }
    assert found == {
        "/project/book": "NOTEBOOK",
        "/project/deep": "DIRECTORY",
        "/project/etl.py": "FILE",
        "/project/look": "NOTEBOOK",
    }
    assert w.workspace.download(f"{HOME}/project/etl.py").read() == b"print(1)"
    with pytest.raises(DatabricksError, match="already exists"):
        w.workspace.upload(f"{HOME}/project/etl.py", io.BytesIO(b"x"), format=workspace.ImportFormat.AUTO)
    number = w.workspace.get_status(f"{HOME}/project").object_id
    w.permissions.set(
        "directories",
        str(number),
        access_control_list=[
            iam.AccessControlRequest(group_name="all", permission_level=iam.PermissionLevel.CAN_READ)
        ],
    )
    with pytest.raises(BadRequest, match="is not empty"):
        w.workspace.delete(f"{HOME}/project")
    w.workspace.delete(f"{HOME}/project", recursive=True)
    with pytest.raises(NotFound, match="doesn't exist"):
        w.workspace.get_status(f"{HOME}/project")
    w.workspace.mkdirs(f"{HOME}/project")
    assert not w.permissions.get(
        "directories", str(w.workspace.get_status(f"{HOME}/project").object_id)
    ).access_control_list


def test_a_link_is_not_listed(w, storage):
    place = make_volume(w)
    (storage.root / "Volumes/main/shop/raw/out").symlink_to(storage.root.parent)
    w.files.upload(f"{place}/1.json", io.BytesIO(b"x"))
    assert [each.name for each in w.files.list_directory_contents(place)] == ["1.json"]


ATTACKS = [
    "/Volumes/main/shop/raw/../../../../../secret",
    "/Volumes/main/shop/raw/..%2F..%2F..%2F..%2F..%2Fsecret",
    "/Volumes/main/shop/raw/%2e%2e/%2e%2e/x",
    "/Volumes/main/shop/raw/%252e%252e/x",
    "/Volumes/main/shop/raw/a%00b",
    "/Volumes/main/shop/raw/..%5c..%5cx",
    "/Volumes/main/shop/raw/%0a",
    "/Volumes/../Workspace/Users/x",
    "/Volumes/main/shop/raw/out/secret",
    "/Volumes/main/shop/raw/" + "a" * 300,
]


@pytest.mark.parametrize("path", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_no_path_leaves_the_volume(running, w, storage, method, path):
    make_volume(w)
    secret = storage.root.parent / "secret"
    secret.write_text("secret")
    (storage.root / "Volumes/main/shop/raw/out").symlink_to(storage.root.parent)
    before = files_in(storage.root.parent)
    for area in ("files", "directories"):
        status, answer = ask(
            running, method, f"/api/2.0/fs/{area}{path}", b"evil" if method == "PUT" else None
        )
        assert status in (400, 403, 404) and answer != b"secret"
    assert files_in(storage.root.parent) == before and secret.read_text() == "secret"


@pytest.mark.parametrize(
    "path",
    [
        "/Users/../../secret",
        "/Workspace/../secret",
        "../secret",
        "/Users/a\0b",
        "",
        None,
        7,
        ["/Users"],
        "/Users/%2e%2e/x",
    ],
)
def test_no_path_leaves_the_workspace(running, storage, path):
    for name, more in (
        ("mkdirs", {}),
        ("delete", {"recursive": True}),
        ("import", {"format": "AUTO", "content": ""}),
    ):
        status, answer = ask(running, "POST", f"/api/2.0/workspace/{name}", {"path": path} | more)
        assert (status, answer["error_code"]) == (
            (400, "INVALID_PARAMETER_VALUE") if path != 7 else (status, answer["error_code"])
        ) and status in (400, 404)
    assert files_in(storage.root / "Workspace") == []


def test_a_file_is_imported_only_into_a_folder_that_is_there(running, storage):
    "How a deployment takes its lock: 404, then mkdirs, then again."
    folder = f"{HOME}/state"[1:].replace("/", "%2F")
    lock = f"/api/2.0/workspace-files/import-file/{folder}%2Fdeploy.lock?overwrite=false"
    assert ask(running, "POST", lock, b"{}")[0] == 404
    assert ask(running, "POST", "/api/2.0/workspace/mkdirs", {"path": f"{HOME}/state"})[0] == 200
    assert [ask(running, "POST", lock, b"{}")[0] for _ in range(2)] == [200, 409]
    assert ask(
        running, "GET", f"/api/2.0/workspace/export?path={HOME}/state/deploy.lock&direct_download=true"
    ) == (200, {})


def test_an_upload_over_the_limit_leaves_nothing(storage, work):
    with open_workspace(storage, work, upload_limit=100_000) as running:
        w = client(running)
        place = make_volume(w)
        w.files.upload(f"{place}/fits", io.BytesIO(b"x" * 100_000))
        with pytest.raises(DatabricksError, match="larger than 100,000 bytes"):
            w.files.upload(f"{place}/large", io.BytesIO(b"x" * 100_001))
        assert ask(running, "PUT", "/api/2.0/fs/files" + f"{place}/large", b"x" * 5_000_000)[0] == 413
        assert (
            ask(running, "POST", f"/api/2.0/workspace-files/import-file{HOME}/large", b"x" * 5_000_000)[0]
            == 413
        )
        assert ask(running, "POST", "/api/2.0/pipelines", b'"' + b"x" * 40_000_000)[0] == 413
    assert (
        files_in(storage.root / "Volumes") == ["main/shop/raw/fits"]
        and files_in(storage.root / "workspace/uploads") == files_in(storage.root / "Workspace") == []
    )


def test_an_upload_that_breaks_off_leaves_nothing(running, w, storage):
    place = make_volume(w)
    connection = http.client.HTTPConnection(urlparse(running.host).netloc, timeout=30)
    connection.putrequest("PUT", f"/api/2.0/fs/files{place}/half")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"x" * 1000)
    connection.close()
    w.files.upload(f"{place}/whole", io.BytesIO(b"x"))
    assert files_in(storage.root / "Volumes") == ["main/shop/raw/whole"]


def test_two_uploads_of_one_name(running, w, storage):
    "Without overwrite one of them wins, whole; with it a reader finds one of them, whole."
    place = make_volume(w)
    contents = [bytes([letter]) * 200_000 for letter in b"abcdefgh"]

    def put(content, query):
        return ask(running, "PUT", f"/api/2.0/fs/files{place}/one{query}", content)[0]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda content: put(content, ""), contents)) == [204] + [409] * 7
        kept = (storage.root / "Volumes/main/shop/raw/one").read_bytes()
        written = [pool.submit(put, content, "?overwrite=true") for content in contents]
        read = [ask(running, "GET", f"/api/2.0/fs/files{place}/one")[1] for _ in range(20)]
        assert [each.result() for each in written] == [204] * 8
    assert kept in contents and all(each in contents for each in read)
