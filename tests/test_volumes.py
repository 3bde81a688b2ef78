"""`/Volumes` is a folder wherever the user's code looks: a link, a mount namespace, or mapped functions."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import warnings
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import pytest
import volume_checks
from volume_checks import CHECKS, NEED_A_FOLDER, PLACES

from cdc_local import mount_namespace, volumes
from cdc_local.storage import Storage

ROOT = Path(__file__).parents[1]
is_users_code = ContextVar("is_users_code", default=False)


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path / "storage").create()


@pytest.fixture
def mapped(storage, monkeypatch):
    "The functions are replaced, and this thread runs the user's code."
    volume_checks.POOL.submit(int).result()
    with volumes.mapped_functions(storage, is_users_code.get):
        is_users_code.set(True)
        yield storage
        is_users_code.set(False)


needs_no_volumes = pytest.mark.skipif(os.path.lexists("/Volumes"), reason="this machine has a /Volumes")


# --- mapped functions


@needs_no_volumes
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", sorted(CHECKS.keys() - NEED_A_FOLDER - {"subprocesses"}))
def test_functions_of_python_see_volumes(name, place, mapped):
    os.makedirs("/Volumes/main/default/raw/new")
    PLACES[place](CHECKS[name], "/Volumes/main/default/raw/new")
    is_users_code.set(False)
    assert (mapped.root / "Volumes/main/default/raw/new").is_dir() and not os.path.lexists("/Volumes")


@needs_no_volumes
@pytest.mark.parametrize("place", PLACES)
def test_subprocesses_see_volumes_where_a_namespace_is_permitted(place, mapped):
    skip_without_namespaces()
    os.makedirs("/Volumes/main/default/raw/new")
    PLACES[place](CHECKS["subprocesses"], "/Volumes/main/default/raw/new")


@needs_no_volumes
def test_a_warning_names_what_a_subprocess_does_not_see(mapped, monkeypatch):
    monkeypatch.setattr(
        volumes, "_try_namespace", lambda folders: "mount namespaces: Operation not permitted"
    )
    with pytest.warns(
        RuntimeWarning, match="the program true does not see /Volumes/a/b: mount namespaces: Operation not"
    ):
        subprocess.run(["true", "--file=/Volumes/a/b"], check=True)
    with pytest.warns(RuntimeWarning, match="does not see /dbfs/a"):
        subprocess.run("true /dbfs/a", shell=True, check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subprocess.run(["true", "/tmp"], check=True)


@needs_no_volumes
def test_only_the_users_code_and_its_threads_see_volumes(mapped):
    def exists():
        return os.path.exists("/Volumes/main")

    os.makedirs("/Volumes/main")
    original = os.stat
    assert exists()
    is_users_code.set(False)
    assert not exists()
    found = []
    thread = threading.Thread(target=lambda: found.append(exists()))
    thread.start()
    thread.join()
    assert found == [False] and volume_checks.POOL.submit(exists).result() is False and os.stat is original


def test_functions_are_put_back(storage):
    kept = (
        {name: getattr(os, name) for name in dir(os)},
        open,
        shutil._use_fd_functions,
        set(os.supports_follow_symlinks),
    )
    with volumes.mapped_functions(storage, is_users_code.get):
        assert (
            os.stat is not kept[0]["stat"] and os.stat in os.supports_follow_symlinks and open is not kept[1]
        )
    assert (
        {name: getattr(os, name) for name in dir(os)},
        open,
        shutil._use_fd_functions,
        set(os.supports_follow_symlinks),
    ) == kept


def test_a_class_may_keep_a_replaced_function(mapped, tmp_path):
    (tmp_path / "a").write_text("text")

    class Reader:
        open, stat = open, os.stat

        def read(self):
            return self.open(tmp_path / "a").read(), self.stat(tmp_path / "a").st_size

    assert Reader().read() == ("text", 4)


PLAIN_PATHS = ["/Volumesque/a", "Volumes/a", "/tmp//x", ""]
MAPPED_PATHS = {
    "/Volumes": "V",
    "/Volumes/": "V/",
    "//Volumes//a/./b": "V/a/b",
    "/Volumes/a/../b": "V/b",
    "/tmp/../Volumes/a": "V/a",
    "/dbfs": "D",
    "/dbfs/x": "D/x",
    "/dbfs/Volumes/a": "V/a",
    "/dbfs/a/../Volumes/b": "V/b",
    "/Volumes/../tmp": "/tmp",
}


@pytest.mark.parametrize("path, wanted", [*MAPPED_PATHS.items(), *[(path, path) for path in PLAIN_PATHS]])
def test_which_paths_are_mapped(path, wanted):
    assert volumes._map_text({"/Volumes": "V", "/dbfs": "D", "/dbfs/Volumes": "V"}, path) == wanted


def test_what_lies_below_volumes_of_this_machine_stays_real(monkeypatch, tmp_path):
    "On macOS, disks are below `/Volumes`: the storage, Python and the working folder may be there."
    shown = tmp_path / "shown"
    for name in ("disk/storage/tables", "disk/project"):
        (shown / name).mkdir(parents=True)
    storage = Storage(shown / "disk/storage")
    monkeypatch.chdir(shown / "disk/project")
    monkeypatch.setattr(volumes, "shown_folders", lambda storage: {str(shown): str(storage.root / "Volumes")})
    with volumes.mapped_functions(storage, is_users_code.get):
        is_users_code.set(True)
        os.makedirs(shown / "main/a")
        found = os.listdir(storage.root), os.listdir(shown / "main"), os.path.isdir(shown / "disk/project/.")
        is_users_code.set(False)
    assert (sorted(found[0]), found[1], found[2]) == (["Volumes", "tables"], ["a"], True) and os.listdir(
        shown
    ) == ["disk"]


def test_a_warning_says_that_a_library_wrote_beside_the_storage(monkeypatch, storage, tmp_path):
    import pyarrow.fs

    shown = tmp_path / "shown"
    monkeypatch.setattr(volumes, "shown_folders", lambda storage: {str(shown): str(storage.root / "Volumes")})
    with (
        pytest.warns(
            RuntimeWarning,
            match=f"wrote to {shown} of this machine, not to {storage.root}/Volumes: move what",
        ),
        volumes.mapped_functions(storage, is_users_code.get),
    ):
        pyarrow.fs.LocalFileSystem().create_dir(f"{shown}/main")


# --- errors of libraries that open files themselves


@needs_no_volumes
@pytest.mark.parametrize("name", sorted(NEED_A_FOLDER - {"delta_readers"}))  # which, as root, would write
def test_an_error_says_why_a_library_finds_nothing(name, mapped):
    os.makedirs("/Volumes/main/default/raw")
    with pytest.raises(Exception) as raised:
        CHECKS[name]("/Volumes/main/default/raw")
    explained = volumes.explain(raised.value)
    assert (
        f" is {mapped.root}/Volumes/main/default/raw" in explained
        and "only Python's own functions map it" in explained
    )


@needs_no_volumes
def test_an_error_of_another_cause_is_not_explained(mapped):
    os.makedirs("/Volumes/main")
    with pytest.raises(FileNotFoundError) as raised:
        open("/Volumes/main/none")
    assert volumes.explain(raised.value) is None
    assert volumes.explain(ValueError("no number in /tmp/a")) is None
    assert volumes.explain(OSError("cannot read /Volumes/other/none")) is None


# --- a folder that is there


def test_nothing_is_replaced_where_the_folders_are_there(monkeypatch, storage, tmp_path):
    link = tmp_path / "link"
    monkeypatch.setattr(volumes, "shown_folders", lambda storage: {str(link): str(storage.root / "Volumes")})
    (storage.root / "Volumes").mkdir(parents=True)
    assert volumes.missing_folders(storage) == {str(link): f"{storage.root}/Volumes"}
    link.symlink_to(storage.root / "Volumes")
    assert volumes.missing_folders(storage) == {}
    original = os.stat
    with volumes.mapped_functions(storage, is_users_code.get):
        assert os.stat is original
    assert volumes.command_line(storage, ("true",)) == ("true",)


def test_another_folder_stays_what_it_is(monkeypatch, storage, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(volumes, "shown_folders", lambda storage: {str(other): str(storage.root / "Volumes")})
    if sys.platform == "linux":
        assert volumes.command_line(storage, ("true",))[-4:] == (
            mount_namespace.__file__,
            f"{other}={storage.root}/Volumes",
            "--",
            "true",
        )
    (other / "a").write_text("text")
    assert volumes.command_line(storage, ("true",)) == ("true",)
    assert volumes._try_namespace({str(other): "x"}) == f"{other} is another folder on this machine"


# --- mount namespaces


@cache
def namespace_refusal() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return volumes._try_namespace(volumes.shown_folders(Storage(Path(folder))))


def skip_without_namespaces() -> None:
    if namespace_refusal():
        pytest.skip(f"no mount namespace: {namespace_refusal()}")


@pytest.fixture
def open_storage():
    "A storage that another user may write to."
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Storage(Path(folder))


def run_checks(storage: Storage, python: str, **options) -> dict:
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(ROOT), sysconfig.get_path("purelib"))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [python, "-W", "ignore", volume_checks.__file__, str(storage.root)]
    done = subprocess.run(command, env=environ, cwd=storage.root, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_all_code_sees_volumes_in_a_namespace(open_storage):
    skip_without_namespaces()
    assert run_checks(open_storage, sys.executable) == {}
    assert len(list(open_storage.root.glob("Volumes/main/default/raw/*"))) == len(CHECKS) * len(PLACES)
    assert not os.path.lexists("/Volumes") and not os.path.lexists("/dbfs")


def test_all_code_of_a_user_without_rights_sees_volumes_in_a_namespace(open_storage):
    skip_without_namespaces()
    if os.geteuid():
        pytest.skip("the test before this one has run as such a user")
    python = python_of_everybody()
    entering = [python, "-I", "-S", mount_namespace.__file__, f"/Volumes={open_storage.root}", "--"]
    refused = subprocess.run(
        entering, user=65534, group=65534, extra_groups=[], cwd="/tmp", capture_output=True, text=True
    )
    if refused.returncode:
        pytest.skip(f"no mount namespace for a user: {refused.stderr}")
    assert run_checks(open_storage, python, user=65534, group=65534, extra_groups=[]) == {}


def python_of_everybody() -> str:
    "A Python of this version that another user may run: that of this environment may be in a home folder."
    named = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{named}", f"/usr/local/bin/{named}"):
        try:
            subprocess.run(
                [python, "-c", f"open({mount_namespace.__file__!r})"],
                user=65534,
                group=65534,
                check=True,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("no Python of this version that another user may run")


def enter_and_run(storage: Storage, code: str, **options) -> str:
    command = volumes.command_line(storage, (sys.executable, "-c", code))
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_command_keeps_all_but_its_root_folder(open_storage, monkeypatch):
    skip_without_namespaces()
    monkeypatch.chdir(open_storage.root)
    monkeypatch.setenv("GIVEN", "value")
    process = "os.getcwd(), os.environ['GIVEN'], os.getuid(), os.getpid(), sys.stdin.read()"
    code = f"import os, sys; print({process}, sorted(os.listdir('/')))"
    entries = sorted({*os.listdir("/"), "Volumes", "dbfs"})
    process = subprocess.Popen(
        volumes.command_line(open_storage, (sys.executable, "-c", code)), stdin=-1, stdout=-1, text=True
    )
    assert (
        process.communicate("in")[0].strip()
        == f"{open_storage.root} value {os.getuid()} {process.pid} in {entries}"
    )
    assert enter_and_run(
        open_storage, "import os; print(os.stat('/proc/self').st_uid, open('/dev/null').read())"
    ).split()[0] == str(os.getuid())
    with pytest.raises(AssertionError, match="Read-only file system: '/new'"):
        enter_and_run(open_storage, "open('/new', 'w')")
    assert (
        enter_and_run(
            open_storage, "import os; os.makedirs('/dbfs/Volumes/a'); print(os.listdir('/Volumes'))"
        )
        == "['a']\n"
    )


def test_a_command_runs_where_no_namespace_is_permitted(open_storage):
    folders = [f"/Volumes={open_storage.root}/none"]
    entering = [sys.executable, "-I", "-S", mount_namespace.__file__, *folders, "--"]
    assert subprocess.run([*entering, "echo", "ran"], capture_output=True, text=True).stdout == "ran\n"
    refused = subprocess.run(entering, capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr


def test_a_process_with_threads_does_not_enter(open_storage):
    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (ready.set(), done.wait()))
    thread.start()
    ready.wait()
    try:
        assert not mount_namespace.is_single_threaded()
        volumes.mount(open_storage)
        assert volumes.missing_folders(open_storage) == volumes.shown_folders(open_storage)
        with pytest.raises(PermissionError, match="several threads"):
            mount_namespace.enter({"/Volumes": str(open_storage.root)})
    finally:
        done.set()
        thread.join()
